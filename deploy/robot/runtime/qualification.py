"""`qualify`: whether one robot and one bundle go together, before anything moves.

qualification.json, beside the contract, is bound to the robot's id and the bundle's hash. Without one `run` does not
turn a real robot's motors on, unless it is told to for that robot by name.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from .alignment_file import Alignment, read_alignment
from .depth import GRIPPER
from .kinematics import gripper_at
from .limits import ARMS, Limiter
from .loop import Loop, LoopSettings
from .policy import Policy
from .recording import RecordedEpisode, Recorder, Recording, read_recording
from .refusals import UsageError
from .replay_arm import ReplayArm
from .verification import timed

QUALIFICATION = "qualification.json"
FORMAT = 1

MOST_DIFFERENCE = 1e-3
"""Of an action, -1 to 1, where a recording is replayed."""

MOST_REFUSED = 0.01
"""Share of a recording's pictures."""

_BINS = 20


@dataclass(frozen=True)
class Qualification:
    """What was found.

    Attributes:
        format: of the file.
        robot: its id, a name of yours.
        bundle_sha256: of the manifest.
        made: when, UTC.
        machine: processor, Python and onnxruntime.
        period_ms: of control.
        step_ms: p50, p99 and largest time of a step.
        step_histogram: counts in equal bins from 0 to the control period, the rest in the last.
        recording: that was replayed.
        steps: in it.
        action_difference: largest, of an action now and when it was recorded.
        refused: share of pictures that may not be acted on.
        stopped: why episodes ended before their time.
        gripper_mean_mm: place read off the picture minus the arm's, by axis.
        gripper_usual: that, in deviations of the training worlds.
        alignment_mm: residual of the camera's alignment, where `align` has found it.
        faults: why it is not qualified; empty if it is.
    """

    format: int
    robot: str
    bundle_sha256: str
    made: str
    machine: str
    period_ms: float
    step_ms: dict[str, float]
    step_histogram: list[int]
    recording: str
    steps: int
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
            f"replay: {self.steps} steps of {self.recording}, actions differ by at most {self.action_difference:.1e}, "
            f"{100 * self.refused:.1f} % of the pictures refused, {len(self.stopped)} episodes stopped"
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
    before = list(recording.episodes())
    images = np.concatenate([each.images for each in before]) if before else np.zeros(0)
    if not len(images):
        raise UsageError(f"{reserved}: has no step")
    times = timed(policy, images)
    again, stopped = _replayed(policy, recording, len(before), arm)
    found = _judged(policy, before, again)
    aligned = read_alignment(bundle)
    step_ms = {"p50": 1e3 * times.p50_s, "p99": 1e3 * times.p99_s, "max": 1e3 * times.max_s}
    faults = [
        *([f"a step takes {step_ms['p99']:.1f} ms (p99)"] if times.p99_s > times.period_s else []),
        *([f"actions differ by {found.difference:.1e}"] if found.difference > MOST_DIFFERENCE else []),
        *([f"{100 * found.refused:.1f} % of the pictures are refused"] if found.refused > MOST_REFUSED else []),
        *stopped,
        *(_misaligned(aligned, policy) if aligned is not None else []),
    ]
    result = Qualification(
        format=FORMAT,
        robot=robot,
        bundle_sha256=policy.manifest.sha256,
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}",
        period_ms=1e3 * times.period_s,
        step_ms={name: round(value, 3) for name, value in step_ms.items()},
        step_histogram=np.bincount(
            np.minimum(np.array(times.taken_s) / times.period_s * _BINS, _BINS - 1).astype(int), minlength=_BINS
        ).tolist(),
        recording=str(reserved),
        steps=len(images),
        action_difference=round(found.difference, 9),
        refused=round(found.refused, 4),
        stopped=stopped,
        gripper_mean_mm=[round(1e3 * value, 1) for value in found.gripper],
        gripper_usual=[round(value, 2) for value in found.usual],
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


def require_qualified(bundle: Path, policy: Policy, robot: str) -> None:
    """Refuses a robot that is not qualified for a bundle.

    Raises:
        UsageError: saying why.
    """
    path = bundle / QUALIFICATION
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        words = {name: document[name] for name in ("robot", "bundle_sha256", "faults")}
    except FileNotFoundError:
        reason = "there is no qualification"
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{path} cannot be read: {error}"
    else:
        if words["robot"] != robot:
            reason = f"the qualification is of {words['robot']}"
        elif words["bundle_sha256"] != policy.manifest.sha256:
            reason = f"the qualification is of bundle {str(words['bundle_sha256'])[:12]}"
        elif words["faults"]:
            reason = f"it did not pass: {words['faults'][0]}"
        else:
            return
    raise UsageError(
        f"{robot} is not qualified for bundle {policy.manifest.sha256[:12]}: {reason}; allowed are `qualify`, "
        f"--dry-run, or --unqualified {robot}"
    )


@dataclass(frozen=True)
class _Judged:
    difference: float
    refused: float
    gripper: list[float]
    usual: list[float]


def _replayed(policy: Policy, recording: Recording, count: int, arm: str) -> tuple[list[RecordedEpisode], list[str]]:
    """The recording's episodes once more, and why any of them stopped."""
    terms = policy.contract.action
    limiter = Limiter(ARMS[arm], terms.workspace_low_m, terms.workspace_high_m, terms.period_s)
    robot, stopped = ReplayArm.of_recording(recording.path), []
    with tempfile.TemporaryDirectory() as place:
        again = Path(place) / "again"
        with Recorder(again, policy.contract, policy.manifest.sha256, "replay") as recorder:
            for index in range(count):
                settings = LoopSettings(steps=robot.lengths[index])
                report = Loop(policy, robot, limiter, settings, None, recorder).run_episode()
                if report.stopped is not None:
                    stopped.append(f"episode {index}: {report.stopped}")
        found = [
            RecordedEpisode(each.about, np.array(each.images), each.ticks, each.end)
            for each in read_recording(again).episodes()
        ]
    return found, stopped


def _judged(policy: Policy, before: list[RecordedEpisode], again: list[RecordedEpisode]) -> _Judged:
    pairs = [pair for a, b in zip(before, again, strict=True) for pair in zip(a.ticks, b.ticks, strict=False)]
    driven = [(a, b) for a, b in pairs if a["driver"] == b["driver"] == "policy"]
    difference = max((float(np.abs(np.subtract(a["action"], b["action"])).max()) for a, b in driven), default=0.0)
    refused = sum(any(why.startswith("frame") for why in b["interventions"]) for _, b in pairs) / max(1, len(pairs))
    names = policy.contract.state.names
    seen = [b for _, b in pairs if "state" in b]
    if not seen or not set(GRIPPER) <= set(names):
        return _Judged(difference, refused, [], [])
    axes, terms = [names.index(name) for name in GRIPPER], policy.contract.agreement
    apart = [np.subtract([tick["state"][axis] for axis in axes], gripper_at(tick["joints"])) for tick in seen]
    mean = np.mean(apart, axis=0)
    usual = (mean - terms.mean_m) / terms.deviation_m
    return _Judged(difference, refused, mean.tolist(), usual.tolist())
