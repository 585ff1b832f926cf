"""Simulated worlds in which something is wrong with what the camera shows, as a robot's bench may have it.

blocked   from some step on, something even covers 60 to 100 % of the picture
shifted   the camera stands 10 to 20 cm off and looks 3 to 6 cm past (training: up to 5 and 1.2 cm)
swapped   red and blue are exchanged
frozen    from some step on, the same picture comes again and again
object    a box of 8 to 14 cm in a drawn colour is carried by the gripper
"""

from __future__ import annotations

import colorsys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sim.engine import Body, Vector
from sim.scenery import CameraPose

KINDS = ("blocked", "shifted", "swapped", "frozen", "object")
BOXES_M = ((0.04, 0.05, 0.04), (0.06, 0.04, 0.05), (0.05, 0.07, 0.04))
"""Half edges."""

_PARKED: Vector = (0.0, 0.0, 5.0)
_FACES = ("1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4")
_NORMALS = ("-1 0 0", "1 0 0", "0 -1 0", "0 1 0", "0 0 -1", "0 0 1")


def _box(file: Path, half: Vector) -> Path:
    corners = [(a * half[0], b * half[1], c * half[2]) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    lines = ["vt 0 0", *(f"v {x} {y} {z}" for x, y, z in corners), *(f"vn {normal}" for normal in _NORMALS)]
    for index, face in enumerate(_FACES, 1):
        a, b, c, d = (f"{corner}/1/{index}" for corner in face.split())
        lines += [f"f {a} {b} {c}", f"f {a} {c} {d}"]
    file.write_text("\n".join(lines) + "\n")
    return file


class FaultyWorld(gym.Wrapper[Any, Any, Any, Any]):
    """An environment with one view and one fault; None: with none."""

    def __init__(self, world: gym.Env[Any, Any], place: Path) -> None:
        super().__init__(world)
        self.kind: str | None = None
        self._world: Any = world.unwrapped
        engine = self._world.engine
        self._boxes: list[Body] = [
            engine.add_body(visual=_box(place / f"{k}.obj", half), position=_PARKED) for k, half in enumerate(BOXES_M)
        ]
        engine.save()
        self._carried: Body | None = None
        self._photograph = self._world._photograph
        self._world._photograph = self._photographed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._rng = np.random.default_rng(seed)
        self._step, self._cover, self._kept = 0, None, None
        self._onset = int(self._rng.integers(4, max(5, self._world.episode_steps // 2)))
        self._carried = None
        for box in self._boxes:
            self._world.engine.set_pose(box, _PARKED)
        if self.kind == "object":
            self._carry()
        observation, info = self.env.reset(seed=seed, options=options)
        if self.kind == "shifted":
            self._shift()
            self._world._photograph()
            observation = {**observation, "image": self._world._image.copy()}
        return self._spoilt(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        return self._spoilt(observation), reward, terminated, truncated, info

    def _carry(self) -> None:
        self._carried = self._boxes[int(self._rng.integers(len(self._boxes)))]
        self._offset = self._rng.uniform(-0.03, 0.03, 3)
        hue = self._rng.choice([self._rng.uniform(85, 155), self._rng.uniform(195, 320)]) / 360
        colour = colorsys.hsv_to_rgb(hue, self._rng.uniform(0.2, 0.9), self._rng.uniform(0.3, 1.0))
        self._world.engine.paint(self._carried, -1, colour, None)

    def _photographed(self) -> None:
        if self._carried is not None:
            place = np.array(self._world.scene.robot.state().position) + self._offset
            self._world.engine.set_pose(self._carried, tuple(place.tolist()))
        self._photograph()

    def _shift(self) -> None:
        visual, nominal = self._world.draw.visual[0], self._world.task.camera
        eye, aim = (
            np.array(place) + self._away(*ends)
            for place, ends in ((nominal.eye, (0.10, 0.20)), (nominal.aim, (0.03, 0.06)))
        )
        camera = CameraPose(tuple(eye.tolist()), tuple(aim.tolist()), visual.camera.field_of_view_deg)
        self._world.draw = replace(self._world.draw, visual=(replace(visual, camera=camera),))

    def _away(self, least: float, most: float) -> np.ndarray:
        direction = self._rng.standard_normal(3)
        return direction / np.linalg.norm(direction) * self._rng.uniform(least, most)

    def _spoilt(self, observation: dict[str, Any]) -> dict[str, Any]:
        image: np.ndarray = observation["image"]
        if self.kind == "swapped":
            image = image[..., ::-1].copy()
        elif self.kind == "frozen" and self._step >= self._onset:
            self._kept = image if self._kept is None else self._kept
            image = self._kept
        elif self.kind == "blocked" and self._step >= self._onset:
            image = self._covered(image)
        return {**observation, "image": image}

    def _covered(self, image: np.ndarray) -> np.ndarray:
        if self._cover is None:
            rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
            turn = self._rng.uniform(0, 2 * np.pi)
            along = columns * np.cos(turn) + rows * np.sin(turn)
            self._cover = along <= np.quantile(along, self._rng.uniform(0.6, 1.0))
            self._colour = self._rng.uniform(10, 230, 3)
        lens = np.clip(self._colour + self._rng.normal(0, 2, image.shape), 0, 255)
        return np.where(self._cover[..., None], lens, image).astype(np.uint8)
