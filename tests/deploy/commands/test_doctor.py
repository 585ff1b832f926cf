"""`twist doctor` tries the real things: Redis, Ray, the renderer."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.commands import doctor
from deploy.commands.doctor import Finding, Verdict, examine, findings


def test_this_machine_has_what_training_needs() -> None:
    found = {finding.subject: finding for finding in findings()}
    assert list(found) == ["python", "packages", "machine", "disk", "gpu", "redis", "renderer", "ray"]
    assert {subject: f.text for subject, f in found.items() if f.verdict is Verdict.BROKEN} == {}
    assert "64×64 images" in found["renderer"].text


def test_what_is_broken_is_said_and_keeps_nothing_else_from_its_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> Finding:
        raise RuntimeError("no display\nfound")

    for check in ("_renderer", "_ray", "_gpu"):
        monkeypatch.setattr(doctor, check, fails if check == "_renderer" else lambda: Finding("x", Verdict.OK, "fine"))
    assert examine("redis://:secret@127.0.0.1:1/0") == 1
    shown = capsys.readouterr().out
    assert "broken  renderer  RuntimeError: no display found\n" in shown
    assert "    ok  x         fine\n" in shown
    assert "broken  server" in shown
    assert "secret" not in shown
    assert shown.endswith("not working: renderer, server\n")


def test_a_given_server_that_answers_is_fine(tmp_path: Path) -> None:
    from replay.server import EmbeddedServer

    with EmbeddedServer(tmp_path, max_bytes=2**31) as server:
        finding = doctor._given_redis(server.url)
    assert finding.verdict is Verdict.OK
    assert "answers in" in finding.text
