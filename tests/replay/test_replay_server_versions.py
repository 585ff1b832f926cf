"""Servers with a known hole, and whether others can reach them."""

from __future__ import annotations

from typing import Any

import pytest

from replay import connect
from replay.server_versions import has_hole, notes_on_versions


@pytest.mark.parametrize(
    ("version", "hole"),
    [
        *(
            (version, True)
            for version in ("5.0.14", "6.0.20", "6.2.14", "6.2.19", "7.0.15", "7.2.10", "7.4.5", "8.2.1")
        ),
        *(
            (version, False)
            for version in ("6.2.20", "7.2.11", "7.4.6", "8.0.4", "8.2.2", "8.4.0", "9.0.0", "unstable")
        ),
    ],
)
def test_a_version_is_known_by_its_number(version: str, hole: bool) -> None:
    assert has_hole("Redis", version) is hole


def test_valkey_counts_by_itself() -> None:
    assert has_hole("Valkey", "8.0.5") and not has_hole("Valkey", "8.0.6") and not has_hole("Valkey", "9.0.0")


@pytest.mark.parametrize(("host", "told"), [("192.0.2.7", True), ("redis.example.org", True), ("127.0.0.2", False)])
def test_who_listens_where_others_reach_it_is_told_of(host: str, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Node:
        connection_pool: Any = type("Pool", (), {"connection_kwargs": {"host": host}})

        def info(self, section: str) -> dict[str, str]:
            return {"redis_version": "6.2.14"}

    monkeypatch.setattr("replay.server_versions.nodes", lambda client: {"redis://there": Node()})
    client: Any = None
    notes = notes_on_versions(client)
    assert len(notes) == told
    assert all("redis://there is Redis 6.2.14, which has a known hole (CVE-2025-49844)" in note for note in notes)


def test_a_server_of_our_own_is_on_a_socket_of_this_machine(server: Any) -> None:
    with connect(server.url) as client:
        assert notes_on_versions(client) == []
        assert client.config_get("port")["port"] == "0"
