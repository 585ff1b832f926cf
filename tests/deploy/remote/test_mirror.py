"""A run directory on remote storage: driven here, mirrored there, continued and read on another machine.

A machine is a cache directory of its own. Storage is file:// here; tests/test_remote_runs.py has whole runs on S3.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import main
from deploy.errors import RunEndedError, UserError
from deploy.remote import mirror as mirror_module
from deploy.remote.driver import FILE, STALE_SECONDS
from deploy.remote.mirror import Mirror, mirrored
from deploy.remote.run import local_run
from deploy.remote.storage import Storage, StorageError
from deploy.runs.checkpoints import Checkpoints
from deploy.runs.directory import RunDirectory, check_claimable
from deploy.runs.snapshots import Snapshots
from deploy.settings.presets import resolve

REACH = resolve("reach", "debug", [])


@dataclass
class Driven:
    """A run under way, without the training."""

    mirror: Mirror
    run: RunDirectory
    events: list[tuple[str, dict[str, Any]]]

    def checkpoint(self, step: int, weights: bytes) -> None:
        """What `deploy.training.train` does at each."""
        with self.run.metrics.open("a") as file:
            print(json.dumps({"time": 0.0, "step": step, "kind": "train"}), file=file)
        document = {"metrics_offset": self.run.metrics.stat().st_size}
        self.run.checkpoints.save(step, document, lambda path: _write(path / "weights", weights), keep=2)
        self.mirror.send(lambda name, **values: self.events.append((name, values)))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@contextmanager
def driven(url: str) -> Iterator[Driven]:
    with ExitStack() as stack:
        mirror = stack.enter_context(mirrored(url, lambda line: None))
        check_claimable(mirror.directory, REACH)
        run = stack.enter_context(RunDirectory.claim(mirror.directory, REACH))
        stack.enter_context(mirror.driven())
        yield Driven(mirror, run, [])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Goes to another machine, as far as files go."""
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.01)

    def go_to(name: str) -> None:
        monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "caches" / name))

    go_to("first")
    return go_to


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "remote" / "push"


@pytest.fixture
def url(there: Path, machine: Callable[[str], None]) -> str:
    return f"file://{there}"


def names(there: Path) -> set[str]:
    return {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}


def entry(**values: Any) -> str:
    """driver.json of somebody on another machine, heard of just now."""
    found = {"id": "theirs", "host": "elsewhere", "boot": "x", "pid": 1, "time": time.time(), "released": False}
    return json.dumps(found | values)


def weights_at(url: str) -> bytes:
    """Of the newest checkpoint, as somebody reads it who is elsewhere."""
    with local_run(url) as path:
        return (RunDirectory.open(Path(path)).newest_checkpoint().path / "weights").read_bytes()


class Watched:
    """Notes what is written, and breaks where it is told to; passes are made when a test asks for one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Mirror, "_send_when_wanted", lambda self: None)
        self.written: list[str] = []
        self.breaks_after: int | None = None
        for method in ("put", "write", "remove"):
            monkeypatch.setattr(Storage, method, self._watching(getattr(Storage, method)))

    def _watching(self, method: Callable[..., None]) -> Callable[..., None]:
        def watching(storage: Storage, *arguments: Any) -> None:
            name = arguments[1] if isinstance(arguments[0], Path) else arguments[0]
            if name == FILE:
                return method(storage, *arguments)
            if self.breaks_after is not None and len(self.written) >= self.breaks_after:
                raise StorageError(storage.url, "it is away")
            self.written.append(f"{method.__name__} {name}")
            return method(storage, *arguments)

        return watching


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_all_of_a_run_is_there_but_for_replay_lock_and_what_is_being_written(url: str, there: Path) -> None:
    with driven(url) as driver:
        for name in ("replay/appendonly.aof", "clips/teacher.gif", ".metrics.jsonl.rewound", "snapshots/.writing-x/w"):
            (driver.run.path / name).parent.mkdir(parents=True, exist_ok=True)
            (driver.run.path / name).write_text("x")
        driver.checkpoint(100, b"weights")
        driver.mirror.finish()
    assert names(there) == {
        *("config.json", "metrics.jsonl", "clips/teacher.gif", FILE),
        *("checkpoints/latest", "checkpoints/step_000000100/weights", "checkpoints/step_000000100/checkpoint.json"),
    }
    assert Checkpoints(there / "checkpoints").latest() is not None
    assert RunDirectory.open(there).run_id == driver.run.run_id


def test_checkpoint_then_metrics_then_latest_then_what_is_pruned(url: str, there: Path, watched: Watched) -> None:
    with driven(url) as driver:
        for step in (100, 200):
            driver.checkpoint(step, b"weights")
            driver.mirror.finish()
        watched.written.clear()
        driver.checkpoint(300, b"weights")
        driver.mirror.finish()
        written = list(watched.written)
    assert written[:5] == [
        "put checkpoints/step_000000300/weights",
        "put checkpoints/step_000000300/checkpoint.json",
        "put metrics.jsonl",
        "write checkpoints/latest",
        "remove checkpoints/step_000000100",
    ]
    assert {path.name for path in (there / "checkpoints").iterdir()} == {
        "step_000000200",
        "step_000000300",
        "latest",
    }


def test_what_has_not_changed_is_not_sent_again(url: str, watched: Watched, machine: Callable[[str], None]) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"weights")
        driver.mirror.finish()
    watched.written.clear()
    with driven(url) as driver:
        driver.mirror.finish()
    assert set(watched.written) == {"put config.json", "write checkpoints/latest"}
    watched.written.clear()
    machine("second")
    with driven(url) as driver:
        driver.mirror.finish()
    assert set(watched.written) == {"put config.json", "write checkpoints/latest"}


@pytest.mark.parametrize("step", [100, 200], ids=["same step", "next step"])
def test_wherever_an_upload_breaks_a_reader_finds_a_whole_checkpoint(
    step: int, url: str, watched: Watched, machine: Callable[[str], None]
) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
        seen = set()
        for number in range(1, 30):
            weights = b"%d" % number
            before = weights_at(url)
            driver.checkpoint(step, weights)
            watched.written.clear()
            watched.breaks_after = number % 6
            driver.mirror._pass()
            if number % 2:
                machine(f"reader {number}")
            found = weights_at(url)
            with local_run(url) as path:
                offset = RunDirectory.open(Path(path)).newest_checkpoint().document["metrics_offset"]
                assert (Path(path) / "metrics.jsonl").stat().st_size >= offset
            assert found in (before, weights)
            seen.add((len(watched.written), found == weights))
            watched.breaks_after = None
    # The last thing written is `latest`, but for what is removed: nothing else makes a reader take the new one.
    assert {(0, False), (1, False), (2, False), (3, False), (4, True), (5, True)} == seen


def test_a_checkpoint_that_is_pruned_while_it_is_taken_is_not_sent_in_part(
    url: str, there: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, later = os.link, iter([200])
    with driven(url) as driver:
        checkpoints = driver.run.checkpoints

        def link_once_a_newer_one_has_come(source: str, target: str) -> None:
            for step in later:
                checkpoints.save(step, {}, lambda path: _write(path / "weights", b"second"), keep=1)
            if os.path.exists(source):
                link(source, target)

        checkpoints.save(100, {}, lambda path: _write(path / "weights", b"first"))
        monkeypatch.setattr(os, "link", link_once_a_newer_one_has_come)
        driver.mirror.finish()
    assert (there / "checkpoints" / "latest").read_text() == "step_000000200\n"
    assert {path.name for path in (there / "checkpoints").iterdir()} == {"latest", "step_000000200"}
    assert weights_at(url) == b"second"


def test_storage_that_is_away_is_written_down_and_made_good(url: str, there: Path, watched: Watched) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
        watched.breaks_after = 0
        driver.checkpoint(200, b"second")
        assert driver.mirror._pass() is not None
        driver.checkpoint(300, b"third")
        assert {name for name, _ in driver.events} == {"mirror_failed"}
        assert driver.events[0][1] == {"reason": f"{url}: it is away"}
        assert (there / "checkpoints" / "latest").read_text() == "step_000000100\n"
        watched.breaks_after = None
        driver.mirror.finish()
    assert weights_at(url) == b"third"


def test_an_end_that_does_not_get_there_is_an_error_and_sent_by_the_next_start(
    url: str, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "FINISH_SECONDS", 0.05)
    lost = pytest.raises(RunEndedError, match="the last upload failed: file://.*: it is away; everything is in")
    with lost, driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
        watched.breaks_after = 0
        driver.checkpoint(200, b"second")
        driver.mirror.finish()
    assert weights_at(url) == b"first"
    watched.breaks_after = None
    with driven(url) as driver:
        assert driver.run.newest_checkpoint().step == 200
        driver.mirror.finish()
    assert weights_at(url) == b"second"


def test_another_machine_goes_on_and_the_first_one_follows(url: str, machine: Callable[[str], None]) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
        run_id, old = driver.run.run_id, driver.run.path
        (old / "replay").mkdir()
    machine("second")
    with driven(url) as driver:
        assert driver.run.path != old
        assert (driver.run.resumed, driver.run.run_id) == (True, run_id)
        assert driver.run.newest_checkpoint().step == 100
        assert driver.run.metrics.read_bytes() == (old / "metrics.jsonl").read_bytes()
        driver.checkpoint(200, b"second")
        driver.mirror.finish()
    machine("first")
    with driven(url) as driver:
        assert driver.run.path == old
        assert driver.run.newest_checkpoint().step == 200
        assert (old.parent / "replaced" / "replay").is_dir()
        assert not (old / "replay").exists()


def test_the_same_machine_goes_on_where_it_was_with_its_replay(url: str) -> None:
    with driven(url) as driver:
        (driver.run.path / "replay").mkdir()
        driver.checkpoint(100, b"first")
    with driven(url) as driver:
        assert (driver.run.path / "replay").is_dir()


def test_half_a_checkpoint_that_a_dead_driver_left_is_not_taken_and_goes(
    url: str, there: Path, machine: Callable[[str], None]
) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
    (there / "checkpoints" / "step_000000200").mkdir()
    (there / "checkpoints" / "step_000000200" / "weights").write_text("ha")
    machine("second")
    with driven(url) as driver:
        assert driver.run.checkpoints.names() == ["step_000000100"]
        driver.mirror.finish()
    assert not (there / "checkpoints" / "step_000000200").exists()


def test_a_run_that_was_deleted_there_begins_anew(url: str, there: Path) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
        run_id = driver.run.run_id
    there.rename(there.with_name("gone"))
    with driven(url) as driver:
        assert not driver.run.resumed
        assert driver.run.run_id != run_id


def test_a_driver_elsewhere_is_not_disturbed(url: str, there: Path) -> None:
    there.mkdir(parents=True)
    (there / FILE).write_text(entry(time=time.time() - 30))
    expected = f"run directory {url}: is being driven by process 1 on elsewhere, heard of 3. s ago; one not heard of"
    with pytest.raises(UserError, match=expected), driven(url):
        pass
    assert names(there) == {FILE}


def test_a_driver_of_this_machine_is_not_disturbed(url: str, there: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    there.mkdir(parents=True)
    (there / FILE).write_text(entry(host=socket.gethostname(), boot=boot, pid=os.getppid()))
    with pytest.raises(UserError, match=f"is being driven by process {os.getppid()} on"), driven(url):
        pass


def test_nor_is_one_with_the_same_cache(url: str) -> None:
    with driven(url), pytest.raises(UserError, match=f"run directory {url}: is being driven by process "), driven(url):
        pass


@pytest.mark.parametrize(
    "values",
    [
        {"time": 0.0},
        {"released": True},
        {"host": socket.gethostname(), "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()},
    ],
    ids=["silent", "released", "dead"],
)
def test_a_driver_that_is_no_more_is_replaced(values: dict[str, Any], url: str, there: Path) -> None:
    there.mkdir(parents=True)
    found = entry(**{"pid": 2**22 + 1, **values})
    (there / FILE).write_text(found)
    with driven(url):
        ours = json.loads((there / FILE).read_text())
        assert ours["id"] != "theirs"
        assert (ours["pid"], ours["released"]) == (os.getpid(), False)
        assert abs(ours["time"] - time.time()) < STALE_SECONDS
    assert json.loads((there / FILE).read_text())["released"]


def test_who_has_been_replaced_ends_and_touches_nothing_any_more(url: str, there: Path, watched: Watched) -> None:
    taken = pytest.raises(RunEndedError, match="another driver has taken the run over: process 1 on elsewhere")
    with taken, driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
        (there / FILE).write_text(entry())
        driver.checkpoint(200, b"second")
        driver.mirror.finish()
    assert (there / "checkpoints" / "latest").read_text() == "step_000000100\n"
    assert json.loads((there / FILE).read_text())["id"] == "theirs"


def test_signs_of_life_are_given_while_nothing_is_sent(url: str, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "HEARTBEAT_SECONDS", 0.01)
    with driven(url) as driver:
        driver.mirror.finish()
        first = json.loads((there / FILE).read_text())["time"]
        while json.loads((there / FILE).read_text())["time"] == first:
            time.sleep(0.01)


def test_what_is_no_run_is_refused_and_left_alone(url: str, there: Path) -> None:
    there.mkdir(parents=True)
    (there / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match=f"{url}: holds thesis.txt and no config.json, so it is not a run"), driven(url):
        pass
    assert names(there) == {"thesis.txt"}
    with pytest.raises(UserError, match=f"{url}: holds thesis.txt and no config.json"), local_run(url):
        pass


def test_other_settings_are_refused_by_the_url(url: str) -> None:
    with driven(url) as driver:
        driver.mirror.finish()
    refused = pytest.raises(UserError, match=f"run directory {url}: is a run with seed = 0, not 1")
    with refused, mirrored(url, lambda line: None) as mirror:
        check_claimable(mirror.directory, resolve("reach", "debug", [], seed=1))


def test_a_reader_fetches_what_has_changed_and_what_it_needs(
    url: str, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    get = Storage.get
    monkeypatch.setattr(Storage, "get", lambda self, name, target: fetched.append(name) or get(self, name, target))
    with driven(url) as driver:
        snapshot = "snapshots/s/weights", "snapshots/s/checkpoint.json"
        for name in ("tensorboard/events", "logs/driver.log", "episodes", *snapshot):
            (driver.run.path / name).parent.mkdir(parents=True, exist_ok=True)
            (driver.run.path / name).write_text("x")
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
        assert weights_at(url) == b"first"
        newest = {"checkpoints/step_000000100/weights", "checkpoints/step_000000100/checkpoint.json"}
        assert set(fetched) == {"config.json", "metrics.jsonl", *newest}
        fetched.clear()
        assert weights_at(url) == b"first"
        assert fetched == []
        driver.checkpoint(200, b"second")
        driver.mirror.finish()
        with local_run(url, snapshots=True) as path:
            assert Checkpoints(Path(path) / "checkpoints").names() == ["step_000000200"]
        assert {name.partition("/")[0] for name in fetched} == {"checkpoints", "metrics.jsonl", "snapshots"}
        fetched.clear()
        with local_run(url, episodes=True) as path:
            assert (Path(path) / "episodes").read_text() == "x"
        assert fetched == ["episodes"]
    assert Snapshots(there / "snapshots").directory.is_dir()


def test_what_a_command_writes_goes_back_and_is_seen_by_the_next(
    url: str, there: Path, machine: Callable[[str], None]
) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
    before = names(there)
    with local_run(url) as path:
        (Path(path) / "learning_curve.csv").write_text("one line\n")
    assert names(there) == before | {"learning_curve.csv"}
    machine("second")
    with local_run(url) as path:
        assert (Path(path) / "learning_curve.csv").read_text() == "one line\n"
    (there / "learning_curve.csv").unlink()
    with local_run(url) as path:
        assert not (Path(path) / "learning_curve.csv").exists()


def test_a_reader_is_told_by_the_url(url: str, there: Path) -> None:
    with pytest.raises(UserError, match=f"^run directory {url}: is not there$"), local_run(url):
        pass
    with driven(url) as driver:
        driver.mirror.finish()
    with pytest.raises(UserError, match=f"^run directory {url}: has no checkpoint yet"), local_run(url) as path:
        RunDirectory.open(Path(path)).newest_checkpoint()


def test_a_path_is_left_as_it_is(tmp_path: Path) -> None:
    for name in ("pretrained/reach", str(tmp_path)):
        with local_run(name) as found:
            assert found == name


def test_status_of_a_url_tells_by_its_signs_of_life_whether_the_run_is_driven(
    url: str, there: Path, machine: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
    machine("second")
    assert main(["status", url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["driver"]) == ("stopped", f"process {os.getpid()} on {socket.gethostname()}")
    assert found["checkpoint"]["name"] == "step_000000100"
    for said, state in (
        (None, "stopped"),
        (entry(), "running"),
        (entry(time=time.time() - STALE_SECONDS - 1.0), "stopped"),
        ("{}", "elsewhere"),
    ):
        if said is not None:
            (there / FILE).write_text(said)
        assert main(["status", url, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["state"] == state
    assert main(["status", url]) == 0
    assert "reach" in capsys.readouterr().out


def test_a_storage_that_cannot_be_written_is_told_before_the_work(
    url: str, watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    with driven(url) as driver:
        driver.checkpoint(100, b"first")
        driver.mirror.finish()
    watched.breaks_after = len(watched.written)
    for command in ("curve", "factors"):
        assert main([command, url]) == 2
        assert capsys.readouterr().err == f"twist: run directory {url}: it is away\n"
