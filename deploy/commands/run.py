"""`twist run`: a bundle on a robot, simulated or real."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING

from deploy.commands.arguments import Parser, path
from deploy.errors import RunEndedError, UserError
from deploy.process.extras import require_extra

if TYPE_CHECKING:
    from deploy.robot.runtime.arm import Robot
    from deploy.robot.runtime.policy import Policy
    from sim.config import World


_SIMULATED = ("sim", "mujoco")


def run(arguments: list[str]) -> int:
    """Runs `twist run` and gives its exit code: 0 done, 1 the robot could not go on, or a real one was stopped."""
    require_extra("twist run", "robot", "onnxruntime")
    from deploy.robot.runtime import running
    from deploy.robot.said import runtime_errors
    from deploy.runs.intervals import wilson

    drivers: running.Drivers = {
        "sim": _sim,
        "mujoco": partial(_sim, world="mujoco"),
        "replay": running.replay,
        "franky": running.franky,
    }
    parser = Parser("run", "Runs a bundle on a robot: a simulator, a recording, or a Franka arm.")
    running.add_arguments(parser, list(drivers), path)
    parser.add_domain()
    parser.add_seed("sim, mujoco: the same seed, the episodes of `twist eval`")
    parser.add_json()
    parser.add_argument("--dataset", metavar="DIR", type=path, help="what --record wrote also as a LeRobotDataset")
    given = parser.parse_intermixed_args(arguments)
    _check_dataset(given)
    for name in ("domain", "seed"):
        if given.robot not in _SIMULATED and getattr(given, name) != parser.get_default(name):
            raise UserError(f"--{name} is of --robot {', '.join(_SIMULATED)}; given is {given.robot}")
    with runtime_errors():
        report = running.run(given, drivers)
    if given.dataset is not None:
        _write_dataset(given)
    found = report.as_json()
    if found["successes"] is not None:
        found["interval"] = wilson(found["successes"], found["episodes"])
    if given.json:
        print(json.dumps(found))
        return int(report.failed)
    for line in report.lines():
        print(line)
    if "interval" in found:
        low, high = found["interval"]
        print(f"95 % interval of success {100 * low:.1f} to {100 * high:.1f} %")
    return int(report.failed)


def _check_dataset(given: argparse.Namespace) -> None:
    if given.dataset is None:
        return
    require_extra("--dataset", "dataset", "pyarrow", "av")
    if given.record is None:
        raise UserError("--dataset needs --record DIR, of which it is made")
    if given.dataset.exists():
        raise UserError(f"{given.dataset}: is there already; a dataset wants a new directory")


def _write_dataset(given: argparse.Namespace) -> None:
    from deploy.robot.recorded import write_recordings
    from deploy.robot.runtime.recording import read_recording

    write_recordings([read_recording(given.record)], given.dataset)


def _sim(given: argparse.Namespace, policy: Policy, world: World | None = None) -> Robot:
    from deploy.robot.sim_arm import SimArm
    from deploy.runs.directory import parse_config, read_config

    document = read_config(given.bundle)
    if document is None:
        raise RunEndedError(f"{given.bundle}: has no config.json, so that its worlds are not known")
    config = parse_config(given.bundle, document)
    return SimArm(config, policy.contract, domain=given.domain, seed=given.seed, world=world)
