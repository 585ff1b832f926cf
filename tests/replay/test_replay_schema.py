from __future__ import annotations

import json
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
        ("chunk_length", 6),
        ("action_low", (-1.0, -2.0)),
        ("action_high", (1.0, 2.0)),
        ("episode_steps", 4),
    ],
)
def test_two_specs_that_differ_are_refused_naming_the_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"differs in {field}: .* in the other place"):
        SPEC.require_equal(replace(SPEC, **{field: value}), "the other place")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state_high": (1.0, 1.0)}, "state_high has 2 entries, there are 3 of state"),
        ({"state_low": (-1.0, 1.0, 0.0)}, "'gripper_y_m'.*low < high"),
        ({"state_low": (-1.0, float("-inf"), 0.0)}, "finite"),
        ({"state_names": ("x", "x", "y")}, "none twice"),
        ({"image_shape": (0, 6, 3)}, "each at least 1"),
        ({"chunk_length": 0}, "chunk_length is 0: a whole number from 1 to 1000000 is allowed"),
        ({"views": -1}, "views is -1: a whole number from 0 to 64 is allowed"),
        ({"views": True}, "views is True"),
        ({"image_shape": (4, 6, 10**6)}, "image_shape is .* at most 2048"),
        ({"action_low": (-1.0,)}, "action_low has 1 entries, there are 2 of action"),
        ({"action_high": (1.0, -1.0)}, r"bounds of action 1 are \[-1.0, -1.0\]: finite and low < high"),
        ({"action_high": (1.0, float("inf"))}, "bounds of action 1 are .*: finite"),
    ],
)
def test_an_impossible_spec_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **change)


def as_version(version: int, spec: StreamSpec = SPEC) -> dict[str, object]:
    document: dict[str, object] = {**json.loads(spec.to_json()), "schema_version": version}
    if version == 1:
        for name in ("action_low", "action_high", "episode_steps"):
            del document[name]
    return document


@pytest.mark.parametrize("version", [0, 99, None])
def test_a_spec_of_another_schema_version_is_refused(version: int) -> None:
    with pytest.raises(ValueError, match=f"not a stream spec: schema version {version}: this code reads 1 to 2"):
        StreamSpec.from_json(json.dumps(as_version(version)))


def test_a_spec_of_version_1_is_one_of_actions_between_minus_1_and_1() -> None:
    text = json.dumps(as_version(1))
    spec = StreamSpec.from_json(text)
    assert spec == SPEC
    assert (spec.action_low, spec.action_high, spec.episode_steps) == ((-1.0, -1.0), (1.0, 1.0), 0)
    with pytest.raises(ValueError, match="schema version 1: this code reads 2 to 2"):
        StreamSpec.from_json(text, oldest=2)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "7", "null", '"spec"', "[" * 100_000]
    + [
        json.dumps(as_version(2) | {name: value})
        for name in json.loads(SPEC.to_json())
        for value in (None, "x", 10**400, [[1]], {"a": 1}, [1.5, None, 3])
    ],
)
def test_what_is_no_spec_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="^not a stream spec: ") as caught:
        StreamSpec.from_json(text)
    assert "\n" not in str(caught.value)


SCALED = replace(SPEC, action_low=(-2.0, 0.0), action_high=(2.0, 0.08))


@pytest.mark.parametrize(
    ("action", "given"), [((-1, -1), (-2, 0)), ((0, 0), (0, 0.04)), ((0.5, 1), (1, 0.08)), ((-3, 3), (-2, 0.08))]
)
def test_an_action_is_scaled_to_what_the_environment_takes_and_clipped(
    action: tuple[float, float], given: tuple[float, float]
) -> None:
    scaled = SCALED.environment_action(np.array(action, np.float32), np.float64)
    np.testing.assert_allclose(scaled, given, rtol=0, atol=1e-12)
    assert scaled.dtype == np.float64


def test_an_action_for_an_environment_of_minus_1_to_1_is_the_same_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    action = rng.uniform(-1, 1, (1000, 2)).astype(np.float32) * np.float32(10) ** rng.integers(-30, 1, (1000, 2))
    action = action.astype(np.float32)
    assert SPEC.environment_action(action).tobytes() == action.tobytes()


@pytest.mark.parametrize("bounds", [(-0.1, 0.3), (1e-3, 1e3), (-1e6, 7.7)])
def test_no_action_leaves_the_environments_bounds_by_rounding(bounds: tuple[float, float]) -> None:
    low, high = (np.float32(bound) for bound in bounds)
    spec = replace(SPEC, action_low=(low, low), action_high=(high, high))
    rng = np.random.default_rng(0)
    action = np.concatenate([rng.uniform(-1, 1, (1000, 2)), [[-1, -1], [1, 1]]]).astype(np.float32)
    given = spec.environment_action(action)
    assert given.dtype == np.float32
    assert (given.min(), given.max()) == (low, high)


def test_a_spec_with_fields_missing_or_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="fields .*: expected are"):
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


@pytest.mark.parametrize("name", ["state", "action", "reward", "is_first", "image", "state_at_exposure"])
def test_a_chunk_with_an_array_of_another_shape_or_dtype_is_refused(name: str) -> None:
    chunk = make_chunk()
    array = getattr(chunk, name)
    for wrong in (array.astype(np.float64), np.stack([array, array], axis=-1)):
        with pytest.raises(ValueError, match=f"{name} of chunk a.0.0:0 is .*the stream's spec asks for"):
            replace(chunk, **{name: wrong}).check(SPEC)


@pytest.mark.parametrize("name", ["image", "state_at_exposure"])
def test_a_chunk_has_its_images_and_what_they_show_or_neither(name: str) -> None:
    with pytest.raises(ValueError, match="has only one of image and state_at_exposure: both or neither"):
        replace(make_chunk(), **{name: None}).check(SPEC)


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


def test_a_driver_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="driver is '': allowed are 1 to 128 letters"):
        EpisodeMeta(0, 1, "train", "", {})


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("capacity_steps", 0, "greater than or equal to 1"),
        ("capacity_bytes", -5, "greater than or equal to 1"),
        ("shards", 257, "less than or equal to 256"),
        ("compression_level", 20, "less than or equal to 19"),
        ("retry_seconds", -1.0, "greater than or equal to 0"),
        ("prefetch", -1, "greater than or equal to 0"),
        ("append_fsync", "sometimes", "'no', 'everysec' or 'always'"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_allowed(setting: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s){setting}.*{allowed}.*input_value={value!r}"):
        ReplayConfig(**{setting: value})  # type: ignore[arg-type]


def test_more_shards_than_capacity_are_refused() -> None:
    with pytest.raises(ValueError, match="shards is 8: each needs a share"):
        ReplayConfig(capacity_steps=7, shards=8)
