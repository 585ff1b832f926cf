"""The Gymnasium environment: one control step is one action, some physics steps, and a state with its images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.assets import assets_directory
from sim.backends import make_engine, make_exposure, renderer_maker
from sim.config import SimConfig
from sim.domains import checked_domain, has_training_textures
from sim.engine import Engine, Image
from sim.factors import checked, visual_factors
from sim.looks import look_of
from sim.motion import MotionMeter
from sim.randomisation import EpisodeDraw, SensingDraw, draw_dynamics, draw_sensing, draw_timing
from sim.renderer import Renderer
from sim.robot import GripperState
from sim.scene import Scene
from sim.scenery import Camera, Look, Scenery
from sim.seeds import generator, training_seed
from sim.tasks import TASKS, Start, Task
from sim.visual import draw_visual

Observation = dict[str, Any]

_PICTURE_PX = 256


class PandaEnv(gym.Env[Observation, NDArray[np.float32]]):
    """A Panda at a table, with privileged state and the camera images that have arrived by then.

    Observations are `{"state": float32 [S], "image": uint8 [H, W, 3]}`; with `views` K > 1 images are [K, H, W, 3],
    one per visual draw of the same moment, and with `views` 0 there is no image and nothing is rendered. The bounds of
    `state` are physical; values beyond them are clipped. Actions are [A] in -1 to 1.

    `state` is of the end of the control step. `image` is as old as the camera's delay, and older where a frame was
    held. Which state it shows is told by `info["state_at_exposure"]`, float32 [S], of `reset` and `step`: the truth at
    the moment of exposure, also with `state_errors`; its command is the one that had reached the arm by then. It is no
    observation, so that no policy can act on it.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(
        self,
        task: str = "reach",
        config: SimConfig | None = None,
        domain: str = "train",
        views: int | None = None,
        render_mode: str | None = None,
        state_errors: bool = False,
        engine: Engine | None = None,
        make_renderer: Callable[[Scenery], Renderer] | None = None,
        quiet: bool = False,
        measure_motion: bool = False,
    ) -> None:
        """Build the world.

        Args:
            task: "reach", "push" or "lift".
            config: Sizes, rates and randomisation; None: the defaults.
            domain: Visual domain of episodes whose reset names none, see `sim.domains`.
            views: Images per step; None: as in the config.
            render_mode: None or "rgb_array".
            state_errors: Whether the state is as wrong as `config.randomisation.sensing` says; reward and success are
                always the truth's.
            engine: An empty engine of `config.physics_hz`; None: what `config.engine` names.
            make_renderer: Builds what draws a scenery; None: what `config.renderer` names.
            quiet: Whether nothing is said while something is compiled, as in a worker whose driver has said it.
            measure_motion: Whether `info["motion"]` of a step tells what the arm did, see `sim.motion`.

        Raises:
            ValueError: An argument has a value that is not allowed.
        """
        if task not in TASKS:
            raise ValueError(f"task is {task!r}, allowed: {', '.join(TASKS)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}, allowed: None, 'rgb_array'")
        self.config = config or SimConfig()
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": self.config.control_hz}
        self.views = self.config.views if views is None else views
        if self.views < 0:
            raise ValueError(f"views is {self.views}, allowed: at least 0")
        self._domain = checked_domain(domain)
        self._state_errors = state_errors
        self.engine = engine or make_engine(self.config.physics_hz, self.config.engine)
        self.scene = Scene(self.engine, assets_directory())
        self.task: Task = TASKS[task](self.scene)
        self.engine.save()
        self._make_renderer = make_renderer or renderer_maker(self.config.renderer, quiet)
        self._renderer: Renderer | None = None
        self._use_pictures(self._pictures_of(self._domain))
        self._looks: list[Look] = []
        self.episode_steps = self.config.episode_steps or self.task.episode_steps
        self.state_names = tuple(entry.name for entry in self.task.fields)
        self._low = np.array([entry.low for entry in self.task.fields], np.float32)
        self._high = np.array([entry.high for entry in self.task.fields], np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (self.task.action_size,), np.float32)
        self.observation_space = self._observation_space()
        if self.views or render_mode is not None:
            self.renderer  # noqa: B018 - built now, so that what it takes to build it falls into no episode
        self._sensors = [make_exposure(self.config.image_size, quiet) for _ in range(self.views)]
        self._substeps = self.config.physics_hz // self.config.control_hz
        self._period_s = 1.0 / self.config.physics_hz
        self._meter = MotionMeter(self.scene, self._period_s) if measure_motion else None
        self.draw: EpisodeDraw | None = None

    def _pictures_of(self, domain: str) -> str:
        """Return the user's folder where a view of a domain may show its pictures, else ""."""
        return self.config.randomisation.visual.pictures if has_training_textures(domain) else ""

    def _use_pictures(self, folder: str) -> None:
        """Let what may be seen have a folder's pictures, or none; a renderer that knows others is given up."""
        self._pictures = folder
        self.scenery = self.scene.scenery(folder)
        self.factors = visual_factors(self.task.objects, folder)
        self.factor_space = spaces.Dict({name: factor.space for name, factor in self.factors.items()})
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    @property
    def target(self) -> Start:
        """Where the gripper was last told to go."""
        return self._target

    @property
    def renderer(self) -> Renderer:
        """What draws; built when it is first needed, which is never where nothing is drawn."""
        if self._renderer is None:
            self._renderer = self._make_renderer(self.scenery)
        return self._renderer

    @property
    def looks(self) -> list[Look]:
        """How each view of this episode is painted, lit and furnished."""
        assert self.draw is not None, "reset() comes before looks"
        if not self._looks:
            self._looks = [look_of(visual, self.scenery, self._pictures) for visual in self.draw.visual]
        return self._looks

    def camera(self, view: int = 0, size_px: int | None = None) -> Camera:
        """Return a view's camera of this episode; None: with the image size of observations."""
        assert self.draw is not None, "reset() comes before camera()"
        size = size_px or self.config.image_size
        return Camera(self.draw.visual[view].camera, size, size)

    def segment(self, view: int = 0, size_px: int | None = None) -> NDArray[np.int32]:
        """Return which item of `scenery` each pixel of a view shows at present, -1 for none, [S, S]."""
        self.renderer.place(self.scene.poses())
        return self.renderer.segment(self.looks[view], self.camera(view, size_px))

    def _observation_space(self) -> spaces.Dict:
        parts: dict[str, spaces.Space[Any]] = {"state": spaces.Box(self._low, self._high, dtype=np.float32)}
        if self.views:
            size = self.config.image_size
            shape = (size, size, 3) if self.views == 1 else (self.views, size, size, 3)
            parts["image"] = spaces.Box(0, 255, shape, np.uint8)
        return spaces.Dict(parts)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: The episode's seed: the same seed and domain give the same episode. None: a fresh one, never one of an
                evaluation's (`sim.seeds`).
            options: `{"domain": ...}` chooses the visual domain of this episode: "train", "held_out", or another, such
                as "held_out:light" or "lab" (see `sim.domains`). `{"factors": {...}}` sets factors of what all
                views see, by name, to values of `factor_space`, or to a choice by its word (`self.factors`); the others
                are drawn as if it did not.

        Returns:
            The first observation, and `seed, domain, randomisation, renderer, is_success`; where there is an image also
            `state_at_exposure`.

        Raises:
            ValueError: There is no such domain, factor or value, or the domain is the first whose views may show the
                user's pictures and they cannot be read.
        """
        super().reset(seed=seed)
        self._seed = training_seed(self.np_random) if seed is None else seed
        domain = checked_domain((options or {}).get("domain", self._domain))
        if not self._pictures and self._pictures_of(domain):
            self._use_pictures(self._pictures_of(domain))
        given = checked(self.factors, (options or {}).get("factors", {}))
        randomisation = self.config.randomisation
        self.draw = EpisodeDraw(
            tuple(
                draw_visual(randomisation.visual, domain, self._seed, view, self.task.camera, self.task.objects, given)
                for view in range(max(1, self.views))
            ),
            draw_dynamics(randomisation.dynamics, self._seed),
            draw_timing(randomisation.timing, self._seed, domain, longest_s=1.0 / self.config.control_hz),
            draw_sensing(randomisation.sensing, self._seed) if self._state_errors else SensingDraw(),
        )
        self._looks = []
        self._errors = np.array([self.draw.sensing.of(name) for name in self.state_names], np.float32)
        self.engine.restore()
        self.scene.set_dynamics(self.draw.dynamics)
        self._target = self.task.reset(generator(self._seed, "task"))
        self.scene.robot.place(self._target.position, self._target.opening)
        self._gripper = self.scene.robot.state()
        self._commands = [self._target] * 3
        self._action = np.zeros(self.action_space.shape or (), np.float64)
        self._noise = [generator(self._seed, "sensor", view) for view in range(self.views)]
        self._held = generator(self._seed, "held_frames")
        self._steps = 0
        if self._meter is not None:
            self._meter.reset()
        info = {
            "seed": self._seed,
            "domain": domain,
            "randomisation": self.draw.as_json(),
            "renderer": self.renderer.name if self.views else "none",
            "is_success": self.task.is_success(self._gripper),
        }
        self._photograph(self._target)
        return self._observe(self._gripper), info | self._exposure()

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply one action; episodes end by truncation only.

        Returns:
            Observation, reward, False, whether the episode is over, and `is_success`, where there is an image also
            `state_at_exposure`, where motion is measured also `motion`.

        Raises:
            ValueError: The action has a wrong shape or is not finite.
        """
        assert self.draw is not None, "reset() comes before step()"
        values = np.asarray(action, np.float64)
        if values.shape != self.action_space.shape or not np.isfinite(values).all():
            raise ValueError(f"action is {action!r}, allowed: {self.action_space.shape} finite numbers in -1 to 1")
        values = np.clip(values, -1.0, 1.0)
        change = float(np.mean(np.square(values - self._action)))
        self._action = values
        self._target = self.task.target(self._target, values, self.config.max_step_m)
        self._simulate(self._target)
        self._steps += 1
        gripper = self._gripper = self.scene.robot.state()
        info = {"is_success": self.task.is_success(gripper), **self._exposure()}
        if self._meter is not None:
            info["motion"] = self._meter.read()
        # On the way there a price would keep policies from trying anything: push would never touch its cube.
        price = self.config.action_change_price * change if info["is_success"] else 0.0
        reward = self.task.reward(gripper) - price
        return self._observe(gripper), reward, False, self._steps >= self.episode_steps, info

    def render(self) -> Image | None:
        """Return a larger picture [S, S, 3] of the world from the first view's camera, without the sensor's flaws."""
        if self.render_mode is None or self.draw is None:
            return None
        self.renderer.place(self.scene.poses())
        return self.renderer.render(self.looks[0], self.camera(0, max(_PICTURE_PX, self.config.image_size)))

    def close(self) -> None:
        """Free engine and renderer."""
        self.engine.close()
        if self._renderer is not None:
            self._renderer.close()

    def __reduce__(self) -> NoReturn:
        """Refuse `copy` and `pickle`: two environments would step the one world.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "an environment with a world in it cannot be copied or pickled: make another with the same arguments; the "
            "same seed and the same actions bring it to the same state"
        )

    def _simulate(self, target: Start) -> None:
        """Advance one control step. The image is taken when its delay says, which may be before the step's end."""
        assert self.draw is not None
        self.scene.robot.actuator.fingers_are_at(self._gripper.opening)
        self._commands = [*self._commands[1:], target]
        timing = self.draw.timing
        exposure = self._substeps - min(round(timing.camera_delay_s * self.config.physics_hz), self._substeps)
        held = self._held.uniform() < timing.held_frame_probability
        delay = min(timing.action_delay_s * self.config.control_hz, 1.0)
        for substep in range(self._substeps):
            if substep == exposure and not held:
                self._photograph(self._in_force(substep / self._substeps - delay))
            command = self._command((substep + 1) / self._substeps - delay)
            self.scene.robot.follow(command.position, command.opening, self._period_s)
            self.engine.step()
            if self._meter is not None:
                self._meter.note()
        if exposure == self._substeps and not held:
            self._photograph(self._in_force(1.0 - delay))

    def _command(self, share: float) -> Start:
        """Return what the arm is commanded at a share of the control step, -1 to 1; below 0 in the one before.

        Over one control step the command goes evenly to where the action wants the gripper; the fingers are told at
        once.
        """
        before, start, end = self._commands
        if share <= 0.0:
            share, start, end = share + 1.0, before, start
        (x, y, z), (x_end, y_end, z_end) = start.position, end.position
        position = (x + share * (x_end - x), y + share * (y_end - y), z + share * (z_end - z))
        return Start(position, end.opening)

    def _in_force(self, share: float) -> Start:
        """Return where the command that has reached the arm at a share of the control step leads, as `_command`."""
        before, start, end = self._commands
        return end if share > 0.0 else start if share > -1.0 else before

    def _photograph(self, target: Start) -> None:
        """Expose one image per view, and note the state that they show, of an arm on its way to `target`."""
        if not self.views:
            return
        assert self.draw is not None
        self.renderer.place(self.scene.poses())
        images = []
        for view, (visual, noise) in enumerate(zip(self.draw.visual, self._noise, strict=True)):
            picture = self.renderer.render(self.looks[view], self.camera(view))
            images.append(self._sensors[view].expose(picture, visual.sensor, noise))
        self._image = images[0] if self.views == 1 else np.stack(images)
        self._state_at_exposure = np.clip(self._measure(self.scene.robot.state(), target), self._low, self._high)

    def _observe(self, gripper: GripperState) -> Observation:
        state = self._measure(gripper, self._target) + self._errors
        observation: Observation = {"state": np.clip(state, self._low, self._high)}
        if self.views:
            observation["image"] = self._image.copy()
        return observation

    def _exposure(self) -> dict[str, Any]:
        return {"state_at_exposure": self._state_at_exposure.copy()} if self.views else {}

    def _measure(self, gripper: GripperState, target: Start) -> NDArray[np.float32]:
        """Return the true state of this moment, [S], of a gripper that was told to go to `target`."""
        return np.array(self.task.observe(gripper, target.position), np.float32)
