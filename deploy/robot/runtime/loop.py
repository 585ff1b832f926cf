"""The loop that runs a policy on a robot: the same for a simulator, a recording and an arm.

    each control period
      robot.observe()   a picture, stamps, joints
      the gate          what may not be acted on: the robot holds
      the policy        an action, and its surprise: too much for too long ends the run
      the person        may hold, take over, stop
      blend, limits     the target is changed as little as it must be
      robot.command()   with a deadline: without another command until then the robot holds by itself
      the recorder      everything of this tick, and the reason of every intervention

A period in which the loop comes late is missed, not made up for. Whatever ends a run, the robot holds first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arm import ArmError, Observation, Robot, Target
from .depth import Depth
from .kinematics import gripper_at
from .limits import Limiter
from .meaning import action_between, target_after
from .person import Nobody, Person, Wishes
from .policy import Policy, Step
from .recording import Recorder
from .refusals import FrameError

DEADLINE_PERIODS = 1.5
"""A command is good for so many control periods: one that is half a period late does not make the arm stutter."""


@dataclass(frozen=True)
class LoopSettings:
    """How an episode is run.

    Attributes:
        steps: after which it ends; 0: as many as in training.
        dry: nothing is commanded.
        single: each step waits for a key.
        blend_s: seconds in which the commands grow from none to the policy's.
        surprise_stop: whether surprise, or disagreement of picture and arm, ends the run.
        most_refused_s: so long may the gate refuse every picture before the run ends.
    """

    steps: int = 0
    dry: bool = False
    single: bool = False
    blend_s: float = 0.0
    surprise_stop: bool = True
    most_refused_s: float = 1.0


@dataclass
class EpisodeReport:
    """What became of an episode.

    Attributes:
        steps: ticks.
        stopped: why it ended before its time; None: it did not.
        success: a simulator's word; None: nobody knows.
        missed: control periods in which nothing could be commanded.
        late_s: by how much each tick began late.
        interventions: by their kind.
    """

    steps: int = 0
    stopped: str | None = None
    success: bool | None = None
    missed: int = 0
    late_s: list[float] = field(default_factory=list)
    interventions: Counter[str] = field(default_factory=Counter)


@dataclass
class _Tick:
    """What one tick decided."""

    action: NDArray[np.float32]
    driver: str
    target: Target
    step: Step | None
    interventions: list[str]


class Loop:
    """Runs episodes of one policy on one robot."""

    def __init__(
        self,
        policy: Policy,
        robot: Robot,
        limiter: Limiter,
        settings: LoopSettings,
        person: Person | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Takes the parts; the robot is connected with each episode."""
        self._policy, self._robot, self._limiter, self._settings = policy, robot, limiter, settings
        self._person: Person = person or Nobody()
        self._recorder = recorder
        self._terms = policy.contract.action
        self._depth = Depth(policy.contract, policy.familiar)
        self._episodes = 0

    def run_episode(self) -> EpisodeReport:
        """One episode, from a connected robot that stands to one that stands.

        Raises:
            ArmError: the robot could not be brought to its start.
        """
        report = EpisodeReport()
        steps = self._settings.steps or self._policy.contract.episode_steps
        self._policy.reset()
        self._limiter.reset()
        self._depth.reset()
        self._refused = 0
        self._moved_m = 0.0
        self._facts: Mapping[str, Any] = {}
        self._robot.connect()
        if self._recorder is not None:
            self._recorder.begin(self._episodes, self._robot.about)
        self._episodes += 1
        try:
            due = self._robot.clock.now()
            self._target = self._begin()
            while report.steps < steps and report.stopped is None:
                self._robot.clock.wait_until(due)
                due = self._tick(report, due)
            self._robot.clock.wait_until(due)
            self._facts = self._robot.observe().facts
            report.success = self._facts.get("success")
        except ArmError as error:
            report.stopped = f"robot: {error}"
        finally:
            self._robot.hold()
        if self._recorder is not None:
            words = {"steps": report.steps, "stopped": report.stopped, "success": report.success}
            self._recorder.end({**words, "facts": self._facts})
        return report

    def _begin(self) -> Target:
        """Where the arm stands, as the workspace has it: a start may be off by a hair."""
        observation = self._robot.observe()
        low, high = self._terms.workspace_low_m, self._terms.workspace_high_m
        place = zip(gripper_at(observation.joints), low, high, strict=True)
        x, y, z = (min(max(value, least), most) for value, least, most in place)
        return Target((x, y, z), observation.opening)

    def _tick(self, report: EpisodeReport, due: float) -> float:
        """One control period; returns when the next is due."""
        clock, period = self._robot.clock, self._terms.period_s
        wishes = self._waited_for() if self._settings.single else self._person.wishes()
        if self._settings.single:
            due = clock.now()
        late = clock.now() - due
        observation = self._robot.observe()
        tick = self._decided(report, observation, wishes)
        if report.stopped is not None:
            self._robot.hold()
        elif not self._settings.dry:
            self._robot.command(tick.target, due + DEADLINE_PERIODS * period)
        following = due + period
        missed = 0
        while clock.now() > following and not self._settings.single:
            following += period
            missed += 1
        if missed:
            tick.interventions.append(f"late: {missed} control periods were missed")
        report.missed += missed
        report.late_s.append(late)
        report.steps += 1
        report.interventions.update(reason.partition(":")[0] for reason in tick.interventions)
        self._record(report, observation, tick, late)
        if not self._settings.dry:
            self._target = tick.target
        return following

    def _decided(self, report: EpisodeReport, observation: Observation, wishes: Wishes) -> _Tick:
        interventions: list[str] = []
        step = self._looked(report, observation, interventions)
        still = action_between(self._terms, self._target, self._target)
        if wishes.stop:
            report.stopped = "person: asked for it"
        if wishes.action is not None:
            action, driver = wishes.action, "person"
            interventions.append("person: drives")
        elif step is None or wishes.hold or report.stopped is not None:
            if wishes.hold:
                interventions.append("person: holds")
            action, driver = still, "hold"
            # Where to is said already: to brake by this loop's limits would be to go on; the arm has limits of its own.
            self._limiter.reset()
        else:
            action, driver = step.action, "policy"
        wanted = self._blended(report, target_after(self._terms, self._target, action), driver)
        target, reasons = self._limiter.limit(self._target, wanted)
        interventions += reasons
        if step is not None and (self._settings.dry or target != target_after(self._terms, self._target, step.action)):
            done = self._target if self._settings.dry else target
            self._policy.executed(action_between(self._terms, self._target, done))
        self._moved_m = 0.0 if self._settings.dry else math.dist(target.position, self._target.position)
        return _Tick(action, driver, target, step, interventions)

    def _looked(self, report: EpisodeReport, observation: Observation, interventions: list[str]) -> Step | None:
        """What the policy makes of the picture; None if it may not act on it."""
        now = self._robot.clock.now()
        try:
            step = self._policy.step(observation.image, observation.image_stamp, now, self._moved_m)
        except FrameError as error:
            interventions.append(f"frame: {error}")
            self._refused += 1
            if self._refused * self._terms.period_s > self._settings.most_refused_s:
                report.stopped = f"frames: none could be acted on for {self._settings.most_refused_s:g} s: {error}"
            return None
        self._refused = 0
        reason = self._depth.look(step, observation.joints)
        if reason is not None and self._settings.surprise_stop:
            report.stopped = reason
            interventions.append(reason)
        return step

    def _blend(self, report: EpisodeReport) -> float:
        seconds = self._settings.blend_s
        return min(1.0, (report.steps + 1) * self._terms.period_s / seconds) if seconds > 0 else 1.0

    def _blended(self, report: EpisodeReport, wanted: Target, driver: str) -> Target:
        share = self._blend(report)
        if share >= 1.0 or driver != "policy":
            return wanted
        before = self._target.position
        x, y, z = (a + share * (b - a) for a, b in zip(before, wanted.position, strict=True))
        return Target((x, y, z), wanted.opening)

    def _waited_for(self) -> Wishes:
        wishes, clock = self._person.wishes(), self._robot.clock
        while not (wishes.step or wishes.stop):
            clock.wait_until(clock.now() + 0.02)
            wishes = self._person.wishes()
        return wishes

    def _record(self, report: EpisodeReport, observation: Observation, tick: _Tick, late: float) -> None:
        if self._recorder is None:
            return
        step = tick.step
        seen: dict[str, Any] = {}
        if step is not None:
            seen = {"surprise": step.surprise, "reward": step.reward, "value": step.value, "state": step.state}
        self._recorder.tick(
            np.ascontiguousarray(observation.image),
            {
                "tick": report.steps - 1,
                "late_s": late,
                "age_s": self._robot.clock.now() - observation.image_stamp,
                "joints": observation.joints,
                "opening": observation.opening,
                "driver": tick.driver,
                "action": tick.action,
                "target": [*tick.target.position, tick.target.opening],
                "interventions": tick.interventions,
                "facts": observation.facts,
                **seen,
            },
        )
