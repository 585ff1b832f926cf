from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chunk_making import SPEC, make_chunk

from replay import Chunk, ChunkMeta, EpisodeMeta, ReplayConfig, StreamSpec


def test_a_spec_survives_json() -> None:
    assert StreamSpec.from_json(SPEC.to_json()) == SPEC


def test_a_spec_made_from_numpy_values_equals_one_made_from_plain_numbers() -> None:
    from_box = replace(
        SPEC,
        state_low=tuple(np.array(SPEC.state_low, np.float32)),
        state_high=tuple(np.array(SPEC.state_high, np.float32)),
        image_shape=tuple(np.array(SPEC.image_shape)),
    )
    assert from_box == SPEC
    assert from_box.to_json() == SPEC.to_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state_names", ("a", "b", "c")),
        ("state_low", (-2.0, -1.0, 0.0)),
        ("state_high", (1.0, 1.0, 3.0)),
        ("image_shape", (8, 8, 3)),
        ("views", 1),
        ("action_dim", 3),
        ("chunk_length", 6),
    ],
)
def test_two_specs_that_differ_are_refused_naming_the_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"differs in {field}: .* in the other place"):
        SPEC.require_equal(replace(SPEC, **{field: value}), "the other place")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state_high": (1.0, 1.0)}, "state_high has 2 entries, state_names has 3"),
        ({"state_low": (-1.0, 1.0, 0.0)}, "'gripper_y_m'.*low < high"),
        ({"state_low": (-1.0, float("-inf"), 0.0)}, "finite"),
        ({"state_names": ("x", "x", "y")}, "none twice"),
        ({"image_shape": (0, 6, 3)}, "each at least 1"),
        ({"chunk_length": 0}, "chunk_length is 0: at least 1"),
        ({"views": -1}, "views is -1: at least 0"),
    ],
)
def test_an_impossible_spec_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **change)


def test_a_spec_of_another_schema_version_is_refused() -> None:
    with pytest.raises(ValueError, match="schema version 99: this code reads version 1"):
        StreamSpec.from_json(SPEC.to_json().replace('"schema_version": 1', '"schema_version": 99'))


def test_a_spec_with_fields_missing_or_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="stream spec has fields .*: expected are"):
        StreamSpec.from_json(SPEC.to_json().replace('"views"', '"eyes"'))


def test_a_chunk_is_named_by_its_stream_and_its_first_step() -> None:
    assert make_chunk(15, stream_id="a.2.1").meta.chunk_id == "a.2.1:15"


def test_metadata_survives_json() -> None:
    meta = make_chunk().meta
    assert ChunkMeta.from_json(meta.to_json()) == meta


@pytest.mark.parametrize("text", ["[]", "{}", '{"episodes": [{"row": 0}]}', "no JSON"])
def test_what_is_no_metadata_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ChunkMeta.from_json(text)


def test_env_steps_are_the_rows_that_an_action_led_to() -> None:
    assert make_chunk(is_first=(0, 3), is_last=(2,)).env_steps == 3


@pytest.mark.parametrize("name", ["state", "action", "reward", "is_first", "image"])
def test_a_chunk_with_an_array_of_another_shape_or_dtype_is_refused(name: str) -> None:
    chunk = make_chunk()
    array = getattr(chunk, name)
    for wrong in (array.astype(np.float64), np.stack([array, array], axis=-1)):
        with pytest.raises(ValueError, match=f"{name} of chunk a.0.0:0 is .*the stream's spec asks for"):
            replace(chunk, **{name: wrong}).check(SPEC)


def test_a_chunk_has_one_row_at_least_and_a_chunk_length_at_most() -> None:
    chunk = make_chunk()
    arrays = [field for field in Chunk.__dataclass_fields__ if field != "meta"]
    empty = replace(chunk, **{name: getattr(chunk, name)[:0] for name in arrays})
    twice = replace(chunk, **{name: np.concatenate([getattr(chunk, name)] * 2) for name in arrays})
    for rows, wrong in ((0, empty), (10, twice)):
        with pytest.raises(ValueError, match=f"has {rows} rows: 1 to 5 are allowed"):
            wrong.check(SPEC)


@pytest.mark.parametrize("name", ["", "with blank", "with}brace", "with:colon", "x" * 129])
def test_a_name_that_would_break_the_keys_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"stream_id is .*: allowed are"):
        replace(make_chunk().meta, stream_id=name)


def test_an_unknown_driver_is_refused() -> None:
    with pytest.raises(ValueError, match="driver is 'me': allowed are random, teacher, student"):
        EpisodeMeta(0, 1, "train", "me", {})


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("capacity_steps", 0, "1 to"),
        ("capacity_bytes", -5, "1 to"),
        ("shards", 0, "1 to 256"),
        ("compression_level", 20, "0 to 19"),
        ("retry_seconds", -1.0, "0.0 to"),
        ("prefetch", -1, "0 to 64"),
        ("append_fsync", "sometimes", "no, everysec, always"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_allowed(setting: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{setting} is {value!r}: allowed are {allowed}"):
        ReplayConfig(**{setting: value})  # type: ignore[arg-type]


def test_more_shards_than_capacity_are_refused() -> None:
    with pytest.raises(ValueError, match="shards is 8: each needs a share"):
        ReplayConfig(capacity_steps=7, shards=8)
