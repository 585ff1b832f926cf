"""A run's settings and what its episodes showed, put into the words of the contract."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

from deploy.robot.calibration import agreement, calibrated
from deploy.robot.episodes import StudentEpisode
from deploy.robot.graph import OPSET, StudentStep
from deploy.robot.runtime import contract as terms
from deploy.robot.runtime.depth import GRIPPER
from deploy.runs.directory import read_config
from deploy.runs.policy_source import PolicySource
from deploy.runs.versions import versions
from deploy.settings.config import RunConfig
from learner.checkpoint import WEIGHTS
from sim.actuator import HAND_SPEED_M_PER_S, JOINT_ACCELERATIONS, JOINT_SPEEDS, ActuatorLimits
from sim.config import SimConfig, VisualConfig
from sim.robot import MAX_OPENING_M
from sim.tasks import TASKS, Task

MODEL = "policy.onnx"

_RARE = 1e-5
"""Frames held so many times in a row that it happens at fewer steps than this were hardly trained on."""

_TINT_DEG = 16.0
"""By which lamps, white balance, gamma and neighbours in a blurred picture move a hue beyond what was drawn."""

_AXES = ("x", "y", "z")

T = TypeVar("T")


def contract_of(
    config: RunConfig,
    step: StudentStep,
    origin: terms.Origin,
    normal: Sequence[StudentEpisode],
    judged: Sequence[StudentEpisode],
    strangeness: terms.Strangeness,
) -> terms.Contract:
    """The contract of a policy.

    Args:
        config: of its run.
        step: what was exported.
        origin: see `origin_of`.
        normal: episodes to calibrate surprise by.
        judged: episodes to count false stops in.
        strangeness: see `calibration.familiarity`.
    """
    worlds = config.evaluated_sim
    rate = worlds.control_hz
    spec, size = step.spec, step.sizes
    return terms.Contract(
        format=terms.FORMAT,
        name=config.task,
        task=config.task,
        episode_steps=worlds.episode_steps or TASKS[config.task].episode_steps,
        model=terms.Model(MODEL, OPSET, size.deter, size.groups, size.classes, size.hidden, step.outputs),
        camera=camera_of(config.task, worlds),
        action=_action(TASKS[config.task], worlds, [*normal, *judged]),
        latency=_latency(worlds),
        arm=_arm(worlds),
        surprise=calibrated(
            (each.trace["surprise"] for each in normal), (each.trace["surprise"] for each in judged), rate
        ),
        agreement=agreement(normal, judged, [spec.state_names.index(name) for name in GRIPPER], rate),
        strangeness=strangeness,
        proprioception=step.proprioception.names,
        state=terms.State(spec.state_names, spec.state_low, spec.state_high),
        origin=origin,
    )


def origin_of(source: PolicySource, adapted_from: str = "") -> terms.Origin:
    """Where the weights come from that `source` would act with now; see `terms.Origin`."""
    found = source.newest_checkpoint()
    document, learner = read_config(source.path), found.learner()
    assert document is not None
    with (found.path / WEIGHTS).open("rb") as opened:
        digest = hashlib.sha256(opened.read()).hexdigest()
    return terms.Origin(
        run_id=document.run_id,
        seed=source.config.seed,
        step=found.step,
        teacher_updates=learner["teacher_updates"],
        student_updates=learner["student_updates"],
        weights_sha256=digest,
        twist=versions()["twist"],
        adapted_from=adapted_from,
    )


def camera_of(name: str, worlds: SimConfig) -> terms.Camera:
    """The camera of a task in these worlds, and what training moved of it."""
    task = TASKS[name]
    pose, size, visual = task.camera, worlds.image_size, worlds.randomisation.visual
    focal = size / 2 / math.tan(math.radians(pose.field_of_view_deg) / 2)
    return terms.Camera(
        height=size,
        width=size,
        layout="HWC",
        channels="RGB",
        dtype="uint8",
        value_range=(0, 255),
        focal_px=(focal, focal),
        centre_px=(size / 2, size / 2),
        field_of_view_deg=pose.field_of_view_deg,
        eye_m=pose.eye,
        aim_m=pose.aim,
        up=(0.0, 0.0, 1.0),
        marks=tuple(
            terms.Mark(thing.name, thing.hue_deg, visual.object_hue_deg + _TINT_DEG)
            for thing in task.objects
            if thing.hue_deg is not None
        ),
        trained=_trained(pose.field_of_view_deg, size, visual),
    )


def _trained(field_of_view_deg: float, size: int, visual: VisualConfig) -> terms.TrainedCamera:
    def drawn(switch: str, what: T, otherwise: T) -> T:
        return what if visual.enabled and getattr(visual, switch) else otherwise

    wider = drawn("camera_lens", visual.camera_field_of_view_deg, 0.0)
    roll = drawn("camera_roll", visual.camera_roll_deg, 0.0)
    gain = drawn("colour_balance", 1.0 + visual.white_balance, 1.0)
    stops = drawn("exposure", visual.exposure_stops, 0.0)
    return terms.TrainedCamera(
        eye_offset_m=drawn("camera_position", visual.camera_position_m, 0.0),
        aim_offset_m=drawn("camera_aim", visual.camera_aim_m, 0.0),
        field_of_view_deg=(field_of_view_deg - wider, field_of_view_deg + wider),
        roll_deg=(-roll, roll),
        centre_offset_px=drawn("camera_lens", size * visual.camera_principal_point, 0.0),
        noise_levels=drawn("noise", visual.noise_levels, (0.0, 0.0)),
        blur_px=drawn("blur", visual.blur_px, (0.0, 0.0)),
        white_balance_gain=(1.0 / gain, gain),
        exposure_stops=(-stops, stops),
        gamma=drawn("exposure", visual.gamma, (1.0, 1.0)),
        saturation=drawn("colour_balance", visual.colour_saturation, (1.0, 1.0)),
    )


def action_names(task: str) -> list[str]:
    """Of the entries of a task's actions."""
    size = TASKS[task].action_size
    return [*_AXES[: min(3, size)], *(["opening"] if size > 3 else [])]


def _action(task: type[Task], worlds: SimConfig, episodes: Sequence[StudentEpisode]) -> terms.Action:
    step = worlds.max_step_m
    entries = [terms.ActionEntry(axis, "displacement", -step, step) for axis in _AXES[: min(3, task.action_size)]]
    if task.action_size > 3:
        entries.append(terms.ActionEntry("opening", "position", 0.0, MAX_OPENING_M))
    columns = [[each.start_m[axis] for each in episodes] for axis in range(3)]
    low, high = ([round(end(column), 4) for column in columns] for end in (min, max))
    return terms.Action(
        entries=tuple(entries),
        frame="robot base: x forward, y left, z up; the hand points down, the fingers open along y",
        point="target of the point between the fingertips",
        rate_hz=worlds.control_hz,
        workspace_low_m=task.workspace.low,
        workspace_high_m=task.workspace.high,
        start_low_m=(low[0], low[1], low[2]),
        start_high_m=(high[0], high[1], high[2]),
        start_opening_m=round(episodes[0].opening_m, 4),
    )


def _latency(worlds: SimConfig) -> terms.Latency:
    timing, period = worlds.randomisation.timing, 1.0 / worlds.control_hz
    probability = timing.held_frame_probability if timing.enabled and timing.held_frames else 0.0
    repeats = 0
    while probability ** (repeats + 1) >= _RARE:
        repeats += 1
    camera = timing.camera_delay_s if timing.enabled and timing.camera_delay else (0.0, 0.0)
    return terms.Latency(
        action_delay_s=timing.action_delay_s if timing.enabled and timing.action_delay else (0.0, 0.0),
        camera_delay_s=camera,
        held_frame_probability=probability,
        most_repeats=repeats,
        oldest_frame_s=round(camera[1] + repeats * period, 6),
    )


def _arm(worlds: SimConfig) -> terms.Arm:
    dynamics, nominal = worlds.randomisation.dynamics, ActuatorLimits()

    def drawn(switch: str, what: terms.Range, otherwise: float) -> terms.Range:
        return what if dynamics.enabled and getattr(dynamics, switch) else (otherwise, otherwise)

    return terms.Arm(
        lag_s=drawn("lag", dynamics.lag_s, nominal.lag_s),
        joint_speed=JOINT_SPEEDS,
        speed_share=drawn("speed", dynamics.speed_share, nominal.speed_share),
        joint_acceleration=JOINT_ACCELERATIONS,
        acceleration_share=drawn("acceleration", dynamics.acceleration_share, nominal.acceleration_share),
        hand_speed=HAND_SPEED_M_PER_S,
    )
