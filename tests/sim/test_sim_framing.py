"""Gripper, goal and cube stay in view: for every camera of both domains, wherever the gripper can go."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sim import DOMAINS, TASKS, SimConfig, VisualConfig, make_env
from sim.assets import CUBE_HALF_EDGE_M, DISC_RADIUS_M, GOAL_RADIUS_M
from sim.camera import project
from sim.engine import Vector
from sim.scenery import Camera, CameraPose
from sim.scripted import scripted_policy
from sim.tasks import TASKS as TASK_CLASSES
from sim.visual import draw_visual

SIZE = 64
EPISODES = 150
# The hand's body begins this far above the point between the fingertips.
HAND_HEIGHT_M = 0.05


def cameras(task: str, domain: str) -> Iterator[CameraPose]:
    nominal = TASK_CLASSES[task].camera
    yield nominal
    for seed in range(EPISODES):
        yield draw_visual(VisualConfig(), domain, seed, 0, nominal).camera


def shows(env: Any, name: str) -> Any:
    """Which pixels of the first view show an item, [SIZE, SIZE]."""
    index = [item.name for item in env.scenery.items].index(name)
    return env.segment(size_px=SIZE) == index


def box(low: Vector, high: Vector) -> list[Any]:
    return list(itertools.product(*zip(low, high, strict=True)))


def is_in_view(camera: CameraPose, point: Vector) -> bool:
    column, row = project(Camera(camera, SIZE, SIZE), point)
    return 0 <= column <= SIZE and 0 <= row <= SIZE


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("task", TASKS)
def test_fingers_and_hand_are_in_the_image_at_every_corner_of_the_workspace(task: str, domain: str) -> None:
    workspace = TASK_CLASSES[task].workspace
    low_x, low_y, low_z = workspace.low
    high_x, high_y, high_z = workspace.high
    corners = box((low_x, low_y, low_z), (high_x, high_y, high_z + HAND_HEIGHT_M))
    assert all(is_in_view(camera, corner) for camera in cameras(task, domain) for corner in corners)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(
    ("task", "prefix", "reach_m"),
    [
        ("reach", "goal", GOAL_RADIUS_M),
        ("push", "goal", DISC_RADIUS_M),
        ("push", "cube", CUBE_HALF_EDGE_M),
        ("lift", "cube", CUBE_HALF_EDGE_M),
    ],
)
def test_goals_and_cubes_start_wholly_in_the_image(task: str, prefix: str, reach_m: float, domain: str) -> None:
    env: Any = make_env(task, SimConfig(), views=0)
    names = env.unwrapped.state_names
    columns = [names.index(f"{prefix}_{axis}_m") for axis in "xy"]
    for seed in range(EPISODES):
        state = env.reset(seed=seed, options={"domain": domain})[0]["state"]
        x, y = (float(state[column]) for column in columns)
        camera = env.draw.visual[0].camera
        corners = box((x - reach_m, y - reach_m, 0.0), (x + reach_m, y + reach_m, 2 * reach_m))
        flat = [corner for corner in corners if prefix == "cube" or task == "reach" or corner[2] == 0.0]
        assert all(is_in_view(camera, corner) for corner in flat)
    env.close()


def test_a_projected_point_is_where_the_renderer_shows_it() -> None:
    env: Any = make_env("lift", SimConfig(), views=0)
    cube = [env.unwrapped.state_names.index(f"cube_{axis}_m") for axis in "xyz"]
    distances = []
    for seed in range(20):
        state = env.reset(seed=seed)[0]["state"]
        camera = env.draw.visual[0].camera
        mask = shows(env, "cube")
        if not mask.any():
            continue
        rows, columns = np.nonzero(mask)
        column, row = project(Camera(camera, SIZE, SIZE), tuple(state[cube].tolist()))
        distances.append(np.hypot(columns.mean() + 0.5 - column, rows.mean() + 0.5 - row))
    assert len(distances) >= 10
    assert np.median(distances) < 0.2, "a cube that is partly hidden has its visible part elsewhere"
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_goal_and_cube_keep_visible_pixels_in_nearly_all_poses_on_the_way(task: str) -> None:
    env: Any = make_env(task, SimConfig(), views=0)
    policy = scripted_policy(task, env.unwrapped.state_names, env.config.max_step_m)
    visible: dict[str, list[int]] = {}
    for seed in range(24):
        observation, _ = env.reset(seed=seed, options={"domain": DOMAINS[seed % 3]})
        for _ in range(10):
            for name in ("goal", "cube"):
                if any(item.name == name for item in env.scenery.items):
                    visible.setdefault(name, []).append(int(shows(env, name).sum()))
            observation = env.step(policy(observation["state"]))[0]
    env.close()
    for counts in visible.values():
        assert np.mean(np.array(counts) >= 4) > 0.92
        assert np.percentile(counts, 75) >= 28, "a ball of six pixels' diameter, where the fingers do not cover it"


def test_no_pixel_is_empty() -> None:
    env: Any = make_env("reach", SimConfig(), views=0)
    for seed in range(40):
        env.reset(seed=seed, options={"domain": DOMAINS[seed % 3]})
        assert env.segment(size_px=SIZE).min() >= 0
    env.close()
