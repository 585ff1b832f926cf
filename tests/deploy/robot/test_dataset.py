"""A dataset written here has every field that LeRobotDataset v3.0 asks for, and holds what was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_arm import ScriptedArm

from deploy.cli import main
from deploy.robot.runtime import load
from deploy.robot.runtime.golden import read_trace
from deploy.robot.runtime.limits import Limiter
from deploy.robot.runtime.loop import Loop, LoopSettings
from deploy.robot.runtime.person import Nobody, Wishes
from deploy.robot.runtime.recording import Recorder, read_recording
from sim.seeds import evaluation_seed

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install -e '.[dataset]'")
av = pytest.importorskip("av", reason="PyAV is not installed: pip install -e '.[dataset]'")

KEY = "observation.images.front"
EPISODES, STEPS = 3, 16


@pytest.fixture(scope="module")
def recording(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "r"
    given = ["--episodes", str(EPISODES), "--seed", "5", "--no-surprise-stop", "--record", str(path)]
    assert main(["run", str(made), "--robot", "sim", *given]) == 0
    return path


@pytest.fixture(scope="module")
def dataset(recording: Path) -> Path:
    path = recording.parent / "dataset"
    assert main(["dataset", str(recording), str(path)]) == 0
    return path


def read(dataset: Path, name: str) -> Any:
    return json.loads((dataset / "meta" / name).read_text())


def test_info(dataset: Path) -> None:
    info = read(dataset, "info.json")
    features = info.pop("features")
    assert info == {
        "codebase_version": "v3.0",
        "robot_type": "panda_sim",
        "total_episodes": EPISODES,
        "total_frames": EPISODES * STEPS,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": 10,
        "splits": {"train": f"0:{EPISODES}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    assert type(info["fps"]) is int
    for feature in features.values():
        assert set(feature) >= {"dtype", "shape", "names"}
    assert (features["action"]["shape"], features["action"]["names"]) == ([3], ["x", "y", "z"])
    assert features["observation.state"]["shape"] == [8]
    assert (features[KEY]["dtype"], features[KEY]["shape"]) == ("video", [48, 48, 3])
    assert {"timestamp", "frame_index", "episode_index", "index", "task_index"} <= set(features)
    assert {"next.reward", "next.done", "next.success"} <= set(features)


def test_rows(dataset: Path, recording: Path) -> None:
    file = parquet.ParquetFile(dataset / "data/chunk-000/file-000.parquet")
    assert file.num_row_groups == EPISODES
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
    schema = {field.name: str(field.type) for field in file.schema_arrow}
    assert schema["action"].startswith("fixed_size_list<") and schema["action"].endswith("float>[3]")
    assert schema["timestamp"] == "float"
    for name in ("frame_index", "episode_index", "index", "task_index"):
        assert schema[name] == "int64"
    rows = file.read().to_pydict()
    assert rows["index"] == list(range(EPISODES * STEPS))
    assert rows["episode_index"] == [k for k in range(EPISODES) for _ in range(STEPS)]
    assert np.array(rows["timestamp"]) == pytest.approx(np.array(rows["frame_index"]) / 10, abs=1e-6)
    assert [k for k, done in enumerate(rows["next.done"]) if done] == [STEPS * (k + 1) - 1 for k in range(EPISODES)]
    assert not any(rows["complementary_info.is_intervention"])
    ticks = [tick for each in read_recording(recording).episodes() for tick in each.ticks]
    assert np.array(rows["action"]) == pytest.approx(np.array([tick["action"] for tick in ticks]), abs=1e-6)
    assert rows["next.reward"][0] == pytest.approx(ticks[1]["facts"]["reward"], abs=1e-6)
    assert set(schema) | {KEY} == set(read(dataset, "info.json")["features"])


def test_tasks_have_their_words_as_index(dataset: Path) -> None:
    table = parquet.read_table(dataset / "meta/tasks.parquet")
    assert table.to_pydict() == {"task_index": [0], "task": ["move the gripper to the ball"]}
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_episodes(dataset: Path) -> None:
    rows = parquet.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert rows["episode_index"] == list(range(EPISODES))
    assert rows["length"] == [STEPS] * EPISODES
    assert rows["tasks"] == [["move the gripper to the ball"]] * EPISODES
    assert (rows["dataset_from_index"], rows["dataset_to_index"]) == ([0, 16, 32], [16, 32, 48])
    assert rows[f"videos/{KEY}/from_timestamp"] == pytest.approx([0.0, 1.6, 3.2])
    assert rows[f"videos/{KEY}/to_timestamp"] == pytest.approx([1.6, 3.2, 4.8])
    for name in ("data", f"videos/{KEY}", "meta/episodes"):
        assert rows[f"{name}/chunk_index"] == rows[f"{name}/file_index"] == [0] * EPISODES


def test_statistics(dataset: Path, recording: Path) -> None:
    found = read(dataset, "stats.json")
    assert set(found) == set(read(dataset, "info.json")["features"])
    for name, each in found.items():
        assert set(each) >= {"min", "max", "mean", "std", "count"}
        assert each["count"] == [EPISODES * STEPS], name
    assert np.shape(found["action"]["mean"]) == (3,)
    assert np.shape(found[KEY]["mean"]) == (3, 1, 1)
    pictures = np.concatenate([each.images for each in read_recording(recording).episodes()])
    assert np.array(found[KEY]["mean"]).reshape(3) == pytest.approx(pictures.mean((0, 1, 2)) / 255)
    assert 0 <= np.min(found[KEY]["min"]) <= np.max(found[KEY]["max"]) <= 1


def test_the_video_shows_what_was_recorded(dataset: Path, recording: Path) -> None:
    pictures = np.concatenate([each.images for each in read_recording(recording).episodes()])
    with av.open(str(dataset / f"videos/{KEY}/chunk-000/file-000.mp4")) as opened:
        stream = opened.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 10)
        frames = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in opened.decode(stream)]
    assert [time for _, time in frames] == pytest.approx([k / 10 for k in range(len(pictures))], abs=1e-4)
    error = np.abs(np.stack([frame for frame, _ in frames]).astype(float) - pictures).mean()
    assert error < 12


def test_seed_and_draw_of_each_episode_are_kept(dataset: Path) -> None:
    lines = [json.loads(line) for line in (dataset / "meta/twist_episodes.jsonl").read_text().splitlines()]
    assert [line["seed"] for line in lines] == [evaluation_seed(5, k) for k in range(EPISODES)]
    assert all(line["randomisation"]["visual"] and line["complete"] for line in lines)


def test_the_steps_of_a_person_are_marked(made: Path, tmp_path: Path) -> None:
    """Taken over at the third step, handed back at the fifth."""
    policy, taken = load(made), np.array([1.0, 0.0, 0.0], np.float32)
    arm = ScriptedArm(read_trace(made)["image"][:STEPS])

    class Corrector(Nobody):
        calls = -1

        def wishes(self) -> Wishes:
            self.calls += 1
            return Wishes(action=taken if 2 <= self.calls < 4 else None)

    settings = LoopSettings(surprise_stop=False)
    with Recorder(tmp_path / "r", policy.contract, policy.manifest.sha256, "scripted") as recorder:
        Loop(policy, arm, Limiter.of(policy.contract, "fr3"), settings, Corrector(), recorder).run_episode()
    assert main(["dataset", str(tmp_path / "r"), str(tmp_path / "d")]) == 0
    rows = parquet.read_table(tmp_path / "d/data/chunk-000/file-000.parquet").to_pydict()
    assert [k for k, marked in enumerate(rows["complementary_info.is_intervention"]) if marked] == [2, 3]
    assert rows["action"][2] == rows["action"][3] == taken.tolist()


def test_a_run_writes_it_at_its_end(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["run", str(made), "--robot", "replay", "--dataset", str(tmp_path / "d")]
    assert main(given) == 2
    assert capsys.readouterr().err == "twist: --dataset needs --record DIR, of which it is made\n"
    assert main([*given, "--record", str(tmp_path / "r")]) == 0
    assert read(tmp_path / "d", "info.json")["total_frames"] == STEPS


def test_what_is_there_is_not_replaced(dataset: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", str(recording), str(dataset)]) == 2
    assert capsys.readouterr().err == f"twist: {dataset}: is there already; a dataset wants a new directory\n"
