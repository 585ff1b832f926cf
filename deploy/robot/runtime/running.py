"""`run`: episodes of a bundle on a robot, and what there is to say of them afterwards."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .arm import ArmError, Robot
from .contract import Contract
from .limits import ARMS, Limiter
from .loop import EpisodeReport, Loop, LoopSettings
from .person import KEYS, Keyboard, Nobody
from .policy import Policy, load
from .qualification import Qualification, qualify, require_qualified
from .recording import Recorder
from .refusals import UsageError
from .replay_arm import ReplayArm

Drivers = dict[str, Callable[[argparse.Namespace, Policy], Robot]]
"""A robot's name to what makes it."""


@dataclass
class RunReport:
    """Of all episodes.

    Attributes:
        episodes: as they were run.
        real: whether something moved where people are, see `arm.Robot.real`.
    """

    episodes: list[EpisodeReport] = field(default_factory=list)
    real: bool = False

    @property
    def failed(self) -> bool:
        """Whether an episode was ended by anything but a person; a simulated one may be out of its depth."""
        causes = {each.stopped.partition(":")[0] for each in self.episodes if each.stopped is not None}
        return bool(causes - {"person"}) if self.real else bool(causes & {"robot", "policy"})

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        late = np.array([late for each in self.episodes for late in each.late_s])
        interventions = sum((each.interventions for each in self.episodes), Counter[str]())
        stops = Counter(each.stopped.partition(":")[0] for each in self.episodes if each.stopped is not None)
        known = [each.success for each in self.episodes if each.success is not None]
        return {
            "episodes": len(self.episodes),
            "successes": sum(known) if known else None,
            "steps": sum(each.steps for each in self.episodes),
            "missed": sum(each.missed for each in self.episodes),
            "late_p99_ms": round(1e3 * float(np.quantile(late, 0.99)), 3) if len(late) else None,
            "stops": dict(stops),
            "interventions": dict(interventions),
        }

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        found = self.as_json()
        yield f"{found['episodes']} episodes, {found['steps']:,} steps, {found['missed']} control periods missed" + (
            f", p99 lateness {found['late_p99_ms']:.2f} ms" if found["late_p99_ms"] is not None else ""
        )
        if found["successes"] is not None:
            yield f"success in {found['successes']} of {found['episodes']}"
        for what in ("stops", "interventions"):
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(found[what].items()))
            yield f"{what}: {counts or 'none'}"
        for index, each in enumerate(self.episodes):
            if each.stopped is not None:
                yield f"episode {index} was stopped after {each.steps} steps: {each.stopped}"


BELONGS = {
    "recording": ("replay",),
    **dict.fromkeys(("robot_id", "unqualified", "unwatched", "host", "camera", "camera_latency"), ("franky",)),
    **dict.fromkeys(("dynamics", "clear_error", "no_hand", "no_realtime"), ("franky",)),
}
"""Arguments that only some robots have."""

DYNAMICS = 0.3
"""Share of a Franka arm's limits, where nothing is said."""

LEAST_DYNAMICS = 0.05
"""More slowly a single step would take longer than its command is good for, see `loop.SINGLE_S`."""


def add_arguments(parser: argparse.ArgumentParser, robots: list[str], place: Callable[[str], Path] = Path) -> None:
    """What `run` takes, here and in a bundle; `place` reads paths."""
    parser.add_argument("bundle", metavar="BUNDLE", type=place, help="a directory that `twist export` wrote")
    parser.add_argument("--robot", choices=robots, required=True, help="what is driven")
    parser.add_argument("--recording", metavar="DIR", type=place, help="replay: what is shown (default: golden trace)")
    parser.add_argument("--arm", choices=sorted(ARMS), default="fr3", help="whose limits hold (default: fr3)")
    parser.add_argument("--episodes", metavar="N", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--steps", metavar="N", type=int, default=0, help="of each (default: as in training)")
    parser.add_argument("--dry-run", action="store_true", help="look and think, command nothing")
    parser.add_argument("--single-step", action="store_true", help="one step per key press, slowly")
    parser.add_argument(
        "--blend-in", metavar="S", type=float, default=0.0, help="seconds of driving until the policy moves fully"
    )
    parser.add_argument("--no-surprise-stop", action="store_true", help="go on where the policy is out of its depth")
    parser.add_argument("--keyboard", action="store_true", help=KEYS)
    parser.add_argument("--record", metavar="DIR", type=place, help="write every tick and picture there")
    _add_franky_arguments(parser)


def _add_franky_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--robot-id", metavar="NAME", help="franky: which robot this is, as for `qualify`")
    parser.add_argument("--unqualified", metavar="NAME", help="franky: run this robot although it is not qualified")
    parser.add_argument(
        "--unwatched", action="store_true", help="franky: nobody is asked before the arm moves to its start"
    )
    parser.add_argument("--host", metavar="ADDRESS", help="franky: the robot's address")
    parser.add_argument(
        "--camera", metavar="CAMERA", help="franky: opencv:NUMBER, or MODULE:FUNCTION that makes a camera"
    )
    parser.add_argument(
        "--camera-latency", metavar="S", type=float, help="franky: from exposure to arrival, of opencv:NUMBER"
    )
    parser.add_argument(
        "--dynamics",
        metavar="SHARE",
        type=float,
        help=f"franky: of the arm's velocity, acceleration and jerk (default: {DYNAMICS:g})",
    )
    parser.add_argument(
        "--clear-error", action="store_true", help="franky: clear the error in which the arm stands; look at it first"
    )
    parser.add_argument("--no-hand", action="store_true", help="franky: there is no Franka hand on the arm")
    parser.add_argument("--no-realtime", action="store_true", help="franky: a kernel without real time will do")


def replay(given: argparse.Namespace, policy: Policy) -> Robot:
    """The driver `replay`."""
    if given.recording is not None:
        return ReplayArm.of_recording(given.recording)
    return ReplayArm.of_golden_trace(given.bundle, policy.contract)


def franky(given: argparse.Namespace, policy: Policy) -> Robot:
    """The driver `franky`."""
    from .cameras import open_camera
    from .franky_arm import START_SHARE, FrankyArm

    if given.host is None or given.camera is None or given.robot_id is None:
        raise UsageError("--robot franky needs --robot-id NAME, --host ADDRESS and --camera CAMERA")
    motors, contract = not given.dry_run, policy.contract
    if motors and not (given.keyboard or given.single_step or given.unwatched):
        raise UsageError(
            "--robot franky moves the arm to its start; allowed are --keyboard and --single-step, which ask for a key "
            "before, --unwatched, and --dry-run"
        )
    if given.no_hand and any(entry.name == "opening" for entry in contract.action.entries):
        raise UsageError(f"--no-hand: {contract.task} opens and closes the fingers")
    if given.camera_latency is not None and not 0 <= given.camera_latency <= 1:
        raise UsageError(f"--camera-latency is {given.camera_latency}; allowed are 0 to 1 s")
    dynamics = _dynamics(given, contract)
    if motors and given.unqualified != given.robot_id:
        require_qualified(given.bundle, policy, given.robot_id, given.arm)
    camera = open_camera(given.camera, contract.camera, given.camera_latency)
    try:
        return FrankyArm(
            given.host,
            camera,
            contract,
            dynamics=min(dynamics, START_SHARE) if given.single_step else dynamics,
            motors=motors,
            realtime=not given.no_realtime,
            hand=not given.no_hand,
            clear_error=given.clear_error,
        )
    except BaseException:
        camera.close()
        raise


def _dynamics(given: argparse.Namespace, contract: Contract) -> float:
    """As much of the arm's limits as may be used: never more than any arm of training had of them."""
    most = min(contract.arm.speed_share[1], contract.arm.acceleration_share[1])
    dynamics = min(DYNAMICS, most) if given.dynamics is None else float(given.dynamics)
    if not LEAST_DYNAMICS <= dynamics <= most:
        raise UsageError(
            f"--dynamics is {dynamics:g}; allowed are {LEAST_DYNAMICS:g} to {most:g}, the most that training had"
        )
    return dynamics


def run(given: argparse.Namespace, drivers: Drivers) -> RunReport:
    """Runs what was asked for.

    Raises:
        UsageError: an argument has a value that is not allowed, or is another robot's.
        BundleError: the bundle is damaged.
        ArmError: the robot cannot be reached.
    """
    for name, robots in BELONGS.items():
        if given.robot not in robots and getattr(given, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} is of --robot {', '.join(robots)}; given is {given.robot}")
    for name, least in (("episodes", 1), ("steps", 0), ("blend_in", 0)):
        if not getattr(given, name) >= least:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(given, name)}; allowed is at least {least}")
    watched = given.keyboard or given.single_step
    if watched and not sys.stdin.isatty():
        raise UsageError("--keyboard and --single-step need a terminal to read keys from")
    policy = load(given.bundle)
    settings = LoopSettings(
        steps=given.steps,
        dry=given.dry_run,
        single=given.single_step,
        blend_s=given.blend_in,
        surprise_stop=not given.no_surprise_stop,
    )
    robot = drivers[given.robot](given, policy)
    try:
        if watched:
            keyboard = Keyboard(policy.contract.action)
            with keyboard.listening():
                return _episodes(given, policy, robot, settings, keyboard)
        return _episodes(given, policy, robot, settings, Nobody())
    finally:
        robot.close()


def add_qualify_arguments(parser: argparse.ArgumentParser, place: Callable[[str], Path] = Path) -> None:
    """What `qualify` takes, here and in a bundle; `place` reads paths."""
    parser.add_argument("bundle", metavar="BUNDLE", type=place, help="a directory that `twist export` wrote")
    parser.add_argument("--robot-id", metavar="NAME", required=True, help="which robot this is: a name of yours")
    parser.add_argument("--recording", metavar="DIR", type=place, required=True, help="of this robot, with pictures")
    parser.add_argument("--arm", choices=sorted(ARMS), default="fr3", help="whose limits hold (default: fr3)")


def qualified(given: argparse.Namespace) -> Qualification:
    """Qualifies what was asked for; see `qualification.qualify`."""
    return qualify(given.bundle, load(given.bundle), given.robot_id, given.recording, given.arm)


def _episodes(
    given: argparse.Namespace, policy: Policy, robot: Robot, settings: LoopSettings, person: Keyboard | Nobody
) -> RunReport:
    # A single step has the time that it takes.
    share = _dynamics(given, policy.contract) if given.robot == "franky" and not given.single_step else 1.0
    limiter, report = Limiter.of(policy.contract, given.arm, share), RunReport(real=robot.real)

    def drive(recorder: Recorder | None) -> RunReport:
        loop = Loop(policy, robot, limiter, settings, person, recorder)
        for _ in range(given.episodes):
            report.episodes.append(loop.run_episode())
            stopped = report.episodes[-1].stopped
            # Nobody's arm sets out again by itself after a stop.
            if stopped is not None and (robot.real or stopped.startswith(("person", "robot", "policy"))):
                break
        return report

    if given.record is None:
        return drive(None)
    digest = policy.manifest.sha256
    with Recorder(given.record, policy.contract, digest, given.robot, dry=given.dry_run) as recorder:
        return drive(recorder)


__all__ = ["ArmError", "Drivers", "RunReport", "add_arguments", "franky", "replay", "run"]
