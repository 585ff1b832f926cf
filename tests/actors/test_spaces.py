"""Environments with action spaces of their own: rescaled, or refused in one line."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from counting_world import SIM, counting_spec, joined, read_streams
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from actors import ActorsConfig
from actors.spaces import action_bounds
from deploy.evaluation.evaluate import evaluate
from deploy.settings.presets import resolve
from deploy.settings.specification import spec_of, stream_spec
from learner.acting import acting_policy
from replay import StreamSpec
from sim import SimConfig, make_env

LOW, HIGH = (-2.0, 0.0, 0.1), (2.0, 0.08, 0.3)


class Recording(gym.Wrapper[Any, Any, Any, Any]):
    """A counting environment with bounds of its own, that keeps what it was given and breaks at its tenth step."""

    def __init__(self, given: list[np.ndarray], dtype: type = np.float32) -> None:
        super().__init__(make_env("counting", SIM))
        self.action_space = Box(np.array(LOW, dtype), np.array(HIGH, dtype), dtype=dtype)
        self.given = given

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.given.append(action)
        if len(self.given) == 10:
            raise ArithmeticError("the solver diverged")
        return super().step(action)


def scaled_spec(dtype: type = np.float32) -> StreamSpec:
    return spec_of(Recording([], dtype), views=1, chunk_length=8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_environment_gets_actions_in_its_own_bounds_and_replay_in_those_of_the_policy(
    make_store, make_worker, dtype: type
) -> None:
    given: list[np.ndarray] = []
    store = make_store(scaled_spec(dtype))
    worker = make_worker(
        store, make_env=lambda: Recording(given, dtype), config=ActorsConfig(envs_per_actor=1, student_fraction=0.0)
    )
    worker.set_weights(np.array([0.0], np.float32), 1)
    stats = worker.collect(60)
    worker.drain()

    (chunks,) = read_streams(store).values()
    stored = joined(chunks, "action")[~joined(chunks, "is_first")]
    assert np.abs(stored).max() <= 1.0 and stored.min() < -0.9 and stored.max() > 0.9
    arrived = np.array([action for number, action in enumerate(given, start=1) if number != 10])
    middle, half = (np.array(HIGH) + LOW) / 2, (np.array(HIGH) - LOW) / 2
    np.testing.assert_allclose(arrived, middle + half * stored, rtol=1e-6, atol=1e-7)
    # What it takes to see the crash again are the actions that the environment was given.
    (crash,) = stats.first_crashes
    np.testing.assert_array_equal(np.array(crash.actions, dtype), given[10 - len(crash.actions) : 10])


@pytest.mark.parametrize(
    "space",
    [
        Discrete(3),
        MultiDiscrete([2, 3]),
        Dict({"a": Box(-1, 1, (2,))}),
        Box(-np.inf, np.inf, (3,)),
        Box(np.array([-1, -1], np.float32), np.array([1, np.inf], np.float32)),
        Box(-1, 1, (3, 2)),
        Box(0, 7, (3,), np.int64),
        Box(0.5, 0.5, (3,)),
    ],
    ids=lambda space: str(space)[:30],
)
def test_a_space_that_cannot_be_acted_in_is_refused_in_one_line(space: gym.Space[Any]) -> None:
    with pytest.raises(ValueError, match="^action space .*: allowed is a Box of one axis") as caught:
        action_bounds(space)
    assert "\n" not in str(caught.value)
    env = make_env("counting", SIM)
    env.action_space = space
    with pytest.raises(ValueError, match="^action space "):
        spec_of(env, views=1, chunk_length=8)


def test_an_environment_of_other_bounds_than_the_specs_is_refused_at_once(make_store, make_worker) -> None:
    with pytest.raises(ValueError, match=r"action space from \[-2.0, .*: the spec says from \[-1.0, -1.0, -1.0\]"):
        make_worker(make_store(counting_spec()), make_env=lambda: Recording([]))


@pytest.mark.parametrize(("low", "high"), [(-2.0, 2.0), (0.0, 0.5)])
def test_an_evaluation_in_other_bounds_is_the_same_evaluation(
    monkeypatch: pytest.MonkeyPatch, low: float, high: float
) -> None:
    config = resolve("reach", "debug", ["sim.image_size=16"])
    sim = SimConfig(image_size=16, episode_steps=4)

    def returns(**bounds: tuple[float, ...]) -> list[float]:
        spec = StreamSpec(**{**vars(stream_spec(config)), **bounds})
        torch.manual_seed(0)
        policy = acting_policy(spec, config.learner)
        torch.nn.init.constant_(policy.policy.net.get_submodule("output").get_parameter("bias"), 0.7)
        return evaluate(policy, "reach", sim, driver="student", domain="train", episodes=3, seed=0).returns

    plain = returns()
    monkeypatch.setattr(
        "sim.make_env",
        lambda *given, **named: gym.wrappers.RescaleAction(
            make_env(*given, **named), np.float32(low), np.float32(high)
        ),
    )
    assert returns() == pytest.approx(plain, rel=1e-4)
    # A policy that knew nothing of the bounds would have gone elsewhere.
    assert returns(action_low=(-1.0,) * 3, action_high=(1.0,) * 3) != pytest.approx(plain, rel=1e-2)
