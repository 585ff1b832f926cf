"""Settings of the simulated worlds: every range that randomisation draws from, with its unit, in one place.

The type of each field says what it may be and the text below it what it means: no object can be made with anything
else, and the command line reads and prints both.

The nesting is `SimConfig.randomisation.{visual,dynamics,timing}`. Each group has `enabled`, and each factor in it a
switch of its own; a factor that is off takes its nominal value, and the other factors are drawn as if it were on.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, Le, doc
from pydantic import AfterValidator, ConfigDict
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

Number = TypeVar("Number", bound=float)


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends} is not allowed: low <= high")
    return ends


Range = tuple[float, float]
"""Low and high end of what is drawn from."""

RangeOf = Annotated[tuple[Number, Number], AfterValidator(_ascending), doc("low to high")]
"""The same where each end is within the limits of a type."""

Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, config=_STRICT)
class VisualConfig:
    """What a camera sees differently from one episode, or one view, to the next.

    The held-out domain draws from ranges of its own for textures, hues, light directions and camera offsets (see
    `sim.randomisation`); where a `held_out_..._m` field exists it names the outer edge of a shell that starts where
    the training range ends. Sensor flaws lie in such a shell only where "noise" is held out by name (`sim.domains`).
    """

    enabled: bool = True
    """Draw any visual factor at all."""

    table: bool = True
    """Draw the colour of the table."""
    floor: bool = True
    """Draw the colour of the floor."""
    background: bool = True
    """Draw the colour of the wall behind the robot."""
    scenery_saturation: RangeOf[Annotated[float, Ge(0), Le(0.8)]] = (0.0, 0.65)
    """Colourfulness of table, floor and wall."""
    scenery_value: RangeOf[Annotated[float, Ge(0.1), Le(1)]] = (0.2, 0.8)
    """Brightness of table, floor and wall."""
    robot: bool = True
    """Draw the colours of arm, hand and fingers."""
    robot_saturation: RangeOf[Annotated[float, Ge(0), Le(0.8)]] = (0.0, 0.35)
    """Colourfulness of arm, hand and fingers."""
    robot_value: RangeOf[Annotated[float, Ge(0.1), Le(1)]] = (0.65, 1.0)
    """Brightness of arm and hand."""
    finger_value: RangeOf[Share] = (0.1, 0.4)
    """Brightness of the fingers."""
    gripper_contrast: Annotated[float, Ge(0), Le(0.2)] = 0.15
    """Least difference in brightness of hand and table."""
    objects: bool = True
    """Draw the shades of goal and cube within their reserved hues (red, yellow)."""
    object_hue_deg: Annotated[float, Ge(0), Le(15)] = 8.0
    """Goal's and cube's hue, largest change from red and yellow."""
    object_saturation: RangeOf[Annotated[float, Ge(0.8), Le(1)]] = (0.85, 1.0)
    """Colourfulness of goal and cube."""
    object_value: RangeOf[Annotated[float, Ge(0.7), Le(1)]] = (0.75, 1.0)
    """Brightness of goal and cube."""

    textures: bool = True
    """Draw procedural textures."""
    scenery_texture_probability: Share = 0.6
    """Chance of one on table, floor and wall each."""
    robot_texture_probability: Share = 0.25
    """Chance of one on the arm."""
    object_texture_probability: Share = 0.25
    """Chance of one on goal and cube each."""

    lights: bool = True
    """Draw direction, colour and strengths of the light."""
    light_elevation_deg: RangeOf[Annotated[float, Ge(5), Le(90)]] = (35.0, 80.0)
    """Light's height above the horizon."""
    light_ambient: RangeOf[Share] = (0.45, 0.65)
    """Share of light that comes from everywhere."""
    light_diffuse: RangeOf[Share] = (0.30, 0.60)
    """Share of light that depends on the surface's slope."""
    light_specular: RangeOf[Share] = (0.0, 0.25)
    """Strength of highlights."""
    light_tint: Annotated[float, Ge(0), Le(0.3)] = 0.06
    """Largest change of one colour channel of the light."""
    shadows: bool = False
    """Cast shadows."""

    # The defaults are the most that is allowed: up to here nothing that matters leaves the image (test_sim_framing.py).
    camera_position: bool = True
    """Draw the camera's position."""
    camera_position_m: Annotated[float, Ge(0), Le(0.05)] = 0.05
    """Largest offset of the camera, metres."""
    held_out_camera_position_m: Annotated[float, Ge(0), Le(0.07)] = 0.07
    """Same, held-out domain, metres."""
    camera_aim: bool = True
    """Draw the point that the camera looks at."""
    camera_aim_m: Annotated[float, Ge(0), Le(0.012)] = 0.012
    """Largest offset of that point, metres."""
    held_out_camera_aim_m: Annotated[float, Ge(0), Le(0.016)] = 0.016
    """Same, held-out domain, metres."""
    camera_field_of_view: bool = True
    """Draw the field of view."""
    camera_field_of_view_deg: Share = 1.0
    """Largest change of the field of view, degrees."""

    noise: bool = True
    """Add pixel noise."""
    noise_levels: RangeOf[Annotated[float, Ge(0), Le(40)]] = (0.0, 4.0)
    """Standard deviation of pixel noise, of 255 levels."""
    blur: bool = True
    """Blur the image."""
    blur_px: RangeOf[Annotated[float, Ge(0), Le(2)]] = (0.0, 0.6)
    """Standard deviation of the blur, pixels at any size."""
    colour_shift: bool = True
    """Change the camera's gain and offset per colour channel."""
    colour_gain: Annotated[float, Ge(0), Le(0.3)] = 0.10
    """Largest relative change of a channel's gain."""
    colour_offset_levels: Annotated[float, Ge(0), Le(40)] = 8.0
    """Largest change of a channel's offset, of 255 levels."""
    held_out_sensor_factor: Annotated[float, Ge(1), Le(3)] = 2.0
    """Noise held out by name: noise, blur and colour shift reach so many times as much."""

    def __post_init__(self) -> None:
        for name in ("camera_position_m", "camera_aim_m"):
            inner, outer = getattr(self, name), getattr(self, f"held_out_{name}")
            if outer < inner:
                raise ValueError(f"VisualConfig.held_out_{name} is {outer}, allowed: at least {name}, which is {inner}")


@dataclass(frozen=True, config=_STRICT)
class DynamicsConfig:
    """How bodies and motors behave; the ranges are factors of the nominal value, so 1 means nominal."""

    enabled: bool = True
    """Draw any dynamics factor at all."""
    mass: bool = True
    """Draw the masses of cube, hand and fingers."""
    mass_factor: RangeOf[Annotated[float, Ge(0.2), Le(5)]] = (0.8, 1.25)
    """Factor of the nominal masses."""
    friction: bool = True
    """Draw the friction of cube, table and fingers."""
    friction_factor: RangeOf[Annotated[float, Ge(0.2), Le(3)]] = (0.8, 1.25)
    """Factor of the nominal friction coefficients."""
    damping: bool = True
    """Draw the damping of the arm's joints."""
    damping_factor: RangeOf[Annotated[float, Ge(0), Le(10)]] = (0.5, 2.0)
    """Factor of the nominal joint damping."""
    controller_gain: bool = True
    """Draw the position gain of the motors."""
    controller_gain_factor: RangeOf[Annotated[float, Ge(0.2), Le(1.8)]] = (0.8, 1.2)
    """Factor of the nominal position gain."""
    controller_force: bool = True
    """Draw the force limit of the motors."""
    controller_force_factor: RangeOf[Annotated[float, Ge(0.5), Le(3)]] = (0.8, 1.25)
    """Factor of the nominal motor force."""


@dataclass(frozen=True, config=_STRICT)
class TimingConfig:
    """Delays between policy, motors and camera, in seconds; one control step is the most that can be delayed.

    They are the same in both domains; only where "delay" is held out by name (`sim.domains`) they lie beyond.
    """

    enabled: bool = True
    """Draw any timing factor at all."""
    action_delay: bool = True
    """Draw a delay between an action and the motors."""
    action_delay_s: RangeOf[Share] = (0.0, 0.03)
    """That delay in seconds, at most one control step."""
    camera_delay: bool = True
    """Draw a delay between exposure and observation."""
    camera_delay_s: RangeOf[Share] = (0.0, 0.03)
    """That delay in seconds, at most one control step."""
    held_frames: bool = True
    """Let the camera now and then deliver the previous frame again."""
    held_frame_probability: Annotated[float, Ge(0), Le(0.9)] = 0.02
    """Chance of that at each step."""
    held_out_delay_factor: Annotated[float, Ge(1), Le(3)] = 2.0
    """Delay held out by name: delays reach, and held frames come, so many times as much."""


@dataclass(frozen=True, config=_STRICT)
class SensingConfig:
    """How wrong the state is in episodes that ask for it (`make_env(state_errors=True)`): as wrong as a student.

    A student misjudges where things are by a centimetre or two, and in one world always to the same side. A teacher
    that has only ever known the truth pushes past a cube that is not where it believes, again and again; one that has
    lived with such errors looks at what its push does.
    """

    enabled: bool = True
    """Draw an error of the state at all."""
    position_error_m: Annotated[float, Ge(0), Le(0.05)] = 0.02
    """Largest error of each body's x and y, the same for a whole episode, metres."""


@dataclass(frozen=True, config=_STRICT)
class RandomisationConfig:
    """The groups of domain randomisation."""

    visual: VisualConfig = field(default_factory=VisualConfig)
    """What the camera sees."""
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    """How bodies and motors behave."""
    timing: TimingConfig = field(default_factory=TimingConfig)
    """Delays of action and camera."""
    sensing: SensingConfig = field(default_factory=SensingConfig)
    """How wrong the state is where it may be."""

    @classmethod
    def off(cls) -> RandomisationConfig:
        """The nominal world: only the task's own initial positions are drawn."""
        return cls(
            VisualConfig(enabled=False),
            DynamicsConfig(enabled=False),
            TimingConfig(enabled=False),
            SensingConfig(enabled=False),
        )


@dataclass(frozen=True, config=_STRICT)
class SimConfig:
    """One simulated world: sizes, rates, lengths and its randomisation."""

    image_size: Annotated[int, Ge(16), Le(512)] = 64
    """Height and width of the camera image, pixels."""
    renderer: Literal["rasteriser", "pybullet"] = "rasteriser"
    """What draws: ours, or PyBullet's own, which takes several times longer."""
    views: Annotated[int, Ge(0), Le(16)] = 1
    """Images per step, each its own visual draw; 0 renders nothing."""
    control_hz: Annotated[int, Ge(1), Le(60)] = 10
    """Actions per second."""
    physics_hz: Annotated[int, Ge(60), Le(1000)] = 120
    """Physics steps per second, a multiple of control_hz."""
    max_step_m: Annotated[float, Ge(0.001), Le(0.1)] = 0.06
    """Largest displacement of the gripper per action and axis, metres."""
    episode_steps: Annotated[int, Ge(0), Le(10_000)] = 0
    """Steps after which an episode is cut; 0: reach 16, push 60, lift 50."""
    randomisation: RandomisationConfig = field(default_factory=RandomisationConfig)
    """Domain randomisation."""

    def __post_init__(self) -> None:
        if self.physics_hz % self.control_hz:
            raise ValueError(
                f"SimConfig.physics_hz is {self.physics_hz}, allowed: a multiple of control_hz, "
                f"which is {self.control_hz}"
            )
        period = 1.0 / self.control_hz
        for name in ("action_delay_s", "camera_delay_s"):
            longest = getattr(self.randomisation.timing, name)[1]
            if longest > period:
                raise ValueError(f"TimingConfig.{name} reaches {longest}, allowed: 0 to one control step, {period:.4g}")
