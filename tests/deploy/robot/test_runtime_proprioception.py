"""What a robot measures reaches the policy as training had it, and nothing else does in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_policies import SPEC, untrained

import sim
from deploy.robot.graph import StudentStep, export_graph
from deploy.robot.runtime import FrameError, load
from deploy.robot.runtime.arm import Observation, Target
from deploy.robot.runtime.contract import State, read_contract
from deploy.robot.runtime.golden import read_trace
from deploy.robot.runtime.kinematics import gripper_at, gripper_velocity, joints_at
from deploy.robot.runtime.proprioception import MEASURED, proprioception
from deploy.robot.runtime.recording import read_recording
from sim import SimConfig


@pytest.mark.parametrize("task", ["reach", "push", "lift"])
def test_it_is_what_the_state_has_in_training(made: Path, task: str) -> None:
    world: Any = sim.make_env(task, SimConfig(), views=0)
    names = tuple(name for name in MEASURED if name in world.unwrapped.state_names)
    space = world.observation_space["state"]
    state_of = State(world.unwrapped.state_names, tuple(space.low.tolist()), tuple(space.high.tolist()))
    contract = replace(read_contract(made), state=state_of, proprioception=names)
    columns = [world.unwrapped.state_names.index(name) for name in names]
    draw = np.random.default_rng(0)
    state = world.reset(seed=3)[0]["state"]
    for _ in range(12):
        gripper, told = world.unwrapped.scene.robot.state(), world.unwrapped.target
        observation = Observation(
            np.zeros((1, 1, 3), np.uint8),
            0.0,
            joints_at(gripper.position),
            0.0,
            gripper.opening,
            gripper.velocity,
            Target(told.position, told.opening),
        )
        np.testing.assert_allclose(proprioception(contract, observation), state[columns], atol=1e-6)
        state = world.step(draw.uniform(-1, 1, world.action_space.shape).astype(np.float32))[0]["state"]
    assert len(names) == (10 if task == "lift" else 9)
    world.close()


def test_beyond_training_s_bounds_it_is_clipped_as_the_state_is(made: Path) -> None:
    contract = read_contract(made)
    contract = replace(contract, proprioception=("target_from_gripper_x_m",))
    at, away = (0.5, 0.0, 0.1), Target((0.9, 0.0, 0.1), 0.0)
    observation = Observation(np.zeros((1, 1, 3), np.uint8), 0.0, joints_at(at), 0.0, 0.0, (0.0, 0.0, 0.0), away)
    assert proprioception(contract, observation).tolist() == pytest.approx([0.2])


def test_the_velocity_of_turning_joints_is_how_the_gripper_s_place_changes() -> None:
    joints, speeds = np.array(joints_at((0.5, 0.1, 0.15))), np.linspace(-0.3, 0.4, 7)
    after = gripper_at((joints + 1e-3 * speeds).tolist())
    expected = np.subtract(after, gripper_at(joints.tolist())) / 1e-3
    assert gripper_velocity(joints.tolist(), speeds.tolist()) == pytest.approx(expected.tolist(), abs=1e-3)
    assert np.linalg.norm(expected) > 0.05


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"proprioception has shape \(0,\); allowed are 9 numbers: gripper_x_m, gripper_y_m"),
        (np.zeros(3), r"proprioception has shape \(3,\); allowed are 9 numbers"),
        (np.full(9, np.nan), "proprioception is .* not finite"),
    ],
)
def test_what_the_contract_does_not_name_is_refused(made: Path, given: Any, message: str) -> None:
    policy, trace = load(made), read_trace(made)
    with pytest.raises(FrameError, match=message):
        policy.select_action(trace["image"][0], given)
    other = load(made)
    acted = [each.select_action(trace["image"][0], trace["proprioception"][0]) for each in (policy, other)]
    np.testing.assert_array_equal(*acted)


def test_it_is_looked_at(made: Path) -> None:
    trace, acted = read_trace(made), []
    for own in (trace["proprioception"][0], trace["proprioception"][0] + 0.05):
        policy = load(made)
        acted.append(policy.select_action(trace["image"][0], own))
    assert np.abs(acted[0] - acted[1]).max() > 1e-3


def test_pictures_alone_tell_where_they_show_the_gripper(made: Path) -> None:
    """By which a robot is stopped whose camera shows it elsewhere than the arm measures it."""
    trace, policy = read_trace(made), load(made)
    told = policy.infer(trace["image"][0], trace["proprioception"][0])
    policy.reset()
    other = policy.infer(trace["image"][0], trace["proprioception"][0] + 0.1)
    np.testing.assert_array_equal(told.state, other.state)


@pytest.mark.parametrize("patterns", [(), ("gripper_*",)])
def test_the_graph_has_the_input_where_there_is_something_to_give(tmp_path: Path, patterns: tuple[str, ...]) -> None:
    step = StudentStep(untrained(patterns), None)
    export_graph(step, tmp_path / "g.onnx")
    inputs = {entry.name: entry for entry in onnx.load(tmp_path / "g.onnx").graph.input}
    assert ("proprioception" in inputs) == bool(patterns)
    if patterns:
        size = inputs["proprioception"].type.tensor_type.shape.dim[1].dim_value
        assert size == sum(name.startswith("gripper_") for name in SPEC.state_names)


def test_it_can_be_told_from_a_recording(made: Path, tmp_path: Path) -> None:
    from deploy.cli import main
    from deploy.robot.runtime.proprioception import recorded_proprioception

    given = ["--episodes", "1", "--seed", "21", "--no-surprise-stop", "--record", str(tmp_path / "r")]
    assert main(["run", str(made), "--robot", "sim", *given]) == 0
    contract, (episode,) = read_contract(made), read_recording(tmp_path / "r").episodes()
    columns = [contract.state.names.index(name) for name in contract.proprioception]
    for tick in episode.ticks:
        truth = np.array(tick["facts"]["true_state"])[columns]
        np.testing.assert_allclose(recorded_proprioception(contract, tick), truth, atol=1e-5)
