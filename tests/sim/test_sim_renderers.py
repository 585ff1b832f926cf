"""The environment with either renderer, with one of a test's own, and with none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim import RandomisationConfig, SimConfig, make_env
from sim.backends import make_engine
from sim.bullet_engine import BulletEngine
from sim.environment import PandaEnv
from sim.raster import compiling
from sim.scenery import Camera, Look, Scenery

ROOT = Path(__file__).parents[2]
NAMES = {"rasteriser": "raster-2x2", "pybullet": "pybullet-tiny"}


def episode(env: Any, seed: int, steps: int = 4) -> list[dict[str, Any]]:
    observations = [env.reset(seed=seed)[0]]
    rng = np.random.default_rng(0)
    for _ in range(steps):
        observations.append(env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))[0])
    return observations


@pytest.mark.parametrize("renderer", NAMES)
def test_either_renderer_gives_images_of_the_episode_and_says_its_name(renderer: str) -> None:
    env = make_env("push", SimConfig(image_size=48, renderer=renderer), views=2, render_mode="rgb_array")
    first, again = episode(env, 3), episode(env, 3)
    assert env.reset(seed=3)[1]["renderer"] == NAMES[renderer]
    for one, other in zip(first, again, strict=True):
        assert one["image"].shape == (2, 48, 48, 3)
        assert np.array_equal(one["image"], other["image"])
    picture: Any = env.render()
    assert picture.shape == (256, 256, 3)
    env.close()


def test_renderers_differ_in_pictures_and_in_nothing_else() -> None:
    episodes = {}
    for renderer in NAMES:
        env = make_env("lift", SimConfig(renderer=renderer, randomisation=RandomisationConfig.off()))
        episodes[renderer] = episode(env, 5)
        env.close()
    for ours, theirs in zip(episodes["rasteriser"], episodes["pybullet"], strict=True):
        assert np.array_equal(ours["state"], theirs["state"])
        assert not np.array_equal(ours["image"], theirs["image"])
        assert np.abs(ours["image"].astype(int) - theirs["image"]).mean() < 25


def test_a_renderer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'rasteriser', 'pybullet' or 'mujoco'"):
        SimConfig(renderer="opengl")  # type: ignore[arg-type]


class Painter:
    """A renderer that paints each image in one colour: how often it has been told poses since the look was new."""

    name = "painter"

    def __init__(self, scenery: Scenery) -> None:
        self.scenery, self.placed, self.asked = scenery, 0, 0

    def place(self, poses: Any) -> None:
        assert poses.shape == (len(self.scenery.moving), 7)
        self.placed += 1

    def render(self, look: Look, camera: Camera) -> Any:
        self.scenery.check(look)
        self.asked += 1
        return np.full((camera.height_px, camera.width_px, 3), self.placed, np.uint8)

    def segment(self, look: Look, camera: Camera) -> Any:
        return np.full((camera.height_px, camera.width_px), -1, np.int32)

    def depth(self, look: Look, camera: Camera) -> Any:
        return np.full((camera.height_px, camera.width_px), np.inf, np.float32)

    def close(self) -> None:
        self.placed = -1


def test_an_environment_is_given_its_engine_and_its_renderer_and_views_share_the_poses() -> None:
    config = SimConfig(image_size=16)
    engine = make_engine(config.physics_hz)
    env = PandaEnv("push", config, views=3, engine=engine, make_renderer=Painter)
    painter: Any = env.renderer
    _, info = env.reset(seed=0)
    assert info["renderer"] == "painter"
    assert env.engine is engine
    assert (painter.placed, painter.asked) == (1, 3)
    assert {item.name for item in painter.scenery.items} >= {
        "panda_hand",
        "cube",
        "goal",
        "table.bench",
        "floor",
        "wall.back",
        "mug",
    }
    env.close()
    assert painter.placed == -1


def test_without_views_nothing_that_draws_is_imported() -> None:
    code = (
        "import sys, numpy as np; from sim import RandomisationConfig, SimConfig, make_env\n"
        "env = make_env('push', SimConfig(), views=0); print(env.reset(seed=0)[1]['renderer'])\n"
        "env.step(np.zeros(2, np.float32)); print('numba' in sys.modules, 'sim.bullet_renderer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["none", "False", "False"]


@pytest.mark.parametrize("quiet", [True, False])
def test_who_makes_an_environment_says_whether_compiling_is_told(quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(silent: bool) -> Any:
        asked.append(silent)
        return compiling.load(silent)

    monkeypatch.setattr("sim.raster.renderer.load", load)
    make_env("push", SimConfig(), quiet=quiet).close()
    assert asked == [quiet]


class EveryCall(BulletEngine):
    """An engine that sends its motors every target, also the one that they have."""

    def drive_joints(self, *arguments: Any) -> None:
        self._driven = None
        super().drive_joints(*arguments)


@pytest.mark.parametrize("task", ["reach", "push", "lift"])
def test_targets_that_are_not_sent_again_change_no_trajectory(task: str) -> None:
    config = SimConfig()
    plain = PandaEnv(task, config, views=0, engine=EveryCall(config.physics_hz))
    env = PandaEnv(task, config, views=0)
    for seed in range(4):
        for one, other in zip(episode(env, seed, 12), episode(plain, seed, 12), strict=True):
            assert np.array_equal(one["state"], other["state"])
    env.close()
    plain.close()
