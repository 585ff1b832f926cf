"""Training and evaluation never meet in an episode, whatever seeds they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim import SimConfig, make_env
from sim.seeds import EVALUATION, TRAINING, evaluation_seed, training_seed


def test_the_halves_share_no_seed_and_every_seed_is_one_that_numpy_takes() -> None:
    assert 0 == EVALUATION[0] < EVALUATION[-1] < TRAINING[0] < TRAINING[-1]
    np.random.RandomState(TRAINING[-1])  # what users' environments may be seeded with


@pytest.mark.parametrize("seed", [0, 1, 7001, 2**31 - 1, 10**30])
def test_evaluations_draw_from_their_half_and_training_from_its_own(seed: int) -> None:
    evaluated = [evaluation_seed(seed, index) for index in range(2000)]
    rng = np.random.default_rng(seed)
    trained = [training_seed(rng) for _ in range(2000)]
    assert all(number in EVALUATION for number in evaluated)
    assert all(number in TRAINING for number in trained)
    assert len(set(evaluated)) == len(set(trained)) == 2000


def test_an_evaluations_episodes_are_those_that_they_have_always_been() -> None:
    """Success that was measured before can be measured again."""
    assert [evaluation_seed(7001, index) for index in range(3)] == [170633177, 1326867813, 1944481455]


@pytest.mark.parametrize("task", ["reach", "counting"])
def test_an_episode_that_nobody_named_a_seed_for_is_none_of_an_evaluation(task: str) -> None:
    env: Any = make_env(task, SimConfig(), views=0)
    env.reset(seed=3)
    seeds = [env.reset()[1]["seed"] for _ in range(20)]
    assert all(seed in TRAINING for seed in seeds)
    assert len(set(seeds)) == 20
    env.close()
