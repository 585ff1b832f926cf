"""A replay's episodes as a dataset: each row's action is what followed its observation, and each episode is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from redis_servers import Server, redis_server

from deploy.cli import main
from deploy.errors import UserError
from deploy.robot.replayed import whole_episodes, write_replay
from replay import EpisodeMeta, ReplayConfig, ReplayStore, Step, StreamSpec, StreamWriter, connect

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install -e '.[dataset]'")
av = pytest.importorskip("av", reason="PyAV is not installed: pip install -e '.[dataset]'")

NAMES = ("gripper_x_m", "cube_x_m", "cube_from_gripper_x_m")
SPEC = StreamSpec(NAMES, (-99.0,) * 3, (99.0,) * 3, image_shape=(16, 16, 3), views=2, action_dim=1, chunk_length=5)


def step(count: int, first: bool, last: bool, shown: bool) -> Step:
    """Row `count` of its episode: its state is its number, its action a tenth of it."""
    state = np.array([count, 10 + count, 20 + count], np.float32)
    image = np.full((2, 16, 16, 3), 20 * count, np.uint8) if shown else None
    action = np.array([0.0 if first else count / 10], np.float32)
    return Step(state, image, state if shown else None, action, float(not first) * count, first, last, False)


def write(store: ReplayStore, stream: str, lengths: list[int], *, shown: bool = True, last: bool = True) -> None:
    """A stream of episodes with so many rows each; the last one may go on."""
    writer = StreamWriter(store, SPEC, run_id=store.run_id, stream_id=stream, actor_id="a")
    for episode, rows in enumerate(lengths):
        for count in range(rows):
            begins, ends = count == 0, count == rows - 1 and (last or episode < len(lengths) - 1)
            meta = EpisodeMeta(0, 100 * len(stream) + episode, "train", "teacher", {"light": episode})
            writer.append(
                step(count, begins, ends, shown), meta if begins else None, policy_version=7, renderer="painted"
            )
    if last:
        writer.flush()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def store(server: Server) -> ReplayStore:
    return ReplayStore(connect(server.url()), "run-1", SPEC, ReplayConfig(capacity_steps=24))


def test_rows_hold_what_followed_them_and_episodes_are_whole(store: ReplayStore, tmp_path: Path) -> None:
    write(store, "a", [4, 7, 3])
    target = tmp_path / "dataset"
    assert write_replay(store, target, task="push", fps=10, action_names=["x"], most=None) == 3
    rows = parquet.read_table(target / "data/chunk-000/file-000.parquet").to_pydict()
    assert rows["observation.state"] == [[0], [1], [2], [0], [1], [2], [3], [4], [5], [0], [1]]
    assert [state[1] for state in rows["observation.environment_state"]][:4] == [10, 11, 12, 10]
    assert np.ravel(rows["action"])[:6] == pytest.approx([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])
    assert rows["next.reward"][:4] == [1, 2, 3, 1]
    assert [index for index, done in enumerate(rows["next.done"]) if done] == [2, 8, 10]
    assert not any(rows["complementary_info.is_intervention"])
    about = [json.loads(line) for line in (target / "meta/twist_episodes.jsonl").read_text().splitlines()]
    assert [each["seed"] for each in about] == [100, 101, 102]
    assert [each["randomisation"] for each in about] == [{"light": index} for index in range(3)]
    assert (about[0]["driver"], about[0]["policy_version"]) == ("teacher", 7)


def test_every_view_has_its_pictures(store: ReplayStore, tmp_path: Path) -> None:
    write(store, "a", [4, 7])
    target = tmp_path / "dataset"
    write_replay(store, target, task="push", fps=10, action_names=["x"], most=None)
    features = json.loads((target / "meta/info.json").read_text())["features"]
    cameras = [name for name, feature in features.items() if feature["dtype"] == "video"]
    assert cameras == ["observation.images.front", "observation.images.front_2"]
    assert features["observation.environment_state"]["names"] == list(NAMES)
    for camera in cameras:
        with av.open(str(target / f"videos/{camera}/chunk-000/file-000.mp4")) as opened:
            shown = [frame.to_ndarray(format="rgb24").mean() for frame in opened.decode(video=0)]
        assert shown == pytest.approx([20 * count for count in (0, 1, 2, 0, 1, 2, 3, 4, 5)], abs=4)


def test_what_is_not_whole_is_left_out(store: ReplayStore) -> None:
    """Of 27 rows the newest 20 are held: the first episode has lost its beginning, and the last one goes on."""
    write(store, "a", [7, 6, 8, 6], last=False)
    write(store, "state-only", [3], shown=False)
    assert [each.about.seed for each in whole_episodes(store)] == [101, 102]


def test_the_newest_may_be_asked_for(store: ReplayStore, tmp_path: Path) -> None:
    write(store, "a", [4, 4])
    write(store, "bb", [4])
    assert write_replay(store, tmp_path / "d", task="push", fps=10, action_names=["x"], most=2) == 2
    about = (tmp_path / "d/meta/twist_episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in about] == [101, 200]
    with pytest.raises(UserError, match="is there already; a dataset wants a new directory"):
        write_replay(store, tmp_path / "d", task="push", fps=10, action_names=["x"], most=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "run-1"], "export needs a run and a directory"),
        (["delete", "run-1", "d"], "delete takes no DIR"),
        (["list", "--episodes", "3"], "list takes no --episodes"),
        (["export", "run-1", "d"], "run-1: export needs the run's directory or URL, which says what task it is of"),
        (["export", "pretrained", "d"], "run directory pretrained: has no config.json, so it is not a run"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWIST_REDIS_URL", server.url())
    (tmp_path / "pretrained").mkdir()
    assert main(["replay", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
