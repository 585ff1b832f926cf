from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from chunk_making import SPEC, assert_same_chunk, make_chunk

from replay import Chunk
from replay.codec import CorruptChunkError, decode_image, decode_state, encode_image, encode_state

NAME = "a.0.0:0"
HEADER_BYTES = 56


def decoded(chunk: Chunk, level: int = 1) -> Chunk:
    name = chunk.meta.chunk_id
    rows = decode_state(encode_state(chunk), SPEC, name)
    seen = decode_image(encode_image(chunk, level), SPEC, name)
    arrays = (rows.action, rows.reward, rows.is_first, rows.is_last, rows.is_terminal)
    return Chunk(rows.state, seen.image, seen.state_at_exposure, *arrays, rows.meta())


def with_new_checksum(value: bytes) -> bytes:
    """The value as a writer with a fault would have written it: well-formed, and wrong."""
    header, body = value[: HEADER_BYTES - 4], value[HEADER_BYTES:]
    return header + zlib.crc32(body, zlib.crc32(header)).to_bytes(4, "little") + body


@pytest.mark.parametrize("rows", [1, 4, 5])
@pytest.mark.parametrize("level", [0, 1, 19])
def test_a_chunk_comes_back_as_it_was(rows: int, level: int) -> None:
    chunk = make_chunk(10, rows=rows, is_first=(0, 2), is_last=(1,), policy_version=12)
    assert_same_chunk(chunk, decoded(chunk, level))
    assert decode_state(encode_state(chunk), SPEC, chunk.meta.chunk_id).policy_version == 12


def test_each_flag_comes_back_in_its_own_place() -> None:
    rows = 5
    for name in ("is_first", "is_last", "is_terminal"):
        chunk = replace(make_chunk(is_first=()), **{name: np.arange(rows) == 3})
        assert_same_chunk(chunk, decoded(chunk))


def test_frames_that_repeat_shrink() -> None:
    chunk = make_chunk()
    assert chunk.image is not None
    still = replace(chunk, image=np.repeat(chunk.image[:1], 5, axis=0))
    assert len(encode_image(still, 1)) < 0.4 * len(encode_image(chunk, 1))
    assert_same_chunk(still, decoded(still))


def test_noise_is_stored_raw_and_read_in_place_without_a_copy() -> None:
    chunk = make_chunk()
    assert chunk.image is not None
    value = encode_image(chunk, 1)
    assert len(value) == HEADER_BYTES + 5 * SPEC.state_dim * 4 + chunk.image.nbytes
    seen = decode_image(value, SPEC, NAME)
    for array in (seen.image, seen.state_at_exposure):
        assert np.shares_memory(array, np.frombuffer(value, np.uint8))
        assert array.flags.aligned and not array.flags.writeable


def test_what_the_images_show_lies_with_them_and_never_with_the_states() -> None:
    chunk = make_chunk()
    assert chunk.state_at_exposure is not None
    other = replace(chunk, state_at_exposure=chunk.state_at_exposure + 1)
    assert encode_state(other) == encode_state(chunk)
    np.testing.assert_array_equal(decoded(other).state_at_exposure, chunk.state_at_exposure + 1)


def test_states_are_read_in_place_and_cannot_be_written_to() -> None:
    value = encode_state(make_chunk())
    rows = decode_state(value, SPEC, NAME)
    for array in (rows.state, rows.action, rows.reward):
        assert np.shares_memory(array, np.frombuffer(value, np.uint8))
        assert array.flags.aligned and array.flags.c_contiguous and not array.flags.writeable


def test_a_state_value_carries_no_image() -> None:
    chunk = make_chunk()
    assert encode_state(chunk) == encode_state(replace(chunk, image=None, state_at_exposure=None))


@pytest.mark.parametrize("kind", ["state", "image"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda value: b"", "0 bytes are no header"),
        (lambda value: value[:30], "30 bytes are no header"),
        (lambda value: value[:-1], "its header says"),
        (lambda value: value + b"x", "its header says"),
        (lambda value: b"PK" + value[2:], "instead of b'TWST'"),
        (lambda value: value[:-9] + bytes([value[-9] ^ 1]) + value[-8:], "checksum"),
        (lambda value: value[:8] + bytes([value[8] ^ 1]) + value[9:], "checksum"),
        (lambda value: value[:5] + b"\x63" + value[6:], "schema version 99"),
        (lambda value: with_new_checksum(value[:4] + b"\x07" + value[5:]), "kind 7"),
        (lambda value: with_new_checksum(value[:6] + b"\x07" + value[7:]), "encoding 7"),
        (lambda value: with_new_checksum(value[:16] + b"\x00\x00\x00\x00" + value[20:]), "0 rows|images"),
        (lambda value: with_new_checksum(value[:16] + b"\xff\xff\xff\xff" + value[20:]), "4294967295"),
    ],
    ids=[
        "empty",
        "cut-header",
        "cut",
        "longer",
        "magic",
        "bit",
        "header-bit",
        "version",
        "kind",
        "encoding",
        "0",
        "max",
    ],
)
def test_damage_is_noticed_and_named(kind: str, damage: object, reason: str) -> None:
    chunk = make_chunk()
    encode, decode = (encode_state, decode_state) if kind == "state" else (lambda c: encode_image(c, 1), decode_image)
    with pytest.raises(CorruptChunkError, match=reason):
        decode(damage(encode(chunk)), SPEC, NAME)  # type: ignore[operator]


def test_every_single_bit_of_a_value_is_covered() -> None:
    value = encode_state(make_chunk())
    for place in range(len(value)):
        with pytest.raises(CorruptChunkError):
            decode_state(value[:place] + bytes([value[place] ^ 4]) + value[place + 1 :], SPEC, NAME)


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, action_dim=3, action_low=(), action_high=()),
        replace(SPEC, chunk_length=4),
        replace(SPEC, state_names=("a", "b"), state_low=(0.0, 0.0), state_high=(1.0, 1.0)),
    ],
)
def test_states_of_another_spec_are_refused(spec: object) -> None:
    with pytest.raises(CorruptChunkError, match="the spec has at most"):
        decode_state(encode_state(make_chunk()), spec, NAME)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [replace(SPEC, image_shape=(6, 4, 3)), replace(SPEC, views=1)])
def test_images_of_another_spec_are_refused(spec: object) -> None:
    with pytest.raises(CorruptChunkError, match="the spec has at most"):
        decode_image(encode_image(make_chunk(), 1), spec, NAME)  # type: ignore[arg-type]


def test_states_at_exposure_of_another_spec_are_refused() -> None:
    spec = replace(SPEC, state_names=("a", "b"), state_low=(0.0, 0.0), state_high=(1.0, 1.0))
    with pytest.raises(CorruptChunkError, match="60 bytes of states at exposure instead of 40"):
        decode_image(encode_image(make_chunk(), 1), spec, NAME)


def test_a_value_that_belongs_to_another_chunk_is_refused() -> None:
    with pytest.raises(CorruptChunkError, match=r"belongs to another chunk than a.0.0:5"):
        decode_state(encode_state(make_chunk(0)), SPEC, "a.0.0:5")


def test_numbers_that_are_not_finite_are_refused() -> None:
    chunk = make_chunk()
    chunk.state[2, 1] = np.nan
    with pytest.raises(CorruptChunkError, match="not a finite number"):
        decode_state(encode_state(chunk), SPEC, NAME)
    assert chunk.state_at_exposure is not None
    chunk.state_at_exposure[1, 0] = np.inf
    with pytest.raises(CorruptChunkError, match="a state at exposure is not a finite number"):
        decode_image(encode_image(chunk, 1), SPEC, NAME)


def test_a_compressed_frame_that_would_grow_beyond_its_images_is_refused_unopened() -> None:
    honest = encode_image(replace(make_chunk(), image=np.zeros((5, 2, 4, 6, 3), np.uint8)), 1)
    bomb = zstandard.ZstdCompressor().compress(bytes(10**7))
    shown = honest[HEADER_BYTES : HEADER_BYTES + 60]
    size = (len(shown) + len(bomb)).to_bytes(8, "little")
    forged = with_new_checksum(honest[:40] + size + honest[48:HEADER_BYTES] + shown + bomb)
    with pytest.raises(CorruptChunkError, match="a compressed frame of 10000000 bytes instead of 720"):
        decode_image(forged, SPEC, NAME)
