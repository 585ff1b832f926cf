"""The loop: who drives, when it holds, what ends it; every intervention has its reason, and every tick is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripted_arm import ScriptedArm

from deploy.robot.runtime import Policy, load
from deploy.robot.runtime.arm import Observation, Target
from deploy.robot.runtime.contract import ActionEntry
from deploy.robot.runtime.golden import read_trace
from deploy.robot.runtime.kinematics import joints_at
from deploy.robot.runtime.limits import Limiter
from deploy.robot.runtime.loop import SINGLE_S, EpisodeReport, Loop, LoopSettings
from deploy.robot.runtime.meaning import action_between, target_after
from deploy.robot.runtime.person import Wishes
from deploy.robot.runtime.policy import Step
from deploy.robot.runtime.proprioception import proprioception
from deploy.robot.runtime.recording import Recorder, read_recording


class Scripted:
    """A person who wants something at some calls."""

    def __init__(self, watches: bool = False, **wishes: Wishes) -> None:
        self.calls, self.script = -1, {int(key[1:]): value for key, value in wishes.items()}
        self.watches, self.heard = watches, list[str]()

    def told(self, words: str) -> None:
        self.heard.append(words)

    def wishes(self) -> Wishes:
        self.calls += 1
        return self.script.get(self.calls, Wishes())


@pytest.fixture
def policy(made: Path) -> Policy:
    """The scripted arm is not where its pictures show it: that may be so, but for the test that is about it."""
    policy = load(made)
    policy.contract = replace(policy.contract, agreement=replace(policy.contract.agreement, threshold=1e9))
    return policy


@pytest.fixture
def arm(made: Path) -> ScriptedArm:
    return ScriptedArm(read_trace(made)["image"][:16])


@pytest.fixture
def run(policy: Policy, arm: ScriptedArm) -> Callable[..., EpisodeReport]:
    def run_one(person: Scripted | None = None, recorder: Recorder | None = None, **settings: object) -> EpisodeReport:
        limiter = Limiter.of(policy.contract, "fr3")
        return Loop(policy, arm, limiter, LoopSettings(**settings), person, recorder).run_episode()  # type: ignore[arg-type]

    return run_one


def test_an_episode_as_it_should_be(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, made: Path
) -> None:
    report = run()
    assert (report.steps, report.stopped, report.missed, report.interventions) == (16, None, 0, {})
    assert (arm.told[0], arm.told[-1]) == ("connect", "hold")
    assert len(arm.targets) == 16
    deadlines = [entry[1] for entry in arm.told if isinstance(entry, tuple)]
    assert deadlines == pytest.approx([100.0 + 0.1 * (tick + 1.5) for tick in range(16)])
    other, target = load(made), replace(arm.targets[0], position=(0.5, 0.0, 0.15))
    for image, commanded in zip(arm.images, arm.targets, strict=True):
        there = Observation(image, 0.0, joints_at(target.position), 0.0, target.opening, (0.0, 0.0, 0.0), target)
        action = other.infer(image, proprioception(other.contract, there)).action
        target = target_after(other.contract.action, target, action)
        assert commanded.position == pytest.approx(target.position, abs=1e-6)


def test_a_dry_run_commands_nothing(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    assert run(dry=True, surprise_stop=False).steps == 16
    assert arm.told == ["connect", "hold"]


def test_a_late_frame_makes_it_hold_and_go_on(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    arm.age = lambda tick: 0.4 if tick in (5, 6) else 0.0
    report = run()
    assert (report.steps, report.stopped, dict(report.interventions)) == (16, None, {"frame": 2})
    assert arm.targets[5] == arm.targets[4] == arm.targets[6]
    assert arm.targets[7] != arm.targets[6]


def test_a_camera_that_stalls_ends_it(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    arm.age = lambda tick: max(0.0, 0.1 * (tick - 3))
    report = run(steps=60)
    assert report.stopped is not None
    assert report.stopped.startswith("frames: none could be acted on for 1 s: frame is")
    assert report.steps < 20
    assert arm.told[-1] == "hold"


def test_surprise_ends_it_after_some_steps_in_a_row(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy
) -> None:
    terms = policy.contract.surprise
    policy.contract = replace(policy.contract, surprise=replace(terms, threshold=0.0))
    report = run()
    assert report.steps == terms.ignored + terms.steps
    assert report.stopped is not None
    assert report.stopped.startswith("surprise: above 0.00 nats for 3 steps, now ")
    assert arm.told[-1] == "hold"
    assert run(surprise_stop=False).stopped is None


def test_an_arm_that_is_not_where_the_picture_shows_it_ends_it(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, made: Path
) -> None:
    calm = replace(policy.contract.surprise, threshold=1e9)
    policy.contract = replace(policy.contract, agreement=load(made).contract.agreement, surprise=calm)
    arm.at = replace(arm.at, position=(0.38, -0.15, 0.04))
    report = run()
    assert report.stopped is not None
    assert report.stopped.startswith(
        "disagreement: for 3 steps the picture has shown the gripper elsewhere than the arm"
    )
    assert report.steps < 16


def test_a_cut_connection_ends_it(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    arm.cut_at = 4
    report = run()
    assert (report.stopped, arm.told[-1]) == ("robot: the connection is cut", "hold")


def test_a_period_in_which_it_comes_late_is_missed_and_not_made_up_for(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, tmp_path: Path
) -> None:
    """And what was decided after its deadline is not commanded, of which the policy is told."""
    arm.slow = lambda tick: 0.22 if tick == 5 else 0.0
    with Recorder(tmp_path / "r", policy.contract, "x", "scripted") as recorder:
        report = run(None, recorder)
    assert (report.missed, dict(report.interventions)) == (2, {"late": 2})
    assert max(report.late_s) == pytest.approx(0.0)
    assert (len(arm.targets), arm.told.count("hold")) == (15, 2)
    tick = next(iter(read_recording(tmp_path / "r").episodes())).ticks[5]
    assert (tick["driver"], tick["executed"], tick["interventions"][0]) == (
        "hold",
        [0.0, 0.0, 0.0],
        "late: the command's deadline had passed before it was sent",
    )


def test_blending_in_grows_from_nothing(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    run()
    full = arm.targets[0].position
    arm.told.clear()
    arm.at = replace(arm.at, position=(0.5, 0.0, 0.15))
    run(blend_s=1.0)
    share = np.subtract(arm.targets[0].position, (0.5, 0.0, 0.15)) / np.subtract(full, (0.5, 0.0, 0.15))
    assert share == pytest.approx([0.1] * 3)


def test_blending_in_counts_what_the_policy_drove_and_begins_again(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, tmp_path: Path
) -> None:
    """Held for 12 ticks of 0.1 s and then let go: the first steps are as small as if it had begun then."""
    script = {f"_{k}": Wishes(hold=True) for k in [*range(12), 14]}
    with Recorder(tmp_path / "r", policy.contract, "x", "scripted") as recorder:
        run(Scripted(**script), recorder, blend_s=1.0, surprise_stop=False)
    ticks = next(iter(read_recording(tmp_path / "r").episodes())).ticks
    for index, share in ((12, 0.1), (13, 0.2), (15, 0.1)):
        assert ticks[index]["executed"] == pytest.approx(share * np.array(ticks[index]["policy"]), abs=1e-5)


def test_blending_in_is_of_the_fingers_too(policy: Policy) -> None:
    """By the blend alone: reach has none."""
    loop = Loop(policy, ScriptedArm(np.zeros((1, 1))), Limiter.of(policy.contract, "fr3"), LoopSettings(blend_s=1.0))
    loop._target, loop._driven = Target((0.5, 0.0, 0.1), 0.08), 0
    assert loop._blended(Target((0.6, 0.0, 0.1), 0.0), "policy") == Target(
        pytest.approx((0.51, 0.0, 0.1)), pytest.approx(0.072)
    )


def test_a_person_holds_takes_over_hands_back_and_stops(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, tmp_path: Path
) -> None:
    mine = np.array([0.5, -0.5, 0.0], np.float32)
    script = {"_2": Wishes(hold=True), "_3": Wishes(action=mine), "_5": Wishes(stop=True)}
    with Recorder(tmp_path / "r", policy.contract, "x", "scripted") as recorder:
        report = run(Scripted(**script), recorder)
    assert (report.steps, report.stopped) == (6, "person: asked for it")
    assert [entry if entry == "hold" else "target" for entry in arm.told[1:5]] == ["target", "target", "hold", "target"]
    assert np.subtract(arm.targets[2].position, arm.targets[1].position) == pytest.approx([0.03, -0.03, 0.0])
    episode = next(iter(read_recording(tmp_path / "r").episodes()))
    assert [tick["driver"] for tick in episode.ticks] == ["policy", "policy", "hold", "person", "policy", "hold"]


def test_whoever_holds_it_holds_it_whoever_drives(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    both = Wishes(hold=True, action=np.array([1.0, 0.0, 0.0], np.float32))
    run(Scripted(_2=both, _3=both))
    assert arm.told[3:5] == ["hold", "hold"]
    assert len(arm.targets) == 14


def test_where_a_person_drives_the_policy_is_not_judged(run: Callable[..., EpisodeReport], policy: Policy) -> None:
    """And afresh once it drives again."""
    terms = policy.contract.surprise
    policy.contract = replace(policy.contract, surprise=replace(terms, threshold=0.0))
    mine = Wishes(action=np.zeros(3, np.float32))
    report = run(Scripted(**{f"_{k}": mine for k in range(8)}))
    assert (report.stopped or "").startswith("surprise: ")
    assert report.steps == 8 + terms.ignored + terms.steps


@pytest.mark.parametrize("what", ["action", "surprise", "state"])
def test_a_policy_that_gives_no_numbers_ends_it(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = policy.infer

    def broken(image: np.ndarray, own: np.ndarray) -> Step:
        step = infer(image, own)
        value = getattr(step, what)
        return replace(step, **{what: np.full_like(value, np.nan) if what != "surprise" else float("nan")})

    monkeypatch.setattr(policy, "infer", broken)
    report = run()
    assert report.stopped is not None
    if what == "state":
        assert report.stopped.startswith("disagreement: ")
    else:
        assert (report.stopped.partition(":")[0], report.steps, len(arm.targets)) == ("policy", 1, 0)
    assert arm.told[-1] == "hold"
    assert all(np.isfinite(target.position).all() for target in arm.targets)


def test_an_arm_that_measures_no_numbers_ends_it(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    arm.measures = lambda tick: (float("nan"),) * 7
    report = run()
    assert (report.stopped or "").startswith("robot: measures joints (nan")
    assert (arm.targets, arm.told[-1]) == ([], "hold")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["policy", "camera", "recorder", "start"])
def test_whatever_ends_a_run_the_robot_holds_first(
    run: Callable[..., EpisodeReport],
    arm: ScriptedArm,
    policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    error: type[BaseException],
) -> None:
    with Recorder(tmp_path / "r", policy.contract, "x", "scripted") as recorder:
        owner, name = {
            "policy": (policy, "infer"),
            "camera": (arm, "shown"),
            "recorder": (recorder, "tick"),
            "start": (arm, "connect"),
        }[where]

        def fail(*given: object) -> None:
            raise error("as a test wants it")

        monkeypatch.setattr(owner, name, fail)
        with pytest.raises(error, match="as a test wants it"):
            run(None, recorder)
    assert arm.told[-1] == "hold"


def test_an_arm_that_cannot_start_is_in_the_report(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    arm.error = "stands in an error"
    report = run()
    assert (report.stopped, report.steps) == ("robot: stands in an error", 0)


def test_who_watches_is_asked_before_it_moves_to_its_start(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    person = Scripted(watches=True, _2=Wishes(step=True, hold=True), _4=Wishes(step=True))
    assert run(person, steps=1).stopped is None
    assert (person.calls, arm.told[0]) == (5, "connect")
    assert person.heard == ["enter: it goes to its start, space or q on the way: it holds   q: it stays where it is"]
    arm.told.clear()
    stopped = run(Scripted(watches=True, _1=Wishes(stop=True))).stopped
    assert (stopped, arm.told) == ("person: did not let it go to its start", [])


@pytest.mark.parametrize("wishes", [Wishes(stop=True), Wishes(hold=True)])
def test_who_watches_may_stop_it_on_the_way(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, wishes: Wishes
) -> None:
    arm.asks_on_the_way = 3
    report = run(Scripted(watches=True, _0=Wishes(step=True), _2=wishes))
    assert (report.stopped, arm.told) == ("person: stopped it on the way to its start", ["connect", "hold"])


def test_one_step_per_key_press(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    presses = {f"_{10 * k}": Wishes(step=True) for k in range(1, 4)}
    report = run(Scripted(**presses), single=True, steps=3)
    assert report.steps == 3
    assert arm.time > 100.0 + 27 * 0.02
    assert arm.told[1][1] == pytest.approx(100.0 + 10 * 0.02 + SINGLE_S)


def test_every_tick_is_recorded_with_its_picture(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, tmp_path: Path
) -> None:
    arm.age = lambda tick: 0.4 if tick == 5 else 0.0
    with Recorder(tmp_path / "r", policy.contract, "b" * 64, "scripted") as recorder:
        run(None, recorder)
        run(None, recorder)
    first, second = read_recording(tmp_path / "r").episodes()
    assert np.array_equal(first.images, arm.images)
    assert first.about == {"robot": "scripted"}
    assert (first.end["steps"], first.end["stopped"], len(second.ticks)) == (16, None, 16)
    assert first.ticks[5]["interventions"] == ["frame: frame is 400 ms old; allowed are 0 to 230 ms, as in training"]
    assert [tick["target"][:3] for tick in first.ticks] == [
        pytest.approx(target.position, abs=1e-6) for target in arm.targets[:16]
    ]


def test_what_a_killed_run_has_recorded_can_be_read(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "r", policy.contract, "x", "scripted") as recorder:
        run(None, recorder)
    ticks = tmp_path / "r" / "ticks.jsonl"
    ticks.write_text(ticks.read_text()[:-700])
    episode = next(iter(read_recording(tmp_path / "r").episodes()))
    assert 10 < len(episode.ticks) < 16
    assert episode.end == {}
    assert len(episode.images) == len(episode.ticks)


def test_what_is_recorded_can_be_read_while_the_run_goes_on(policy: Policy, arm: ScriptedArm, tmp_path: Path) -> None:
    with Recorder(tmp_path / "r", policy.contract, "x", "scripted") as recorder:
        recorder.begin(0, {})
        for image in arm.images[:3]:
            recorder.tick(image, {"driver": "policy"})
        (episode,) = read_recording(tmp_path / "r").episodes()
    assert np.array_equal(episode.images, arm.images[:3])
    assert len(episode.ticks) == 3


def test_what_a_person_leaves_as_it_is_stays(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = np.zeros(len(policy.contract.proprioception))
    step = replace(policy.infer(arm.images[0], own), action=np.array([0.0, 0.0, 0.0, -0.5], np.float32))
    monkeypatch.setattr(policy, "infer", lambda image, own: step)
    entries = (*policy.contract.action.entries, ActionEntry("opening", "position", 0.0, 0.08))
    policy.contract = replace(policy.contract, action=replace(policy.contract.action, entries=entries))
    mine = Wishes(action=np.array([0.5, 0.0, 0.0, np.nan], np.float32))
    run(Scripted(_2=mine), steps=3, surprise_stop=False)
    assert [target.opening for target in arm.targets] == pytest.approx([0.02] * 3)
    assert arm.targets[2].position[0] - arm.targets[1].position[0] == pytest.approx(0.03)


def test_an_action_means_what_leads_back_to_it(policy: Policy) -> None:
    terms, draw = policy.contract.action, np.random.default_rng(0)
    start = replace(ScriptedArm(np.zeros((1, 1))).at, opening=0.0)
    for action in draw.uniform(-1, 1, (50, 3)).astype(np.float32) * np.float32(0.7):
        assert action_between(terms, start, target_after(terms, start, action)) == pytest.approx(action, abs=1e-5)
