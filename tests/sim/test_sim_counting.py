"""The counting environment, on which the proofs about the pipeline rest."""

import numpy as np
import pytest

from sim import SimConfig, make_env
from sim.counting import LONGEST_EPISODE, SHORTEST_EPISODE, CountingEnv, decode_count

ACTION = np.zeros(3, np.float32)


@pytest.mark.parametrize("views", [0, 1, 3])
def test_state_image_and_reward_count(views: int) -> None:
    env = make_env("counting", SimConfig(), views=views)
    count = 0
    for episode in range(5):
        observation, _ = env.reset()
        step, truncated = 0, False
        while True:
            assert observation["state"].tolist() == [episode, step, count]
            if views:
                assert decode_count(observation["image"]) == count
            count += 1
            if truncated:
                break
            observation, reward, terminated, truncated, info = env.step(ACTION)
            step += 1
            assert reward == step
            assert info["is_success"] == (step % 2 == 0)
            assert not terminated


@pytest.mark.parametrize("views", [1, 3])
def test_a_late_camera_shows_an_earlier_step_and_the_label_says_which(views: int) -> None:
    env = CountingEnv(SimConfig(), views=views, late_steps=2)
    for _ in range(5):
        observation, info = env.reset()
        states, truncated = [observation["state"].tolist()], False
        while not truncated:
            observation, _, _, truncated, info = env.step(ACTION)
            states.append(observation["state"].tolist())
            shown = states[max(0, len(states) - 3)]
            assert info["state_at_exposure"].tolist() == shown
            assert decode_count(observation["image"]) == shown[2]


def test_without_an_image_there_is_no_state_that_it_shows() -> None:
    env = CountingEnv(SimConfig(), views=0, late_steps=2)
    assert "state_at_exposure" not in env.reset()[1] | env.step(ACTION)[4]


def test_the_length_of_an_episode_follows_from_its_seed() -> None:
    env = make_env("counting", SimConfig(), views=0)
    lengths: dict[int, int] = {}
    for seed in (*range(40), *range(40)):
        env.reset(seed=seed)
        length, truncated = 0, False
        while not truncated:
            truncated = env.step(ACTION)[3]
            length += 1
        assert lengths.setdefault(seed, length) == length
    assert set(lengths.values()) == set(range(SHORTEST_EPISODE, LONGEST_EPISODE + 1))


def test_counts_beyond_one_byte_survive_the_image() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image.reshape(-1)[:8] = np.frombuffer((123_456_789).to_bytes(8, "little"), np.uint8)
    assert decode_count(image) == 123_456_789
    assert decode_count(image[None]) == 123_456_789
