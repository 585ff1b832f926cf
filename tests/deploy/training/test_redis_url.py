"""How a run finds its Redis server, what it refuses before anything is there, and that nobody sees the password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from redis_servers import LOOPBACK, Server, make_user, redis_server
from tls_proxy import TlsProxy

from deploy.cli import main
from deploy.errors import UserError
from deploy.settings.config import RunConfig
from deploy.settings.presets import resolve
from deploy.training.replay_address import ReplayUrls, given_url, require_one_server, require_replay
from replay import EmbeddedServer, ReplayStore, StreamSpec, connect
from replay.access import acl_rules

PASSWORD = "hunter2"
SPEC = StreamSpec(("x_m",), (0.0,), (1.0,), (4, 4, 3), views=1, action_dim=1, chunk_length=5)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TWIST_REDIS_URL", "TWIST_ACTOR_REDIS_URL", "TWIST_LEARNER_REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path / "redis", password="swordfish") as running:
        for role in ("twist", "driver", "actor", "learner"):
            make_user([running], role, PASSWORD, acl_rules(role))
        yield running


def config(url: str, mode: str = "local") -> RunConfig:
    return resolve("reach", "debug", [], mode=mode, redis_url=url)


def test_the_option_goes_before_the_environment_and_without_both_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given_url(None) is None
    monkeypatch.setenv("TWIST_REDIS_URL", f"redis://me:{PASSWORD}@there")
    assert given_url(None) == f"redis://me:{PASSWORD}@there"
    assert given_url("redis://here") == "redis://here"
    monkeypatch.setenv("TWIST_REDIS_URL", "")
    assert given_url(None) is None


@pytest.mark.parametrize("url", [f"redis://me:{PASSWORD}@host", f"unix:///s?password={PASSWORD}"])
def test_a_password_on_the_command_line_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="holds a password, which everybody .* variable TWIST_REDIS_URL$") as caught:
        given_url(url)
    assert PASSWORD not in str(caught.value)


def test_what_is_wrong_with_the_variable_is_said_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIST_REDIS_URL", f"http://:{PASSWORD}@host")
    with pytest.raises(UserError, match=r"^TWIST_REDIS_URL: Redis URL 'http://\*\*\*@host' is not valid: allowed are"):
        given_url(None)


def test_actors_and_learner_may_have_urls_of_their_own_which_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ReplayUrls.of("redis://all") == ReplayUrls("redis://all", "redis://all", "redis://all")
    monkeypatch.setenv("TWIST_ACTOR_REDIS_URL", f"redis://actor:{PASSWORD}@host")
    monkeypatch.setenv("TWIST_LEARNER_REDIS_URL", f"redis://learner:{PASSWORD}@host")
    found = ReplayUrls.of(f"redis://driver:{PASSWORD}@host")
    assert (found.actor, found.learner) == (f"redis://actor:{PASSWORD}@host", f"redis://learner:{PASSWORD}@host")
    assert ReplayUrls.embedded("unix:///s") == ReplayUrls("unix:///s", "unix:///s", "unix:///s")
    assert PASSWORD not in repr(found)
    assert PASSWORD not in repr(config(found.driver))


def test_each_role_is_tried_as_the_user_that_it_will_be(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {role: server.url(role, PASSWORD) for role in ("twist", "driver", "actor", "learner")}
    require_replay(config(urls["twist"]), None)
    require_replay(config(urls["twist"], "debug"), None)
    with pytest.raises(UserError, match="Redis user driver may not run ZADD at redis://"):
        require_replay(config(urls["driver"]), None)
    monkeypatch.setenv("TWIST_ACTOR_REDIS_URL", urls["actor"])
    monkeypatch.setenv("TWIST_LEARNER_REDIS_URL", urls["learner"])
    require_replay(config(urls["driver"]), None)
    with pytest.raises(UserError, match="Redis user driver may not run "):  # which does everything in one process
        require_replay(config(urls["driver"], "debug"), None)
    monkeypatch.setenv("TWIST_ACTOR_REDIS_URL", urls["learner"])
    with pytest.raises(UserError, match="Redis user learner may not run ZADD at redis://"):
        require_replay(config(urls["driver"]), None)


def test_a_role_that_is_led_to_another_server_is_refused(server: Server, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "other", max_bytes=2**32) as other, connect(server.url()) as client:
        replay = config(server.url()).replay
        ReplayStore(client, "run", SPEC, replay)
        driver, actor, learner = (server.url(role, PASSWORD) for role in ("driver", "actor", "learner"))
        require_one_server(ReplayUrls(driver, actor, learner), "run")
        for elsewhere in (other.url, server.url(database=1)):
            with pytest.raises(UserError, match="^TWIST_LEARNER_REDIS_URL is .*: that is another server, or another "):
                require_one_server(ReplayUrls(driver, actor, elsewhere), "run")


@pytest.mark.parametrize(
    ("settings", "user", "password", "message"),
    [
        ({}, "twist", "letmein", "refuses user or password of the URL"),
        ({}, "actor", PASSWORD, "Redis user actor may not run "),
        ({"maxmemory-policy": "allkeys-lru"}, "twist", PASSWORD, "is allkeys-lru: it would delete chunks; use noev"),
        ({"maxmemory": "100mb"}, "twist", PASSWORD, "capacity_bytes is 1073741824, which needs a "),
    ],
    ids=["wrong password", "too few rights", "would delete chunks", "too small"],
)
def test_a_server_that_cannot_be_used_is_refused_before_anything_is_there(
    settings: dict[str, str],
    user: str,
    password: str,
    message: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with server.admin as admin:
        for name, value in settings.items():
            admin.config_set(name, value)
    monkeypatch.setenv("TWIST_REDIS_URL", server.url(user, password))
    run = tmp_path / "run"
    assert main(["train", "reach", "--mode", "debug", "--preset", "debug", "--run-dir", str(run)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert message in shown.err
    assert password not in shown.err
    assert not run.exists()
    with server.admin as admin:
        assert admin.dbsize() == 0


def test_redis_users_are_printed_as_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redis-users"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["ACL", "SETUSER", name] for name in ("twist", "twist-actor", "twist-learner", "twist-driver", "twist-deleter")
    ]
    assert all(" ~twist:* " in line and "@all" not in line for line in lines)


def test_an_expired_certificate_is_refused_before_anything_is_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(tmp_path / "certificates")
    run = tmp_path / "run"
    with TlsProxy(authority.issue("server", expired=True)) as proxy:
        proxy.lead_to(server.port)
        url = f"rediss://twist:{PASSWORD}@{LOOPBACK}:{proxy.port}?ssl_ca_certs={authority.file}"
        monkeypatch.setenv("TWIST_REDIS_URL", url)
        assert main(["train", "reach", "--mode", "debug", "--preset", "debug", "--run-dir", str(run)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert "certificate has expired" in shown.err
    assert PASSWORD not in shown.err
    assert not run.exists()
