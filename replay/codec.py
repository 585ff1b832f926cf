"""Chunks as bytes: a checked header, then plain arrays. Nothing here can run what it reads.

A chunk becomes two values, so that whoever trains from states never moves an image byte::

    state value   header | state [L,S] f32 | action [L,A] f32 | reward [L] f32 | flags [L] u8 | metadata (JSON, zstd)
    image value   header | state_at_exposure [L,S] f32 | image [L,K,H,W,C] u8, as one zstd frame, or raw where that
                  would not help

The header (56 bytes, little-endian) names the chunk, the shapes and the lengths, and carries a CRC-32 of itself and of
all that follows. The arrays begin at a multiple of their alignment, so that they are read in place, without a copy.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from replay.schema import SCHEMA_VERSION, Chunk, ChunkMeta, StreamSpec

# magic, kind, schema version, encoding, reserved | policy version | five sizes | CRC-32 of the chunk's id |
# length of the body | length of what lies beside its arrays | CRC-32 of all before and of the body
# Beside the arrays lie, last, a state value's metadata, or, first, an image value's states at exposure.
_HEADER: Final = struct.Struct("<4sBBBBq5IIQII")
_CHECKED: Final = _HEADER.size - 4
_MAGIC: Final = b"TWST"
_STATE, _IMAGE = 1, 2
_RAW, _ZSTD = 0, 1

_FIRST, _LAST, _TERMINAL = 1, 2, 4

# Compressed images are kept only where they are clearly smaller: raw ones are read in place. Pixel noise is hardly
# compressible, flat-shaded frames shrink forty-fold.
_WORTH_IT: Final = 0.9
# No episode's drawn parameters come near this; a larger size in a header is damage, not data.
_META_BYTES_MAX: Final = 16 * 2**20


class CorruptChunkError(ValueError):
    """A stored value is not what a chunk of this spec looks like; the message says in one line why."""


@dataclass(frozen=True, eq=False)
class StateRows:
    """The decoded state value: read-only views into its bytes.

    Attributes:
        state: [L, S] float32.
        action: [L, A] float32.
        reward: [L] float32.
        is_first: [L] bool.
        is_last: [L] bool.
        is_terminal: [L] bool.
        policy_version: Version of the weights that chose the actions.
        packed_meta: The metadata, still packed: only who asks for it pays for it.
    """

    state: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    is_first: NDArray[np.bool_]
    is_last: NDArray[np.bool_]
    is_terminal: NDArray[np.bool_]
    policy_version: int
    packed_meta: bytes

    def meta(self) -> ChunkMeta:
        """Return the chunk's metadata.

        Raises:
            CorruptChunkError: If it is none.
        """
        try:
            return ChunkMeta.from_json(decompressed(self.packed_meta, None))
        except ValueError as error:
            raise CorruptChunkError(f"metadata: {error}") from error


@dataclass(frozen=True, eq=False)
class ImageRows:
    """The decoded image value: read-only.

    Attributes:
        image: [L, K, H, W, C] uint8, a view into the value's bytes if they were stored raw.
        state_at_exposure: [L, S] float32, the state that each row's image shows.
    """

    image: NDArray[np.uint8]
    state_at_exposure: NDArray[np.float32]


def encode_state(chunk: Chunk) -> bytes:
    """Return the state value of a chunk; its arrays must have been checked against the spec."""
    flags = chunk.is_first * _FIRST + chunk.is_last * _LAST + chunk.is_terminal * _TERMINAL
    arrays = (chunk.state, chunk.action, chunk.reward, flags.astype(np.uint8))
    packed_meta = zstandard.ZstdCompressor(level=1).compress(chunk.meta.to_json().encode())
    body = b"".join([*(array.tobytes() for array in arrays), packed_meta])
    sizes = (chunk.rows, chunk.state.shape[1], chunk.action.shape[1], 0, 0)
    return _pack(_STATE, _RAW, chunk.meta, sizes, body, len(packed_meta))


def encode_image(chunk: Chunk, level: int) -> bytes:
    """Return the image value of a chunk that has images.

    Args:
        chunk: The chunk, checked against the spec.
        level: zstd level; 0 stores the images raw.
    """
    assert chunk.image is not None and chunk.state_at_exposure is not None
    images, shown = np.ascontiguousarray(chunk.image), chunk.state_at_exposure.tobytes()
    rows, views, height, width, channels = images.shape
    encoding, pixels = _RAW, b""
    if level > 0:
        encoding, pixels = _ZSTD, zstandard.ZstdCompressor(level=level).compress(images.data)
    if level == 0 or len(pixels) > _WORTH_IT * images.nbytes:
        encoding, pixels = _RAW, images.tobytes()
    return _pack(_IMAGE, encoding, chunk.meta, (rows, views, height, width, channels), shown + pixels, len(shown))


def decode_state(value: bytes, spec: StreamSpec, chunk_id: str) -> StateRows:
    """Read a state value.

    Args:
        value: What `encode_state` returned.
        spec: The spec that it must fit.
        chunk_id: The chunk that it must belong to.

    Raises:
        CorruptChunkError: If anything in it is not as it should be.
    """
    header = _unpack(value, _STATE, chunk_id)
    rows, state_dim, action_dim, *_ = header.sizes
    if (state_dim, action_dim) != (spec.state_dim, spec.action_dim) or not 1 <= rows <= spec.chunk_length:
        raise CorruptChunkError(
            f"{rows} rows of {state_dim} states and {action_dim} actions: the spec has at most {spec.chunk_length} "
            f"rows of {spec.state_dim} and {spec.action_dim}"
        )
    floats = rows * (state_dim + action_dim + 1)
    if header.body_bytes != 4 * floats + rows + header.aside_bytes:
        raise CorruptChunkError(f"body of {header.body_bytes} bytes does not hold {rows} rows")
    numbers = np.frombuffer(value, np.float32, floats, _HEADER.size)
    flags = np.frombuffer(value, np.uint8, rows, _HEADER.size + 4 * floats)
    if not np.isfinite(numbers).all():
        raise CorruptChunkError("a state, action or reward is not a finite number")
    state, action, reward = np.split(numbers, (rows * state_dim, rows * (state_dim + action_dim)))
    return StateRows(
        state=state.reshape(rows, state_dim),
        action=action.reshape(rows, action_dim),
        reward=reward,
        is_first=(flags & _FIRST) != 0,
        is_last=(flags & _LAST) != 0,
        is_terminal=(flags & _TERMINAL) != 0,
        policy_version=header.policy_version,
        packed_meta=value[len(value) - header.aside_bytes :],
    )


def decode_image(value: bytes, spec: StreamSpec, chunk_id: str) -> ImageRows:
    """Read an image value.

    Args:
        value: What `encode_image` returned.
        spec: The spec that it must fit.
        chunk_id: The chunk that it must belong to.

    Raises:
        CorruptChunkError: If anything in it is not as it should be.
    """
    header = _unpack(value, _IMAGE, chunk_id)
    rows, *shape = header.sizes
    if tuple(shape) != (spec.views, *spec.image_shape) or not 1 <= rows <= spec.chunk_length:
        raise CorruptChunkError(
            f"images {list(header.sizes)}: the spec has at most {spec.chunk_length} rows of "
            f"{[spec.views, *spec.image_shape]}"
        )
    shown_bytes = 4 * rows * spec.state_dim
    if header.aside_bytes != shown_bytes or header.body_bytes < shown_bytes:
        raise CorruptChunkError(f"{header.aside_bytes} bytes of states at exposure instead of {shown_bytes}")
    shown = np.frombuffer(value, np.float32, rows * spec.state_dim, _HEADER.size)
    if not np.isfinite(shown).all():
        raise CorruptChunkError("a state at exposure is not a finite number")
    pixels = int(np.prod(header.sizes, dtype=np.int64))
    begin = _HEADER.size + shown_bytes
    if header.encoding == _ZSTD:
        images = np.frombuffer(decompressed(memoryview(value)[begin:], pixels), np.uint8)
    elif len(value) == begin + pixels:
        images = np.frombuffer(value, np.uint8, pixels, begin)
    else:
        raise CorruptChunkError(f"{len(value) - begin} bytes of raw images instead of {pixels}")
    return ImageRows(images.reshape(header.sizes), shown.reshape(rows, spec.state_dim))


@dataclass(frozen=True)
class _Header:
    encoding: int
    policy_version: int
    sizes: tuple[int, ...]
    body_bytes: int
    aside_bytes: int


def _pack(kind: int, encoding: int, meta: ChunkMeta, sizes: tuple[int, ...], body: bytes, aside_bytes: int) -> bytes:
    name_crc = zlib.crc32(meta.chunk_id.encode())
    fields = (_MAGIC, kind, meta.schema_version, encoding, 0, meta.policy_version, *sizes, name_crc)
    checked = _HEADER.pack(*fields, len(body), aside_bytes, 0)[:_CHECKED]
    return b"".join([checked, zlib.crc32(body, zlib.crc32(checked)).to_bytes(4, "little"), body])


def _unpack(value: bytes, kind: int, chunk_id: str) -> _Header:
    if len(value) < _HEADER.size:
        raise CorruptChunkError(f"{len(value)} bytes are no header of {_HEADER.size}")
    fields = _HEADER.unpack_from(value)
    magic, found_kind, version, encoding, _, policy_version, *sizes, name_crc, body_bytes, aside_bytes, crc = fields
    if magic != _MAGIC:
        raise CorruptChunkError(f"begins with {magic!r} instead of {_MAGIC!r}")
    if version != SCHEMA_VERSION:
        raise CorruptChunkError(f"schema version {version}: this code reads version {SCHEMA_VERSION}")
    if len(value) != _HEADER.size + body_bytes:
        raise CorruptChunkError(f"{len(value)} bytes long: its header says {_HEADER.size + body_bytes}")
    body_crc = zlib.crc32(memoryview(value)[_HEADER.size :], zlib.crc32(value[:_CHECKED]))
    if crc != body_crc:
        raise CorruptChunkError(f"checksum {body_crc:08x}: its header says {crc:08x}")
    if found_kind != kind or encoding not in (_RAW, _ZSTD):
        raise CorruptChunkError(f"kind {found_kind}, encoding {encoding}: expected kind {kind}")
    if name_crc != zlib.crc32(chunk_id.encode()):
        raise CorruptChunkError(f"belongs to another chunk than {chunk_id}")
    return _Header(encoding, policy_version, tuple(sizes), body_bytes, aside_bytes)


def decompressed(frame: bytes | memoryview, size: int | None) -> bytes:
    """Decompress one zstd frame, and never to more than was asked for (None: metadata, of which any size will do).

    Raises:
        CorruptChunkError: If it is none, or of another size.
    """
    try:
        told: int = zstandard.get_frame_parameters(frame).content_size
        if told != size and (size is not None or told > _META_BYTES_MAX):
            raise CorruptChunkError(f"a compressed frame of {told} bytes instead of {size or _META_BYTES_MAX}")
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise CorruptChunkError(f"zstd: {error}") from error
