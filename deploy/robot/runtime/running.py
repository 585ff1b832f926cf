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
    """Of all episodes."""

    episodes: list[EpisodeReport] = field(default_factory=list)

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


def add_arguments(parser: argparse.ArgumentParser, robots: list[str], place: Callable[[str], Path] = Path) -> None:
    """What `run` takes, here and in a bundle; `place` reads paths."""
    parser.add_argument("bundle", metavar="BUNDLE", type=place, help="a directory that `twist export` wrote")
    parser.add_argument("--robot", choices=robots, required=True, help="what is driven")
    parser.add_argument("--recording", metavar="DIR", type=place, help="replay: what is shown (default: golden trace)")
    parser.add_argument("--robot-id", metavar="NAME", help="franky: which robot this is, as for `qualify`")
    parser.add_argument("--unqualified", metavar="NAME", help="franky: run this robot although it is not qualified")
    parser.add_argument("--host", metavar="ADDRESS", help="franky: the robot's address")
    parser.add_argument(
        "--camera", metavar="CAMERA", help="franky: opencv:NUMBER, or MODULE:FUNCTION that makes a camera"
    )
    parser.add_argument("--arm", choices=sorted(ARMS), default="fr3", help="whose limits hold (default: fr3)")
    parser.add_argument("--episodes", metavar="N", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--steps", metavar="N", type=int, default=0, help="of each (default: as in training)")
    parser.add_argument("--dry-run", action="store_true", help="look and think, command nothing")
    parser.add_argument("--single-step", action="store_true", help="one step per key press")
    parser.add_argument("--blend-in", metavar="S", type=float, default=0.0, help="seconds until the policy moves fully")
    parser.add_argument("--no-surprise-stop", action="store_true", help="go on where the policy is out of its depth")
    parser.add_argument("--keyboard", action="store_true", help=KEYS)
    parser.add_argument("--record", metavar="DIR", type=place, help="write every tick and picture there")


def replay(given: argparse.Namespace, policy: Policy) -> Robot:
    """The driver `replay`."""
    if given.recording is not None:
        return ReplayArm.of_recording(given.recording)
    return ReplayArm.of_golden_trace(given.bundle, policy.contract)


def franky(given: argparse.Namespace, policy: Policy) -> Robot:
    """The driver `franky`."""
    from .cameras import open_camera
    from .franky_arm import FrankyArm

    if given.host is None or given.camera is None or given.robot_id is None:
        raise UsageError("--robot franky needs --robot-id NAME, --host ADDRESS and --camera CAMERA")
    if not given.dry_run and given.unqualified != given.robot_id:
        require_qualified(given.bundle, policy, given.robot_id)
    camera = open_camera(given.camera, policy.contract.camera)
    return FrankyArm(given.host, camera, policy.contract, motors=not given.dry_run)


def run(given: argparse.Namespace, drivers: Drivers) -> RunReport:
    """Runs what was asked for.

    Raises:
        UsageError: an argument has a value that is not allowed.
        BundleError: the bundle is damaged.
        ArmError: the robot cannot be reached.
    """
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


def limiter_of(contract: Contract, arm: str) -> Limiter:
    """The limits of an arm in the policy's workspace."""
    terms = contract.action
    return Limiter(ARMS[arm], terms.workspace_low_m, terms.workspace_high_m, terms.period_s)


def _episodes(
    given: argparse.Namespace, policy: Policy, robot: Robot, settings: LoopSettings, person: Keyboard | Nobody
) -> RunReport:
    limiter, report = limiter_of(policy.contract, given.arm), RunReport()

    def drive(recorder: Recorder | None) -> RunReport:
        loop = Loop(policy, robot, limiter, settings, person, recorder)
        for _ in range(given.episodes):
            report.episodes.append(loop.run_episode())
            if (report.episodes[-1].stopped or "").startswith(("person", "robot")):
                break
        return report

    if given.record is None:
        return drive(None)
    with Recorder(given.record, policy.contract, policy.manifest.sha256, given.robot) as recorder:
        return drive(recorder)


__all__ = ["ArmError", "Drivers", "RunReport", "add_arguments", "franky", "limiter_of", "replay", "run"]
