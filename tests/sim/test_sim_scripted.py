"""The tasks can be solved: policies written by hand do so, with everything randomised."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from engines import ENGINES

from sim import SimConfig, make_env
from sim.scripted import scripted_policy

EPISODES = {"pybullet": 100, "mujoco": 40}
NEEDED = {"reach": 1.0, "push": 0.95, "lift": 0.95}


def solves(env: gym.Env[Any, Any], task: str, seed: int) -> bool:
    """Whether the scripted policy has solved an episode at its last step."""
    policy = scripted_policy(task, env.unwrapped.state_names, SimConfig().max_step_m)  # type: ignore[attr-defined]
    observation, info = env.reset(seed=seed)
    assert not info["is_success"], "an episode must not start solved"
    truncated = False
    while not truncated:
        observation, _, _, truncated, info = env.step(policy(observation["state"]))
    return bool(info["is_success"])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("task", NEEDED)
def test_a_scripted_policy_solves_the_task(task: str, engine: Any) -> None:
    env = make_env(task, SimConfig(engine=engine), views=0)
    solved = sum(solves(env, task, seed) for seed in range(EPISODES[engine]))
    env.close()
    assert solved >= NEEDED[task] * EPISODES[engine]


@pytest.mark.parametrize("task", NEEDED)
def test_random_actions_hardly_ever_solve_the_task(task: str) -> None:
    env = make_env(task, SimConfig(), views=0)
    env.action_space.seed(0)
    solved = 0
    for seed in range(30):
        env.reset(seed=seed)
        truncated = False
        while not truncated:
            _, _, _, truncated, info = env.step(env.action_space.sample())
        solved += info["is_success"]
    env.close()
    assert solved <= 5


@pytest.mark.parametrize("task", NEEDED)
def test_what_a_policy_earns_grows_on_its_way_to_success(task: str) -> None:
    env = make_env(task, SimConfig(), views=0)
    policy = scripted_policy(task, env.unwrapped.state_names, SimConfig().max_step_m)  # type: ignore[attr-defined]
    gains = []
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        rewards = []
        truncated = False
        while not truncated:
            observation, reward, _, truncated, _ = env.step(policy(observation["state"]))
            rewards.append(float(reward))
        gains.append(rewards[-1] - rewards[0])
        assert min(rewards) >= -4 * SimConfig().action_change_price
        assert max(rewards) <= 1.0
    env.close()
    assert min(gains) > 0.0


def test_no_policy_is_written_for_an_unknown_task() -> None:
    with pytest.raises(ValueError, match="'stack', allowed: reach, push, lift"):
        scripted_policy("stack", (), 0.06)


def test_scripted_actions_are_allowed_ones() -> None:
    env = make_env("push", SimConfig(), views=0)
    policy = scripted_policy("push", env.unwrapped.state_names, 0.06)  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    space: Any = env.observation_space["state"]  # type: ignore[index]
    for _ in range(200):
        action = policy(rng.uniform(space.low, space.high).astype(np.float32))
        assert env.action_space.contains(action)
    env.close()
