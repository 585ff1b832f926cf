"""The loop: who drives, when it holds, what ends it; every intervention has its reason, and every tick is recorded."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripted_arm import ScriptedArm

from deploy.cli import main
from deploy.robot.runtime import Policy, load
from deploy.robot.runtime.golden import read_trace
from deploy.robot.runtime.loop import EpisodeReport, Loop, LoopSettings
from deploy.robot.runtime.meaning import action_between, target_after
from deploy.robot.runtime.person import Keyboard, Wishes
from deploy.robot.runtime.recording import Recorder, read_recording
from deploy.robot.runtime.running import limiter_of

FRANKY = ("--robot", "franky", "--robot-id", "bench-2", "--host", "127.0.0.1")


class Scripted:
    """A person who wants something at some calls."""

    def __init__(self, **wishes: Wishes) -> None:
        self.calls, self.script = -1, {int(key[1:]): value for key, value in wishes.items()}

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
        limiter = limiter_of(policy.contract, "fr3")
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
    trace = read_trace(made)
    target = replace(arm.targets[0], position=(0.5, 0.0, 0.15))
    for action, commanded in zip(trace["action"][:16], arm.targets, strict=True):
        target = target_after(policy.contract.action, target, action)
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
    policy.contract = replace(policy.contract, agreement=load(made).contract.agreement)
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
    run: Callable[..., EpisodeReport], arm: ScriptedArm
) -> None:
    arm.slow = lambda tick: 0.22 if tick == 5 else 0.0
    report = run()
    assert (report.missed, dict(report.interventions)) == (2, {"late": 1})
    assert max(report.late_s) == pytest.approx(0.0)


def test_blending_in_grows_from_nothing(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    run()
    full = arm.targets[0].position
    arm.told.clear()
    arm.at = replace(arm.at, position=(0.5, 0.0, 0.15))
    run(blend_s=1.0)
    share = np.subtract(arm.targets[0].position, (0.5, 0.0, 0.15)) / np.subtract(full, (0.5, 0.0, 0.15))
    assert share == pytest.approx([0.1] * 3)


def test_a_person_holds_takes_over_hands_back_and_stops(
    run: Callable[..., EpisodeReport], arm: ScriptedArm, policy: Policy, tmp_path: Path
) -> None:
    mine = np.array([0.5, -0.5, 0.0], np.float32)
    script = {"_2": Wishes(hold=True), "_3": Wishes(action=mine), "_5": Wishes(stop=True)}
    with Recorder(tmp_path / "r", policy.contract, "x", "scripted") as recorder:
        report = run(Scripted(**script), recorder)
    assert (report.steps, report.stopped) == (6, "person: asked for it")
    assert arm.targets[2] == arm.targets[1]
    assert np.subtract(arm.targets[3].position, arm.targets[2].position) == pytest.approx([0.03, -0.03, 0.0])
    episode = next(iter(read_recording(tmp_path / "r").episodes()))
    assert [tick["driver"] for tick in episode.ticks] == ["policy", "policy", "hold", "person", "policy", "hold"]


def test_one_step_per_key_press(run: Callable[..., EpisodeReport], arm: ScriptedArm) -> None:
    presses = {f"_{10 * k}": Wishes(step=True) for k in range(1, 4)}
    report = run(Scripted(**presses), single=True, steps=3)
    assert report.steps == 3
    assert arm.time > 100.0 + 27 * 0.02


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


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("q", Wishes(stop=True)), (" ", Wishes(hold=True)), ("  ", Wishes()), ("\n", Wishes(step=True)), ("ww", Wishes())],
)
def test_keys(policy: Policy, keys: Sequence[str], expected: Wishes) -> None:
    assert Keyboard(policy.contract.action).pressed(list(keys)) == expected


def test_keys_move_once_a_person_has_taken_over(policy: Policy) -> None:
    board = Keyboard(policy.contract.action)
    taken, moving, back = (board.pressed(list(keys)) for keys in ("t", "wr", "t"))
    assert taken.action is not None and not taken.action.any()
    assert moving.action is not None and moving.action.tolist() == [1.0, 0.0, 1.0]
    assert back.action is None


def test_an_action_means_what_leads_back_to_it(policy: Policy) -> None:
    terms, draw = policy.contract.action, np.random.default_rng(0)
    start = replace(ScriptedArm(np.zeros((1, 1))).at, opening=0.0)
    for action in draw.uniform(-1, 1, (50, 3)).astype(np.float32) * np.float32(0.7):
        assert action_between(terms, start, target_after(terms, start, action)) == pytest.approx(action, abs=1e-5)


@pytest.mark.parametrize(("robot", "world"), [("sim", "pybullet"), ("mujoco", "mujoco")])
def test_a_simulator_runs_the_episodes_of_twist_eval(
    made: Path, robot: str, world: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    if world == "mujoco":
        pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install -e '.[mujoco]'")
    ours_of = ["--episodes", "4", "--seed", "3", "--no-surprise-stop", "--json"]
    assert main(["run", str(made), "--robot", robot, *ours_of]) == 0
    ours = json.loads(capsys.readouterr().out)
    given = ["--episodes", "4", "--seed", "3", "--world", world, "--json"]
    assert main(["eval", "pretrained/reach", *given]) == 0
    theirs = json.loads(capsys.readouterr().out)
    assert (ours["episodes"], ours["steps"], ours["missed"]) == (4, 64, 0)
    assert ours["successes"] == theirs["successes"]


def test_its_recording_can_be_replayed_without_motion(made: Path, tmp_path: Path) -> None:
    record = str(tmp_path / "r")
    assert main(["run", str(made), "--robot", "sim", "--seed", "3", "--record", record]) == 0
    again = ["run", str(made), "--robot", "replay", "--recording", record, "--record", str(tmp_path / "again")]
    assert main(again) == 0
    first, second = (next(iter(read_recording(tmp_path / name).episodes())) for name in ("r", "again"))
    assert np.array_equal(first.images, second.images)
    assert [tick["action"] for tick in first.ticks] == [tick["action"] for tick in second.ticks]
    assert first.about["seed"] == second.about["seed"]
    assert main(["run", str(made), "--robot", "sim", "--record", record]) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--robot", "sim", "--episodes", "0"], "--episodes is 0; allowed is at least 1"),
        (["--robot", "sim", "--blend-in", "nan"], "--blend-in is nan; allowed is at least 0"),
        (["--robot", "sim", "--keyboard"], "--keyboard and --single-step need a terminal to read keys from"),
        (["--robot", "franky"], "--robot franky needs --robot-id NAME, --host ADDRESS and --camera CAMERA"),
        ([*FRANKY, "--camera", "opencv:0"], "bench-2 is not qualified for bundle "),
        ([*FRANKY, "--camera", "usb", "--unqualified", "bench-2"], "--camera is 'usb'; allowed are opencv:NUMBER"),
    ],
)
def test_what_cannot_be_is_one_line(
    made: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["run", str(made), *given]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
