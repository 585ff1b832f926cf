"""Each role does its own work as a user who may do nothing else, on a server that asks for passwords."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from chunk_making import RUN, SPEC, make_chunk
from redis_servers import Server, make_user, redis_cluster, redis_server

from replay import ReplayConfig, ReplayStore, SamplesPerInsert, StreamWriter, StudentSampler, TeacherSampler, connect
from replay.access import (
    CONNECTING,
    DELETER,
    IN_A_CLUSTER,
    ROLES,
    acl_rules,
    commands,
    require_rights,
    setuser_commands,
)
from replay.connection import Client
from replay.episodes import read_episodes
from replay.holdings import delete_run
from replay.limiter import LimiterPlan, read_balances
from replay.suitability import require_suitable

ADMIN = "swordfish"
SECRET = "hunter2/#@"
CONFIG = ReplayConfig(capacity_steps=40, shards=2)
PLAN = LimiterPlan("student", samples_per_insert=1.0, min_rows=0)
ALL = [*ROLES, "twist"]
AT_WORK = [role for role in ROLES if role != DELETER]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis_server(tmp_path_factory.mktemp("server"), password=ADMIN) as running:
        for role in ALL:
            make_user([running], role, SECRET, acl_rules(role))
        yield running


@pytest.fixture(autouse=True)
def empty(server: Server) -> None:
    with server.admin as admin:
        admin.flushall()


def drive(client: Client) -> None:
    store = ReplayStore(client, RUN, SPEC, CONFIG)
    assert store.stats()["inserted_rows"] >= 0
    assert read_balances(store, [PLAN]) is not None
    assert store.quarantined() is not None
    store.mark()
    assert ReplayStore.is_begun(client, RUN)
    read_episodes(store)
    assert store.stats()["quarantined_chunks"] == 1


def act(client: Client) -> None:
    store = ReplayStore(client, RUN, SPEC, CONFIG)
    incarnation = store.claim_incarnation("a")
    StreamWriter(store, SPEC, run_id=RUN, stream_id=f"a.{incarnation}.9", actor_id="a")
    for stream in range(4):
        for number in range(4):
            store.put(make_chunk(5 * number, stream_id=f"a.{incarnation}.{stream}"))


def learn(client: Client) -> None:
    store = ReplayStore(client, RUN, SPEC, CONFIG)
    limiter = SamplesPerInsert(store, PLAN, None)
    assert limiter.may_sample()
    for kind in (TeacherSampler, StudentSampler):
        limiter.record_sampled(int(kind(store, 4, seed=0, prefetch=0).sample(timeout_s=5)["valid"].sum()))
    store.read_states(store.state_ids())
    assert store.stats()["quarantined_chunks"] == 1


def delete(client: Client) -> None:
    assert delete_run(client, RUN) > 0


WORK: dict[str, Callable[[Client], None]] = {"driver": drive, "actor": act, "learner": learn, "deleter": delete}


def prepare(admin: Client) -> None:
    """What a learner finds: chunks of actors, one of them damaged."""
    act(admin)
    store = ReplayStore(admin, RUN, SPEC, CONFIG)
    assert store.stats()["evicted_chunks"] > 0
    store.put(make_chunk(0, stream_id="b.0.0"))
    for shard in range(CONFIG.shards):
        if admin.hexists(store.key("states", shard), "b.0.0:0"):
            admin.hset(store.key("states", shard), "b.0.0:0", b"damage")


@pytest.mark.parametrize(("role", "user"), [(role, role) for role in ROLES] + [(role, "twist") for role in AT_WORK])
def test_a_role_can_do_its_work(server: Server, role: str, user: str) -> None:
    with connect(server.url()) as admin:
        prepare(admin)
    with connect(server.url(user, SECRET)) as client:
        require_suitable(client, CONFIG, [role])
        WORK[role](client)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_no_right_that_its_work_does_not_need(server: Server, role: str) -> None:
    if role in ("driver", "learner", DELETER):
        with connect(server.url()) as admin:
            prepare(admin)
    with server.admin as admin:
        admin.config_resetstat()
        with connect(server.url(role, SECRET)) as client:
            WORK[role](client)
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    used -= {"config|resetstat", "config", "auth", *CONNECTING, "script", "client", "client|setinfo"}
    used -= {"cluster", "cluster|slots"}  # what Redis 6 and Redis 7 call the question whether it is one
    assert used == set(commands(role))


FORBIDDEN = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "LIST"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("DEL", "twist:{run:0}:states"),
    ("RENAME", "twist:{run:0}:states", "twist:{run:0}:lost"),
    ("EXPIRE", "twist:{run:0}:states", "1"),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("DEBUG", "SLEEP", "0"),
    ("MONITOR",),
    ("CLIENT", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("CLUSTER", "RESET"),
    ("PUBLISH", "channel", "message"),
    ("HGET", "somebody:elses", "field"),
    ("HSET", "somebody:elses", "field", "mine"),
]


@pytest.mark.parametrize("user", ALL)
def test_nobody_can_do_anything_else(server: Server, user: str) -> None:
    with server.admin as admin, connect(server.url(user, SECRET)) as client:
        admin.hset("somebody:elses", "field", "theirs")
        for command in FORBIDDEN:
            # The second is what Redis 7 says of DEBUG to everybody, before it looks at anybody's rights.
            with pytest.raises(redis.ResponseError, match="permission|DEBUG command not allowed"):
                client.execute_command(*command)
        with pytest.raises(redis.ResponseError, match="user.* (can't|No permissions|permissions)"):
            client.eval("return redis.call('DEL', KEYS[1])", 1, "twist:{run:0}:states")
        assert admin.hgetall("somebody:elses") == {"field": "theirs"}


def test_an_actor_cannot_set_chunks_aside_and_a_learner_cannot_add_any(server: Server) -> None:
    with connect(server.url("actor", SECRET)) as actor, connect(server.url("learner", SECRET)) as learner:
        store = ReplayStore(actor, RUN, SPEC, CONFIG)
        store.put(make_chunk())
        with pytest.raises(redis.ResponseError):
            store._quarantine("a.0.0:0", "a lie", "index")
        with pytest.raises(redis.ResponseError):
            ReplayStore(learner, RUN, SPEC, CONFIG).put(make_chunk(5))
        assert ReplayStore(learner, RUN, SPEC, CONFIG).stats()["chunks"] == 1


def test_missing_rights_are_named_with_the_user_before_anything_is_written(server: Server) -> None:
    rules = [rule for rule in acl_rules("actor") if rule not in ("+zadd", "+script|load")]
    make_user([server], "partial", SECRET, rules)
    with connect(server.url("partial", SECRET)) as client:
        with pytest.raises(ValueError) as caught:
            require_rights(client, ["actor"])
        where = f"redis://127.0.0.1:{server.port}/0"
        way_out = "`twist redis-users` prints the rights that each role needs"
        assert str(caught.value) == f"Redis user partial may not run SCRIPT LOAD, ZADD at {where}: {way_out}"
        lacking = "SCRIPT LOAD, ZADD, HGETALL, ZRANGEBYSCORE, ZSCORE, LPUSH, LTRIM"
        with pytest.raises(ValueError, match=f"may not run {lacking} at"):
            require_rights(client, ["actor", "learner"])
    with server.admin as admin:
        assert admin.dbsize() == 0


def test_a_user_of_other_keys_is_refused(server: Server) -> None:
    make_user([server], "elsewhere", SECRET, [*acl_rules("twist"), "resetkeys", "~other:*"])
    with (
        connect(server.url("elsewhere", SECRET)) as client,
        pytest.raises(ValueError, match=r"^Redis user elsewhere may not touch keys twist:\* at redis://"),
    ):
        require_rights(client, ["twist"])


@pytest.mark.parametrize("role", ALL)
def test_having_all_rights_leaves_nothing_behind(server: Server, role: str) -> None:
    with connect(server.url(role, SECRET)) as client, server.admin as admin:
        require_rights(client, [role])
        assert admin.dbsize() == 0


def test_a_user_who_may_not_even_ask_for_info_can_still_work(server: Server) -> None:
    make_user(
        [server], "quiet", SECRET, [*acl_rules("twist"), "-info", *(f"-{name.split('|')[0]}" for name in IN_A_CLUSTER)]
    )
    with connect(server.url("quiet", SECRET)) as client:
        require_suitable(client, CONFIG, ["twist"])
        act(client)


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        ("twist", "wrong", "refuses user or password of the URL"),
        ("nobody", SECRET, "refuses user or password of the URL"),
        ("", "", "asks for a password: give user and password in the URL"),
    ],
)
def test_a_wrong_password_is_refused_in_one_line(server: Server, user: str, password: str, message: str) -> None:
    with pytest.raises(ConnectionError) as caught:
        connect(server.url(user, password))
    login = "***@" if user else ""
    assert str(caught.value) == f"Redis at redis://{login}127.0.0.1:{server.port}/0 {message}"


def test_the_commands_that_are_printed_make_such_users(server: Server) -> None:
    with server.admin as admin:
        for line in setuser_commands():
            admin.execute_command(*line.split())
        listed = {line.split()[1] for line in admin.acl_list()}
    assert {"twist", "twist-actor", "twist-learner", "twist-driver"} <= listed
    with connect(server.url("twist-actor", "PASSWORD")) as client:
        act(client)


def test_on_a_cluster_each_node_needs_the_user(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, password=ADMIN) as nodes:
        make_user(nodes, "twist", SECRET, acl_rules("twist"))
        with connect(nodes[1].url("twist", SECRET)) as client:
            config = ReplayConfig(capacity_steps=60, shards=3)
            assert require_suitable(client, config, ["twist"]) == []
            with connect(nodes[0].url()) as admin:
                prepare(admin)
            for role in AT_WORK:
                WORK[role](client)
        make_user(nodes[2:], "twist", SECRET, ["-hincrby", "-command"])
        with connect(nodes[0].url("twist", SECRET)) as client:
            where = f"node 127.0.0.1:{nodes[2].port} of redis://127.0.0.1:{nodes[0].port} "
            with pytest.raises(ValueError, match=f"Redis user twist may not run HINCRBY, COMMAND at {where}"):
                require_rights(client, ["twist"])
        make_user(nodes[2:], "twist", "another", ["resetpass"])
        with pytest.raises(ConnectionError, match=f"^node 127.0.0.1:{nodes[2].port} of .* refuses user or password"):
            connect(nodes[0].url("twist", SECRET))
        make_user(nodes[:1], "twist", SECRET, ["-cluster"])
        with pytest.raises(ConnectionError, match="is a cluster, and user twist may not run CLUSTER SLOTS"):
            connect(nodes[0].url("twist", SECRET))
