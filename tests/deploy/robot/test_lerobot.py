"""LeRobot itself opens what is written here: `make test-lerobot`, which makes it an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploy.cli import main

PYTHON = os.environ.get("LEROBOT_PYTHON", "")
STEPS = 16

READ = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset

camera = "observation.images.front"
plain = LeRobotDataset("twist/recorded", root=sys.argv[1])
moments = {"action": [0.0, 0.1], camera: [-0.1, 0.0]}
before = LeRobotDataset("twist/recorded", root=sys.argv[1], delta_timestamps=moments)
row, seen = plain[17], before[17]
print(json.dumps({
    "episodes": plain.num_episodes, "frames": plain.num_frames, "fps": plain.fps, "task": row["task"],
    "episode": int(row["episode_index"]), "frame": int(row["frame_index"]), "action": row["action"].tolist(),
    "picture": list(row[camera].shape), "range": [float(row[camera].min()), float(row[camera].max())],
    "actions": seen["action"].tolist(), "pictures": list(seen[camera].shape),
}))
"""


@pytest.mark.skipif(not PYTHON, reason="LEROBOT_PYTHON names no interpreter that has lerobot: make test-lerobot")
def test_lerobot_reads_rows_pictures_and_what_was_before(made: Path, tmp_path: Path) -> None:
    given = ["--episodes", "2", "--seed", "5", "--no-surprise-stop", "--record", str(tmp_path / "r")]
    assert main(["run", str(made), "--robot", "sim", *given, "--dataset", str(tmp_path / "d")]) == 0
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [PYTHON, "-c", READ, str(tmp_path / "d")], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["episodes"], found["frames"], found["fps"]) == (2, 2 * STEPS, 10)
    assert (found["episode"], found["frame"], found["task"]) == (1, 1, "move the gripper to the ball")
    lines = [json.loads(line) for line in (tmp_path / "r" / "ticks.jsonl").read_text().splitlines()]
    ticks = [line for line in lines if line["kind"] == "tick"]
    assert found["action"] == pytest.approx(ticks[17]["action"], abs=1e-6)
    assert found["actions"] == [pytest.approx(ticks[k]["action"], abs=1e-6) for k in (17, 18)]
    assert found["picture"] == [3, 48, 48] and found["pictures"] == [2, 3, 48, 48]
    assert 0 <= found["range"][0] < found["range"][1] <= 1
