"""The loop that runs a policy on a robot: the same for a simulator, a recording and an arm.

    each control period
      robot.observe()   a picture, stamps, joints
      the gate          what may not be acted on: the robot holds
      the policy        an action, and its surprise: too much for too long ends the run, and so does what is no number
      the person        may hold (at once, not at the last target), take over, stop
      blend, limits     the target is changed as little as it must be
      robot.command()   with a deadline: without another command until then the robot holds by itself
      the recorder      everything of this tick, and the reason of every intervention

A period in which the loop comes late is missed, not made up for; what was decided so late that its deadline has passed
is not commanded. Whatever ends a run, the robot holds first.

What is recorded of a tick: `time_s` since the episode's begin, when the gate saw the picture; `age_s` and
`joints_age_s`, of picture and joints then; `joints`, `opening`, `velocity` and `told` as in `arm.Observation`; `driver`
and its `action`; the `policy`'s own action; `executed`, what the policy was told was done instead, or null where
nothing had to be said; `target`, [x, y, z, opening] in metres.
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
from .proprioception import proprioception
from .recording import Recorder
from .refusals import FrameError

DEADLINE_PERIODS = 1.5
"""A command is good for so many control periods: one that is half a period late does not make the arm stutter."""

SINGLE_S = 2.0
"""Where each step waits for a key, a command is good for so long: for the longest step at a twentieth of the arm's
limits."""


@dataclass(frozen=True)
class LoopSettings:
    """How an episode is run.

    Attributes:
        steps: after which it ends; 0: as many as in training.
        dry: nothing is commanded.
        single: each step waits for a key.
        blend_s: seconds of the policy's driving in which its commands grow from none to full, again after each hold
            or hand-back.
        surprise_stop: whether surprise, strangeness, or disagreement of picture and arm ends the run.
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
    executed: NDArray[np.float32] | None
    held: bool
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
        """One episode, from a robot that stands to one that stands. What the robot cannot do is in the report."""
        report = EpisodeReport()
        steps = self._settings.steps or self._policy.contract.episode_steps
        self._policy.reset()
        self._limiter.reset()
        self._depth.reset()
        self._refused = 0
        self._moved_m = 0.0
        self._driven = 0
        self._facts: Mapping[str, Any] = {}
        if not self._at_start(report):
            return report
        if self._recorder is not None:
            self._recorder.begin(self._episodes, self._robot.about)
        self._episodes += 1
        try:
            self._begun = due = self._robot.clock.now()
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

    def _at_start(self, report: EpisodeReport) -> bool:
        """Brings the robot to its start, if whoever watches it lets it go there; says in the report if not."""
        asked = self._robot.real and self._person.watches and not self._settings.dry
        if asked and not self._allowed():
            report.stopped = "person: did not let it go to its start"
            return False
        refused = False

        def go_on() -> bool:
            nonlocal refused
            wishes = self._person.wishes()
            refused = refused or wishes.stop or wishes.hold
            return not refused

        try:
            self._robot.connect(go_on)
        except ArmError as error:
            report.stopped = "person: stopped it on the way to its start" if refused else f"robot: {error}"
        except BaseException:
            self._robot.hold()
            raise
        if report.stopped is not None:
            self._robot.hold()
        return report.stopped is None

    def _allowed(self) -> bool:
        self._person.told("enter: it goes to its start, space or q on the way: it holds   q: it stays where it is")
        clock = self._robot.clock
        while True:
            wishes = self._person.wishes()
            if wishes.stop or (wishes.step and not wishes.hold):
                return not wishes.stop
            clock.wait_until(clock.now() + 0.02)

    def _observed(self) -> Observation:
        """What the robot sees and measures.

        Raises:
            ArmError: it has stopped, or measures what is no number.
        """
        observation = self._robot.observe()
        if not np.isfinite([*observation.joints, *observation.velocity, observation.opening]).all():
            raise ArmError(
                f"measures joints {observation.joints}, velocity {observation.velocity} and opening "
                f"{observation.opening}: not finite"
            )
        return observation

    def _begin(self) -> Target:
        """Where the arm stands, as the workspace has it: a start may be off by a hair."""
        observation = self._observed()
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
        observation = self._observed()
        seen = clock.now()
        tick = self._decided(report, observation, wishes, seen)
        self._act(report, tick, due + (SINGLE_S if self._settings.single else DEADLINE_PERIODS * period))
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
        self._record(report, observation, tick, seen, late)
        if not self._settings.dry:
            self._target = tick.target
        return following

    def _act(self, report: EpisodeReport, tick: _Tick, deadline: float) -> None:
        """Commands what was decided, unless somebody holds the robot or it is too late for that."""
        if self._settings.dry and report.stopped is None:
            return
        if report.stopped is not None or tick.held:
            self._robot.hold()
        elif self._robot.clock.now() > deadline:
            self._robot.hold()
            tick.interventions.append("late: the command's deadline had passed before it was sent")
            self._stand(tick)
        else:
            self._robot.command(tick.target, deadline)

    def _stand(self, tick: _Tick) -> None:
        """Makes of a tick one in which nothing is done."""
        tick.driver, tick.action, tick.target = "hold", self._still(), self._target
        self._limiter.reset()
        self._moved_m = 0.0
        if tick.step is not None:
            tick.executed = tick.action
            self._policy.executed(tick.action)

    def _still(self) -> NDArray[np.float32]:
        return action_between(self._terms, self._target, self._target)

    def _decided(self, report: EpisodeReport, observation: Observation, wishes: Wishes, seen: float) -> _Tick:
        interventions: list[str] = []
        step = self._looked(report, observation, seen, wishes.action is not None, interventions)
        if wishes.stop:
            report.stopped = "person: asked for it"
        if wishes.hold:
            interventions.append("person: holds")
        if report.stopped is not None or wishes.hold or (step is None and wishes.action is None):
            action, driver = self._still(), "hold"
            # Where to is said already: to brake by this loop's limits would be to go on; the arm has limits of its own.
            self._limiter.reset()
        elif wishes.action is not None:
            action, driver = np.where(np.isnan(wishes.action), self._still(), wishes.action), "person"
            interventions.append("person: drives")
        else:
            assert step is not None
            action, driver = step.action, "policy"
        wanted = self._blended(target_after(self._terms, self._target, action), driver)
        if driver == "policy":
            self._driven += 1
        elif wishes.hold or driver == "person":
            self._driven = 0
        target, reasons = self._limiter.limit(self._target, wanted)
        interventions += reasons
        executed: NDArray[np.float32] | None = None
        if step is not None and (self._settings.dry or target != target_after(self._terms, self._target, step.action)):
            executed = action_between(self._terms, self._target, self._target if self._settings.dry else target)
            self._policy.executed(executed)
        self._moved_m = 0.0 if self._settings.dry else math.dist(target.position, self._target.position)
        return _Tick(action, driver, target, step, executed, wishes.hold, interventions)

    def _looked(
        self, report: EpisodeReport, observation: Observation, seen: float, person: bool, interventions: list[str]
    ) -> Step | None:
        """What the policy makes of the picture; None if it may not act on it."""
        try:
            own = proprioception(self._policy.contract, observation)
            step = self._policy.step(observation.image, own, observation.image_stamp, seen, self._moved_m)
        except FrameError as error:
            interventions.append(f"frame: {error}")
            self._refused += 1
            if self._refused * self._terms.period_s > self._settings.most_refused_s:
                report.stopped = f"frames: none could be acted on for {self._settings.most_refused_s:g} s: {error}"
            return None
        self._refused = 0
        if not (np.isfinite(step.action).all() and math.isfinite(step.surprise)):
            report.stopped = f"policy: its action is {step.action.tolist()}, its surprise {step.surprise}: not finite"
            interventions.append(report.stopped)
            return None
        if person:
            # Corrections are given where the policy is out of its depth; it is judged afresh when it drives again.
            self._depth.reset()
            return step
        reason = self._depth.look(step, observation.joints)
        if reason is not None and self._settings.surprise_stop:
            report.stopped = reason
            interventions.append(reason)
        return step

    def _blended(self, wanted: Target, driver: str) -> Target:
        seconds = self._settings.blend_s
        share = min(1.0, (self._driven + 1) * self._terms.period_s / seconds) if seconds > 0 else 1.0
        if share >= 1.0 or driver != "policy":
            return wanted
        before = self._target
        x, y, z = (a + share * (b - a) for a, b in zip(before.position, wanted.position, strict=True))
        return Target((x, y, z), before.opening + share * (wanted.opening - before.opening))

    def _waited_for(self) -> Wishes:
        wishes, clock = self._person.wishes(), self._robot.clock
        while not (wishes.step or wishes.stop):
            clock.wait_until(clock.now() + 0.02)
            wishes = self._person.wishes()
        return wishes

    def _record(self, report: EpisodeReport, observation: Observation, tick: _Tick, saw: float, late: float) -> None:
        if self._recorder is None:
            return
        step = tick.step
        seen: dict[str, Any] = {}
        if step is not None:
            seen = {
                "policy": step.action,
                "executed": tick.executed,
                "surprise": step.surprise,
                "reward": step.reward,
                "value": step.value,
                "state": step.state,
            }
        self._recorder.tick(
            np.ascontiguousarray(observation.image),
            {
                "tick": report.steps - 1,
                "time_s": saw - self._begun,
                "late_s": late,
                "age_s": saw - observation.image_stamp,
                "joints_age_s": saw - observation.joints_stamp,
                "joints": observation.joints,
                "opening": observation.opening,
                "velocity": observation.velocity,
                "told": [*observation.told.position, observation.told.opening],
                "driver": tick.driver,
                "action": tick.action,
                "target": [*tick.target.position, tick.target.opening],
                "interventions": tick.interventions,
                "facts": observation.facts,
                **seen,
            },
        )
