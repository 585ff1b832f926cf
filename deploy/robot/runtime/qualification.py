"""`qualify`: whether one robot and one bundle go together, before anything moves.

A recording of the robot, dry or not, is looked at again by the gate, the policy and the stops, picture by picture, with
what the policy was told then. What it asks for now has to be what it asked for.

qualification.json, beside the contract, is bound to the robot's id, its kind of arm, the bundle's hash and the camera's
alignment. Without one `run` does not turn a real robot's motors on, unless it is told to for that robot by name.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

from .alignment_file import ALIGNMENT, Alignment, read_alignment
from .depth import GRIPPER, Depth
from .kinematics import gripper_at
from .policy import Policy
from .proprioception import recorded_proprioception
from .recording import RecordedEpisode, read_recording
from .refusals import FrameError, UsageError
from .verification import timed

QUALIFICATION = "qualification.json"
FORMAT = 2

MOST_DIFFERENCE = 1e-3
"""Of an action, -1 to 1, where a recording is replayed."""

MOST_REFUSED = 0.01
"""Share of a recording's pictures."""

LEAST_COMPARED = 100
"""Steps of the policy: less says too little of a robot."""

MOST_USUAL = 3.0
"""Deviations by which the gripper may stand elsewhere in the pictures, on average, than the arm measures it."""

_BINS = 20


@dataclass(frozen=True)
class Qualification:
    """What was found.

    Attributes:
        format: of the file.
        robot: its id, a name of yours.
        arm: whose limits hold, a key of `limits.ARMS`.
        bundle_sha256: of the manifest.
        alignment_sha256: of alignment.json, or "" where there was none.
        made: when, UTC.
        machine: processor, Python and onnxruntime.
        period_ms: of control.
        step_ms: p50, p99 and largest time of a step.
        step_histogram: counts in equal bins from 0 to the control period, the rest in the last.
        recording: that was replayed.
        steps: in it.
        compared: steps of the policy, then and now.
        action_difference: largest, of what the policy asks for now and asked for when it was recorded.
        refused: share of pictures that may not be acted on.
        stopped: why episodes would have been stopped.
        gripper_mean_mm: place read off the picture minus the arm's, by axis.
        gripper_usual: that, in deviations of the training worlds.
        alignment_mm: residual of the camera's alignment, where `align` has found it.
        faults: why it is not qualified; empty if it is.
    """

    format: int
    robot: str
    arm: str
    bundle_sha256: str
    alignment_sha256: str
    made: str
    machine: str
    period_ms: float
    step_ms: dict[str, float]
    step_histogram: list[int]
    recording: str
    steps: int
    compared: int
    action_difference: float
    refused: float
    stopped: list[str]
    gripper_mean_mm: list[float]
    gripper_usual: list[float]
    alignment_mm: float | None
    faults: list[str]

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        step = self.step_ms
        yield f"step: p50 {step['p50']:.2f} ms, p99 {step['p99']:.2f} ms, of a period of {self.period_ms:.0f} ms"
        yield (
            f"replay: {self.compared} of {self.steps} steps of {self.recording} compared, actions differ by at most "
            f"{self.action_difference:.1e}, {100 * self.refused:.1f} % of the pictures refused, {len(self.stopped)} "
            "episodes stopped"
        )
        if self.gripper_mean_mm:
            away = ", ".join(f"{value:+.0f}" for value in self.gripper_mean_mm)
            yield f"gripper: the picture shows it ({away}) mm from where the arm measures it"
        if self.alignment_mm is not None:
            yield f"alignment: silhouettes seen and drawn are {self.alignment_mm:.1f} mm apart"
        yield from (f"fault: {fault}" for fault in self.faults)
        yield f"{self.robot} is {'not ' if self.faults else ''}qualified for bundle {self.bundle_sha256[:12]}"


def qualify(bundle: Path, policy: Policy, robot: str, reserved: Path, arm: str) -> Qualification:
    """Replays a reserved recording without motion, times steps here, and writes the result beside the contract.

    Args:
        bundle: its directory.
        policy: of it.
        robot: its id.
        reserved: a recording of this robot that nothing was chosen by.
        arm: whose limits hold.

    Raises:
        BundleError: there is no such recording.
        UsageError: it is of another task, or has no step.
    """
    recording = read_recording(reserved)
    if recording.head["task"] != policy.contract.task:
        raise UsageError(f"{reserved}: is of {recording.head['task']}, the bundle is of {policy.contract.task}")
    episodes = list(recording.episodes())
    images = np.concatenate([each.images for each in episodes]) if episodes else np.zeros(0)
    if not len(images):
        raise UsageError(f"{reserved}: has no step")
    try:
        own = [recorded_proprioception(policy.contract, tick) for each in episodes for tick in each.ticks]
        times = timed(policy, images, np.array(own))
    except UsageError as error:
        raise UsageError(f"{reserved}: {error}") from error
    found = _Again()
    for index, each in enumerate(episodes):
        _look_again(policy, each, index, recording.head["dry"], found)
    mean, usual = found.gripper(policy)
    aligned = read_alignment(bundle)
    too_many = found.refused > MOST_REFUSED * len(images)
    step_ms = {"p50": 1e3 * times.p50_s, "p99": 1e3 * times.p99_s, "max": 1e3 * times.max_s}
    faults = [
        *([f"a step takes {step_ms['p99']:.1f} ms (p99)"] if times.p99_s > times.period_s else []),
        *([f"actions differ by {found.difference:.1e}"] if found.difference > MOST_DIFFERENCE else []),
        *([f"{100 * found.refused / len(images):.1f} % of the pictures are refused"] if too_many else []),
        *found.stopped,
        *_too_few(len(found.apart)),
        *_elsewhere(mean, usual),
        *(_misaligned(aligned, policy) if aligned is not None else []),
    ]
    result = Qualification(
        format=FORMAT,
        robot=robot,
        arm=arm,
        bundle_sha256=policy.manifest.sha256,
        alignment_sha256=_alignment_sha256(bundle),
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}",
        period_ms=1e3 * times.period_s,
        step_ms={name: round(value, 3) for name, value in step_ms.items()},
        step_histogram=np.bincount(
            np.minimum(np.array(times.taken_s) / times.period_s * _BINS, _BINS - 1).astype(int), minlength=_BINS
        ).tolist(),
        recording=str(reserved),
        steps=len(images),
        compared=len(found.apart),
        action_difference=round(found.difference, 9),
        refused=round(found.refused / len(images), 4),
        stopped=found.stopped,
        gripper_mean_mm=[round(1e3 * value, 1) for value in mean],
        gripper_usual=[round(value, 2) for value in usual],
        alignment_mm=aligned.residual_mm if aligned is not None else None,
        faults=faults,
    )
    (bundle / QUALIFICATION).write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return result


def _misaligned(aligned: Alignment, policy: Policy) -> Iterator[str]:
    if aligned.bundle_sha256 != policy.manifest.sha256:
        yield f"the alignment is of bundle {aligned.bundle_sha256[:12]}"
    else:
        yield from aligned.beyond(policy.contract.camera)


def _too_few(compared: int) -> Iterator[str]:
    if compared < LEAST_COMPARED:
        yield f"{compared} steps of the policy could be compared; allowed are {LEAST_COMPARED} and more"


def _elsewhere(mean: list[float], usual: list[float]) -> Iterator[str]:
    for axis, away, deviations in zip("xyz"[: len(mean)], mean, usual, strict=True):
        if not abs(deviations) <= MOST_USUAL:
            yield (
                f"the pictures show the gripper {1e3 * away:+.0f} mm off in {axis}, {abs(deviations):.1f} of training's"
                f" deviations; allowed are {MOST_USUAL:g}"
            )


def _alignment_sha256(bundle: Path) -> str:
    path = bundle / ALIGNMENT
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def require_qualified(bundle: Path, policy: Policy, robot: str, arm: str) -> None:
    """Refuses a robot that is not qualified for a bundle.

    Args:
        bundle: its directory.
        policy: of it.
        robot: its id.
        arm: whose limits hold.

    Raises:
        UsageError: saying why.
    """
    path = bundle / QUALIFICATION
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        named = ("format", "robot", "arm", "bundle_sha256", "alignment_sha256", "faults")
        words = {name: document[name] for name in named}
    except FileNotFoundError:
        reason = "there is no qualification"
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{path} cannot be read: {error}"
    else:
        if words["format"] != FORMAT:
            reason = f"the qualification is of format {words['format']}, not {FORMAT}"
        elif words["robot"] != robot:
            reason = f"the qualification is of {words['robot']}"
        elif words["arm"] != arm:
            reason = f"the qualification is of arm {words['arm']}, not {arm}"
        elif words["bundle_sha256"] != policy.manifest.sha256:
            reason = f"the qualification is of bundle {str(words['bundle_sha256'])[:12]}"
        elif words["alignment_sha256"] != _alignment_sha256(bundle):
            reason = "the camera was aligned anew since"
        elif words["faults"]:
            reason = f"it did not pass: {words['faults'][0]}"
        else:
            return
    raise UsageError(
        f"{robot} is not qualified for bundle {policy.manifest.sha256[:12]}: {reason}; allowed are `qualify`, "
        f"--dry-run, or --unqualified {robot}"
    )


@dataclass
class _Again:
    """What looking at recorded episodes once more has shown."""

    apart: list[float] = field(default_factory=list)
    refused: int = 0
    stopped: list[str] = field(default_factory=list)
    gripper_m: list[list[float]] = field(default_factory=list)

    @property
    def difference(self) -> float:
        """Largest, of actions; 2, the most that there is, also where one is no number."""
        return float(np.nan_to_num(np.max(self.apart, initial=0.0), nan=2.0, posinf=2.0))

    def gripper(self, policy: Policy) -> tuple[list[float], list[float]]:
        """Place read off the picture minus the arm's, [3] metres on average, and in deviations of training."""
        if not self.gripper_m:
            return [], []
        terms, mean = policy.contract.agreement, np.mean(self.gripper_m, axis=0)
        return mean.tolist(), ((mean - terms.mean_m) / terms.deviation_m).tolist()


def _look_again(policy: Policy, episode: RecordedEpisode, index: int, dry: bool, found: _Again) -> None:
    """One episode: what was done in it was done, whoever did it, so that all of it is looked at."""
    axes = [policy.contract.state.names.index(name) for name in GRIPPER]
    depth, reason = Depth(policy.contract, policy.familiar), None
    policy.reset()
    at, moved = gripper_at(episode.ticks[0]["joints"]), 0.0
    for tick, image in zip(episode.ticks, episode.images, strict=True):
        # The same picture again has the same stamp again, whatever was rounded.
        stamp = round(tick["time_s"] - tick["age_s"], 6)
        try:
            own = recorded_proprioception(policy.contract, tick)
            step = policy.step(image, own, stamp, stamp + tick["age_s"], moved)
        except FrameError:
            found.refused += 1
        else:
            found.gripper_m.append(np.subtract(step.state[axes], gripper_at(tick["joints"])).tolist())
            if tick["driver"] == "person":
                depth.reset()
            else:
                reason = reason or depth.look(step, tick["joints"])
            if "policy" in tick:
                found.apart.append(float(np.abs(np.subtract(step.action, tick["policy"])).max()))
                if tick["executed"] is not None:
                    policy.executed(np.array(tick["executed"], np.float32))
        x, y, z, _ = tick["target"]
        at, moved = (x, y, z), 0.0 if dry else math.dist(at, (x, y, z))
    if reason is not None:
        found.stopped.append(f"episode {index}: {reason}")
