"""Whole runs whose directory is on S3, here a server on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Running, lines, of_kind
from s3_server import BUCKET, S3Server, s3_server
from training_here import SMALLEST, train_here

from deploy.cli import main
from deploy.remote.mirror import Mirror
from deploy.remote.storage import Storage
from deploy.settings.overrides import parse_assignments


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def driven_in(cache: Path) -> Path:
    (run,) = cache.glob("remote-runs/driven/*/run")
    return run


def test_a_run_is_trained_to_s3_and_evaluated_from_there(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"s3://{BUCKET}/{tmp_path.name}/reach"
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "head"))
    train_here(url, ["training.checkpoint_every_updates=1", "training.snapshot_every_updates=2"])
    assert f"all of it: {url}" in capsys.readouterr().out
    there = Storage(url).list()
    assert {"config.json", "report.json", "metrics.jsonl", "checkpoints/latest", "driver.json"} <= there.keys()
    assert not [name for name in there if name.startswith(("replay", "lock"))]
    trained = driven_in(tmp_path / "head")
    assert Storage(url).read("metrics.jsonl") == (trained / "metrics.jsonl").read_bytes()
    latest = (trained / "checkpoints" / "latest").read_text().strip()
    sent = {name.split("/")[1] for name in there if name.startswith("checkpoints/step")}
    assert latest in sent  # those before it only as far as there was time to send them
    assert sent <= {path.name for path in (trained / "checkpoints").iterdir()}
    assert not (tmp_path / "head" / "remote-runs" / "read").exists()

    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "laptop"))
    assert main(["eval", url, "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert main(["pack", url, str(tmp_path / "packed")]) == 0
    assert (tmp_path / "packed" / "weights.safetensors").is_file()
    assert main(["compare", url]) == 2
    assert "compare needs --out where a run is a URL" in capsys.readouterr().err
    assert main(["compare", url, "--out", str(tmp_path / "compared")]) == 0
    assert "reach" in (tmp_path / "compared" / "compare.md").read_text()
    assert main(["curve", url, "--episodes", "1", "--policies", "teacher"]) == 0
    assert Storage(url).read("learning_curve.csv")


def test_a_run_that_is_killed_goes_on_on_another_machine(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"s3://{BUCKET}/{tmp_path.name}/reach"
    there = Storage(url)
    settings = ["training.checkpoint_every_updates=1", "training.env_steps=240"]
    given = [f"{key}={value}" for key, value in (parse_assignments(SMALLEST) | parse_assignments(settings)).items()]
    command = ("train", "reach", "--mode", "debug", "--preset", "debug", *given, "--run-dir", url)
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "first"))
    with Running(tmp_path / "log", *command) as running:
        running.wait_until(lambda: there.read("checkpoints/latest") is not None)
        running.kill()
    run_id = json.loads(there.read("config.json") or b"")["run_id"]
    latest = (there.read("checkpoints/latest") or b"").decode().strip()
    step = json.loads(there.read(f"checkpoints/{latest}/checkpoint.json") or b"")["step"]
    assert not json.loads(there.read("driver.json") or b"")["released"]

    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "second"))
    train_here(url, settings)
    said = capsys.readouterr().out
    run = driven_in(tmp_path / "second")
    assert f"{url}: driven in {run}" in said
    assert there.read("metrics.jsonl") == (run / "metrics.jsonl").read_bytes()
    rows = lines(run)
    (resumed,) = [row for row in of_kind("event", rows) if row["event"] == "resumed"]
    assert resumed["step"] == step
    assert resumed["lost_env_steps"] == step  # the embedded Redis's files were on the first machine
    trained = of_kind("train", rows)
    for counter in ("step", "teacher/updates", "student/updates", "run/wall_seconds"):
        counts = [row[counter] for row in trained]
        assert counts == sorted(counts)
    assert trained[-1]["step"] >= 240
    report = json.loads(there.read("report.json") or b"")
    assert (report["run_id"], report["resumed"]) == (run_id, 1)
    assert json.loads(there.read("driver.json") or b"")["released"]


def test_storage_that_goes_away_and_comes_back_does_not_disturb_a_run(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{BUCKET}/{tmp_path.name}/reach"
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "cache"))
    steps = []
    send = Mirror.send

    def send_to_storage_that_is_away(mirror: Mirror, event: Callable[..., None]) -> None:
        steps.append(driven_in(tmp_path / "cache"))
        if len(steps) == 2:
            server.stop()
        send(mirror, event)
        if len(steps) == 2:
            while not mirror._failures:
                time.sleep(0.01)
        if len(steps) == 3:
            server.start_again()

    monkeypatch.setattr(Mirror, "send", send_to_storage_that_is_away)
    train_here(url, ["training.checkpoint_every_updates=1"])
    assert len(steps) > 3
    run = driven_in(tmp_path / "cache")
    failed = [row for row in of_kind("event", lines(run)) if row["event"] == "mirror_failed"]
    assert failed
    assert all(row["reason"].startswith(f"{url}: ") for row in failed)
    there = Storage(url)
    assert there.read("metrics.jsonl") == (run / "metrics.jsonl").read_bytes()
    assert there.read("checkpoints/latest") == (run / "checkpoints" / "latest").read_bytes()
    assert there.read("report.json") == (run / "report.json").read_bytes()
