"""What settings of different packages must be together: refused by every command before there is anything of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.cli import main
from deploy.errors import UserError
from deploy.settings.config import RunConfig
from deploy.settings.overrides import from_dict, to_dict
from deploy.settings.presets import resolve
from deploy.training.preconditions import memory_here, needs, require_memory

GIB = 2**30

IMPOSSIBLE = [
    (["sim.image_size=40"], "sim.image_size is 40: it must be a multiple of 16"),
    (["learner.student.channels=8,8,8,8,8"], "sim.image_size is 48: it must be a multiple of 32"),
    (["sim.views=0"], "sim.views is 0: it must be at least 1"),
    (["learner.sequence_length=18"], "learner.sequence_length is 18: allowed are 0 to replay.chunk_length, 17"),
    (["replay.capacity_steps=100"], "training.prefill_rows is 150: allowed are 1 to replay.capacity_steps, 100"),
    (["training.prefill_rows=601"], "training.prefill_rows is 601: allowed are 1 to training.env_steps, 600"),
    (
        ["replay.capacity_steps=200", "replay.shards=16"],
        "replay.capacity_steps is 200: each of the replay.shards=16 has to hold a chunk, so it must be at least 272",
    ),
    (
        ["replay.capacity_steps=160", "learner.batch_size=10"],
        "replay.capacity_steps is 160: a batch of learner.batch_size=10 chunks",
    ),
    (
        ["replay.capacity_steps=160", "learner.student.batch_size=10"],
        "replay.capacity_steps is 160: a batch of learner.student.batch_size=10 chunks",
    ),
    (["replay.capacity_bytes=100000"], "replay.capacity_bytes is 100000: each of the replay.shards=1 has to hold"),
    (["actors.state_only_envs=2"], "actors.state_only_envs is 2: it must be below actors.envs_per_actor, 2"),
    (
        ["training.export=true", "learner.method=twist_paper"],
        "training.export is true: learner.method=twist_paper has no bundles, twist has",
    ),
    (
        ["training.export=true", "learner.student.readout_scale=0"],
        "training.export is true: learner.student.readout_scale must be above 0",
    ),
    (
        ["actors.envs_per_actor=24", "actors.max_memory_mb=300"],
        "actors.max_memory_mb is 300: an actor with actors.envs_per_actor=24 would be replaced again and again",
    ),
    (
        ["training.student_begins=after_teacher", "learner.teacher_samples_per_insert=0"],
        "learner.teacher_samples_per_insert is 0: it must be above 0",
    ),
    (["actors.resource=robot"], "actors.resource is robot: only nodes of a cluster have such a resource"),
    (["learner.resource=learner"], "learner.resource is learner: only nodes of a cluster have such a resource"),
    (["actors.num_cpus=1000"], "actors.num_cpus is 1000: 1 actors would reserve 1000 CPUs, here are "),
    (["learner.student.frame_pool=10000000", "sim.image_size=512"], "GiB of memory, here are "),
]


@pytest.mark.parametrize(
    ("settings", "said"), IMPOSSIBLE, ids=lambda value: value[0] if isinstance(value, list) else ""
)
def test_what_could_not_be_run_is_refused_in_one_line_and_leaves_no_directory(
    settings: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "reach", "--preset", "debug", "--run-dir", str(tmp_path / "run"), *settings]) == 2
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert said in shown.err
    assert not any(tmp_path.iterdir())


def test_a_run_that_an_earlier_version_began_so_can_still_be_read() -> None:
    written = to_dict(resolve("reach", None, []))
    written["learner"]["sequence_length"] = 100
    assert from_dict(RunConfig, written).learner.sequence_length == 100
    written["sim"]["image_size"] = 40
    with pytest.raises(ValueError, match="sim.image_size is 40"):
        from_dict(RunConfig, written)


def test_memory_is_counted_by_the_settings_that_ask_for_it() -> None:
    config = resolve("push", None, ["replay.capacity_bytes=4294967296", "replay.capacity_steps=10000000"])
    here = needs(config, on_gpu=False)
    assert here["replay.capacity_bytes"] == config.replay.memory_bytes > 5 * GIB
    assert here["learner.student.frame_pool"] == 6_144 * 64 * 64 * 3
    assert here["learner.student.batch_size"] == 4 * 4 * 61 * 64 * 64 * 3
    assert here["actors.envs_per_actor"] == (200 + 24 * 20) * 2**20
    assert 2**24 < here["learner.rssm"] < 2**26
    assert {*here} - {*needs(config, on_gpu=True)} == {"learner.rssm", "learner.student.frame_pool"}
    given = resolve("push", None, [], redis_url="redis://127.0.0.1:6380")
    assert "replay.capacity_bytes" not in needs(given, on_gpu=False)


def test_a_method_that_looks_at_no_image_needs_no_memory_for_images() -> None:
    settings = ["replay.capacity_bytes=4294967296", "replay.capacity_steps=10000000", "learner.method=oracle"]
    needed = needs(resolve("push", None, [*settings, "actors.state_only_envs=24"]), on_gpu=False)
    assert needed["learner.student.frame_pool"] == 0
    assert needed["replay.capacity_bytes"] == 2**27
    assert "learner.batch_size" not in needed


def test_frames_that_nothing_is_read_off_are_not_counted() -> None:
    config = resolve("push", None, ["learner.student.readout_scale=0", "learner.student.encoder_share=1"])
    assert needs(config, on_gpu=False)["learner.student.frame_pool"] == 0


def test_the_setting_that_takes_most_is_named_first() -> None:
    require_memory({"a": GIB, "b": 2 * GIB}, 3 * GIB)
    with pytest.raises(
        UserError, match=r"^this run needs at least 3\.0 GiB of memory, here are 2\.9: b takes 2\.0, a "
    ):
        require_memory({"a": GIB, "b": 2 * GIB, "c": 1}, int(2.9 * GIB))
    assert GIB // 4 < memory_here() < 2**50
