"""Settings of the simulated worlds: every range that randomisation draws from, with its unit, in one place.

The type of each field says what it may be and the text below it what it means: no object can be made with anything
else, and the command line reads and prints both.

The nesting is `SimConfig.randomisation.{visual,dynamics,timing}`. Each group has `enabled`, and each factor in it a
switch of its own; a factor that is off takes its nominal value, and the other factors are drawn as if it were on.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Literal, TypeVar, get_args

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
"""Of a whole: 1 is all of it."""

World = Literal["pybullet", "mujoco"]
WORLDS: tuple[World, ...] = get_args(World)
"""By the engine that moves what is in them."""


@dataclass(frozen=True, config=_STRICT)
class VisualConfig:
    """What a camera sees differently from one episode, or one view, to the next: rooms.

    The held-out domain has textures, things, directions of light and camera offsets of its own (`sim.domains`); where a
    `held_out_..._m` field exists it names the outer edge of a shell that starts where the training range ends. Sensor
    flaws lie in such a shell only where "noise" is held out by name. Each switch stands above the ranges of the factors
    that it draws; `twist factors --list` prints all factors.
    """

    enabled: bool = True
    """Draw any visual factor at all."""

    surfaces: bool = True
    """Draw the colours of table, floor and walls."""
    surface_saturation: RangeOf[Share] = (0.0, 0.75)
    """Colourfulness of what has no colours of its own; any hue."""
    surface_value: RangeOf[Annotated[float, Ge(0.02), Le(1)]] = (0.2, 0.95)
    """Brightness of the same."""
    surface_tint: Share = 0.25
    """Woods, stones and photographs: most colourfulness of what they are multiplied by."""
    surface_darkest: Annotated[float, Ge(0.1), Le(1)] = 0.55
    """Woods, stones and photographs: least brightness of the same."""

    textures: bool = True
    """Draw what table, floor and walls are made of; off: plain."""
    texture_wood: Share = 0.25
    """Weight of wood among what is drawn."""
    texture_stone: Share = 0.10
    """Weight of stone."""
    texture_cloth: Share = 0.10
    """Weight of cloth."""
    texture_pattern: Share = 0.10
    """Weight of geometric patterns."""
    texture_photograph: Share = 0.20
    """Weight of photographs."""
    texture_plain: Share = 0.25
    """Weight of none."""
    texture_scale: RangeOf[Annotated[float, Ge(0.1), Le(8)]] = (0.5, 2.0)
    """Size of a texture; at 1 it is half a metre wide."""
    object_texture: Share = 0.15
    """Chance of a pattern on goal and cube each."""
    pictures: str = ""
    """A folder with photographs of your own, drawn in training as often as those that come along, and read in no domain
    but those whose textures are training's; "": none."""

    room: bool = True
    """Draw the shape of the table, where the floor is and how far the walls are."""
    floor_depth_m: RangeOf[Annotated[float, Ge(0.1), Le(1.5)]] = (0.35, 0.95)
    """How far below the table's top the floor is, metres."""
    wall_distance_m: RangeOf[Annotated[float, Ge(0.8), Le(3.5)]] = (0.9, 3.0)
    """How far each wall is from the robot's base, metres."""
    furniture: Share = 0.5
    """Chance that something stands against a wall, each wall."""
    joinery_saturation: RangeOf[Share] = (0.0, 0.5)
    """Colourfulness of the table's legs and of skirting boards, any hue."""
    joinery_value: RangeOf[Annotated[float, Ge(0.02), Le(1)]] = (0.1, 0.95)
    """Brightness of the same."""

    objects: bool = True
    """Draw goal and cube around the colours that their task keeps recognisable."""
    object_hue_deg: Annotated[float, Ge(0), Le(15)] = 8.0
    """Goal's and cube's hue, largest change."""
    object_saturation: RangeOf[Annotated[float, Ge(0.7), Le(1)]] = (0.8, 1.0)
    """Colourfulness of goal and cube."""
    object_value: RangeOf[Annotated[float, Ge(0.5), Le(1)]] = (0.7, 1.0)
    """Brightness of goal and cube."""
    least_contrast: Annotated[float, Ge(0), Le(0.3)] = 0.12
    """Least difference of goal and cube from what they lie on, 1 is black and white (OKLab)."""

    robot: bool = True
    """Draw the robot's materials."""
    robot_away: Share = 0.35
    """Chance that they are away from the real ones, and not around them."""
    robot_saturation: RangeOf[Share] = (0.0, 0.05)
    """Around: colourfulness of what multiplies them."""
    robot_value: RangeOf[Annotated[float, Ge(0.1), Le(1)]] = (0.82, 1.0)
    """Around: brightness of the same."""
    robot_away_saturation: RangeOf[Share] = (0.0, 0.6)
    """Away: colourfulness of what multiplies them, any hue."""
    robot_away_value: RangeOf[Annotated[float, Ge(0.1), Le(1)]] = (0.35, 1.0)
    """Away: brightness of the same."""
    robot_gloss: RangeOf[Share] = (0.0, 1.0)
    """Strength of highlights on it."""

    things: bool = True
    """Let things lie on the table and beside it."""
    things_most: Annotated[int, Ge(0), Le(6)] = 5
    """Most of them at once."""
    thing_before: Share = 0.12
    """Chance that one stands between camera and workspace."""

    lights: bool = True
    """Draw direction, colour and strengths of the lamp and of a second one."""
    light_elevation_deg: RangeOf[Annotated[float, Ge(10), Le(90)]] = (28.0, 85.0)
    """The lamp's height above the horizon."""
    light_temperature_k: RangeOf[Annotated[float, Ge(2000), Le(10000)]] = (2700.0, 9000.0)
    """Colour of both lamps, from warm to cold, kelvin."""
    light_ambient: RangeOf[Share] = (0.38, 0.65)
    """Share of light that comes from everywhere."""
    light_diffuse: RangeOf[Share] = (0.25, 0.65)
    """Share of the lamp's light."""
    light_specular: RangeOf[Share] = (0.0, 0.4)
    """Strength of highlights."""
    second_light: Share = 0.35
    """Chance of a second lamp."""
    second_light_strength: RangeOf[Share] = (0.05, 0.30)
    """Share of its light."""
    shadows: bool = True
    """Let the lamp cast shadows, hard or soft ones."""
    shadow: Share = 0.85
    """Chance of them."""
    shadow_spread: RangeOf[Annotated[float, Ge(0), Le(0.5)]] = (0.0, 0.3)
    """How far a shadow's edge reaches to either side, metres for each metre between what casts it and where it falls,
    up to 0.034 m but for the table's shadow on the floor; small more often than large."""

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
    camera_roll: bool = True
    """Draw how far the camera is turned about its axis."""
    camera_roll_deg: Annotated[float, Ge(0), Le(2)] = 2.0
    """Largest turn, degrees."""
    camera_lens: bool = True
    """Draw field of view and principal point."""
    camera_field_of_view_deg: Annotated[float, Ge(0), Le(1)] = 1.0
    """Largest change of the field of view, degrees."""
    camera_principal_point: Annotated[float, Ge(0), Le(0.01)] = 0.01
    """Largest offset of the point where the axis meets the image, share of its width and height."""

    noise: bool = True
    """Add pixel noise."""
    noise_levels: RangeOf[Annotated[float, Ge(0), Le(40)]] = (0.0, 5.0)
    """Standard deviation of pixel noise, of 255 levels."""
    blur: bool = True
    """Blur the image: out of focus, or by the motion of a hand-held camera."""
    blur_px: RangeOf[Annotated[float, Ge(0), Le(2)]] = (0.0, 0.6)
    """Standard deviation of the blur of focus, pixels at any size."""
    motion_blur: Share = 0.25
    """Chance of blur of motion."""
    motion_blur_px: RangeOf[Annotated[float, Ge(0), Le(6)]] = (0.3, 1.5)
    """Length of that blur, pixels at any size."""
    exposure: bool = True
    """Draw exposure, gamma and vignette."""
    exposure_stops: Annotated[float, Ge(0), Le(2)] = 0.45
    """Largest change of the exposure, stops: 1 is twice the light."""
    least_brightness: RangeOf[Annotated[float, Ge(0), Le(0.6)]] = (0.25, 0.4)
    """Mean brightness up to which the camera opens by itself in the dark, of what a screen is told."""
    gamma: RangeOf[Annotated[float, Ge(0.4), Le(2.5)]] = (0.8, 1.25)
    """Power of the picture's values."""
    vignette: RangeOf[Share] = (0.0, 0.25)
    """Share of light that is missing in the corners."""
    colour_balance: bool = True
    """Draw white balance and colourfulness of the camera."""
    white_balance: Annotated[float, Ge(0), Le(0.5)] = 0.18
    """Largest relative change of red and of blue."""
    colour_saturation: RangeOf[Annotated[float, Ge(0), Le(2)]] = (0.65, 1.3)
    """Factor of colourfulness."""
    jpeg: bool = True
    """Compress pictures as JPEG does."""
    jpeg_share: Share = 0.4
    """Chance of that."""
    jpeg_quality: RangeOf[Annotated[float, Ge(5), Le(100)]] = (40.0, 95.0)
    """Its quality."""
    held_out_sensor_factor: Annotated[float, Ge(1), Le(3)] = 2.0
    """Noise held out by name: noise, blur of focus and of motion, exposure and white balance reach so many times as
    much; the sensor's other flaws are drawn as in training."""

    def __post_init__(self) -> None:
        for name in ("camera_position_m", "camera_aim_m"):
            inner, outer = getattr(self, name), getattr(self, f"held_out_{name}")
            if outer < inner:
                raise ValueError(f"VisualConfig.held_out_{name} is {outer}, allowed: at least {name}, which is {inner}")
        kinds = ("wood", "stone", "cloth", "pattern", "photograph", "plain")
        if not any(getattr(self, f"texture_{kind}") for kind in kinds):
            raise ValueError(f"VisualConfig.texture_... are all 0, allowed: one of {', '.join(kinds)} above 0")


Factor = Annotated[float, Ge(0.2), Le(5)]


@dataclass(frozen=True, config=_STRICT)
class DynamicsConfig:
    """How arm and bodies behave (`sim.actuator`); a `..._factor` is one of the nominal value, so 1 means nominal.

    Each is drawn by itself. What changes no motion is not here: position motors as stiff as the arm's own hide their
    gain and force, the damping of joints, and the mass of the hand.
    """

    enabled: bool = True
    """Draw any dynamics factor at all."""
    lag: bool = True
    """Draw by how much the gripper trails its command."""
    lag_s: RangeOf[Annotated[float, Ge(0.02), Le(0.5)]] = (0.02, 0.15)
    """That lag in seconds: of a real arm's controller, its filters and its interpolation."""
    speed: bool = True
    """Draw how fast joints may turn."""
    speed_share: RangeOf[Annotated[float, Ge(0.1), Le(1)]] = (0.6, 1.0)
    """Share of the data sheet's speeds; controllers keep below them."""
    acceleration: bool = True
    """Draw how fast joints may change their speed."""
    acceleration_share: RangeOf[Annotated[float, Ge(0.1), Le(1)]] = (0.5, 1.0)
    """Share of the data sheet's accelerations."""
    cube_mass: bool = True
    """Draw the mass of the cube."""
    cube_mass_factor: RangeOf[Factor] = (0.5, 2.0)
    """Factor of its mass."""
    cube_friction: bool = True
    """Draw the friction of the cube."""
    cube_friction_factor: RangeOf[Factor] = (0.8, 1.25)
    """Factor of its friction coefficient; what two bodies have between them is the product of theirs."""
    table_friction: bool = True
    """Draw the friction of the table."""
    table_friction_factor: RangeOf[Factor] = (0.8, 1.25)
    """Factor of its friction coefficient."""
    finger_friction: bool = True
    """Draw the friction of the fingers."""
    finger_friction_factor: RangeOf[Factor] = (0.8, 1.25)
    """Factor of their friction coefficient."""


@dataclass(frozen=True, config=_STRICT)
class TimingConfig:
    """Delays between policy, arm and camera, in seconds; one control step is the most that can be delayed.

    A delayed action arrives late as it is; the arm's own lag (`DynamicsConfig.lag_s`) comes on top.

    They are the same in both domains; only where "delay" is held out by name (`sim.domains`) they lie beyond.
    """

    enabled: bool = True
    """Draw any timing factor at all."""
    action_delay: bool = True
    """Draw a delay between an action and the arm's controller."""
    action_delay_s: RangeOf[Annotated[float, Ge(0), Le(1)]] = (0.0, 0.03)
    """That delay in seconds, at most one control step."""
    camera_delay: bool = True
    """Draw a delay between exposure and observation."""
    camera_delay_s: RangeOf[Annotated[float, Ge(0), Le(1)]] = (0.0, 0.03)
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
    lived with such errors looks at what its push does. A student knows its own commands: where the gripper was told to
    go is wrong by as much as where it is, so that the difference is right.
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
    engine: World = "pybullet"
    """What moves bodies: PyBullet, or MuJoCo (extra [mujoco])."""
    renderer: Literal["rasteriser", "pybullet", "mujoco"] = "rasteriser"
    """What draws: ours, PyBullet's own, which leaves out the size and turn of textures and more, or MuJoCo's with the
    robot's full meshes; these take many times as long."""
    views: Annotated[int, Ge(0), Le(16)] = 1
    """Images per step, each its own visual draw; 0 renders nothing."""
    control_hz: Annotated[int, Ge(1), Le(60)] = 10
    """Actions per second."""
    physics_hz: Annotated[int, Ge(60), Le(1000)] = 120
    """Physics steps per second, a multiple of control_hz."""
    max_step_m: Annotated[float, Ge(0.001), Le(0.1)] = 0.06
    """Largest displacement of the gripper per action and axis, metres."""
    action_change_price: Annotated[float, Ge(0), Le(1)] = 0.1
    """What an action costs that differs from the one before, where the task is solved: so much reward times the mean of
    the squares of what its components (-1 to 1) have changed. Rewards are at most 1 a step."""
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

    def in_world(self, world: World) -> SimConfig:
        """Return the same settings with the physics and the pictures of a world."""
        if world == "mujoco":
            return replace(self, engine=world, renderer="mujoco")
        return replace(self, engine=world, renderer="rasteriser" if self.renderer == "mujoco" else self.renderer)
