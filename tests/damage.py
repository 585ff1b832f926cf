"""Many ways to damage a directory of JSON documents and weights, each by a name, the same ones for a seed."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

Damage = tuple[str, Callable[[Path], None]]
"""Its name, and what does it to a directory."""

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 10**6, 10**9, 10**30, -(2**63), 0.5, 1e308, float("nan"), float("-inf")),
    *("", "x", "\x00", "../../etc/passwd", "x" * 100_000, [], {}, [[]], [1] * 1_000, {"a": 1}, {"": {}}, ["x", None]),
)
"""What is put in the place of what is there."""

DOCUMENTS = ("config.json", "checkpoint.json", "report.json")
WEIGHTS = "weights.safetensors"


def damages(directory: Path, seed: int, most: int) -> list[Damage]:
    """Of a packed policy, at most so many of all: the documents' bytes and values, the weights' header and numbers."""
    draw = random.Random(seed)
    found = [damage for name in DOCUMENTS for damage in of_document(directory, name, draw)]
    found += [*_of_bytes(WEIGHTS, (directory / WEIGHTS).read_bytes(), draw), *_of_weights(directory)]
    return draw.sample(found, min(most, len(found)))


def of_document(directory: Path, name: str, draw: random.Random) -> list[Damage]:
    """All of one document's, of its bytes and of its values."""
    return [*_of_bytes(name, (directory / name).read_bytes(), draw), *_of_values(name, directory)]


def _of_bytes(name: str, content: bytes, draw: random.Random) -> Iterator[Damage]:
    for length in (0, 1, 7, 8, len(content) // 2, len(content) - 1):
        yield f"{name} cut to {length}", _writer(name, content[:length])
    for _ in range(20):
        place, bit = draw.randrange(len(content)), 1 << draw.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= bit
        yield f"{name} byte {place} flipped by {bit}", _writer(name, bytes(flipped))
    other = {
        "nested": b"[" * 100_000,
        "objects": b'{"a":' * 100_000,
        "a long number": b'{"format": ' + b"9" * 10_000 + b"}",
        "no text": b"\xff\xfe\x00",
        "null": b"null",
        "a list": b"[]",
        "large": content + b" " * (32 * 2**20),
        "twice": content + content,
    }
    for what, written in other.items():
        yield f"{name} {what}", _writer(name, written)
    yield f"{name} gone", lambda path: (path / name).unlink()


def _of_values(name: str, directory: Path) -> Iterator[Damage]:
    document = json.loads((directory / name).read_text())
    for place in _places(document):
        yield f"{name} without {place}", _changer(name, place, None, drop=True)
        for value in VALUES:
            yield f"{name} {place} = {str(value)[:30]!r}", _changer(name, place, value)
    if name != "checkpoint.json":
        return
    spec = json.loads(document["document"]["learner"]["spec"])
    for place in _places(spec):
        for value in VALUES:
            yield f"spec {place} = {str(value)[:30]!r}", _spec_changer(place, value)


def _of_weights(directory: Path) -> Iterator[Damage]:
    """The seal is put right, so that it is the weights that have to be looked at."""
    content = (directory / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    for key in list(header)[:: max(1, len(header) // 12)]:
        for change in (
            {"shape": [2**40]},
            {"shape": [-1]},
            {"shape": []},
            {"dtype": "F64"},
            {"dtype": "BF16"},
            {"dtype": "F8_E4M3"},
            {"data_offsets": [0, 2**60]},
            {"data_offsets": [8, 4]},
        ):
            yield f"weights {key} {change}", _resealed(_packed({**header, key: {**header[key], **change}}, numbers))
        yield f"weights without {key}", _resealed(_packed({k: v for k, v in header.items() if k != key}, numbers))
    for what, number in (("nan", float("nan")), ("huge", 3e38)):
        filled = struct.pack("<f", number) * (len(numbers) // 4)
        yield f"weights all {what}", _resealed(_packed(header, filled))
    for what, written in (
        ("header of 2^60 bytes", struct.pack("<Q", 2**60) + content[8:]),
        ("header that is no JSON", struct.pack("<Q", length) + b"x" * length + numbers),
        ("nothing", b""),
        ("no tensors", _packed({}, b"")),
    ):
        yield f"weights {what}", _resealed(written)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from _places(entry, (*place, key))


def _put(document: Any, place: tuple[Any, ...], value: Any, *, drop: bool = False) -> None:
    for key in place[:-1]:
        document = document[key]
    if drop:
        del document[place[-1]]
    else:
        document[place[-1]] = deepcopy(value)


def _changer(name: str, place: tuple[Any, ...], value: Any, *, drop: bool = False) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        document = json.loads((path / name).read_text())
        _put(document, place, value, drop=drop)
        (path / name).write_text(json.dumps(document))

    return change


def _spec_changer(place: tuple[Any, ...], value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        document = json.loads((path / "checkpoint.json").read_text())
        spec = json.loads(document["document"]["learner"]["spec"])
        _put(spec, place, value)
        document["document"]["learner"]["spec"] = json.dumps(spec)
        (path / "checkpoint.json").write_text(json.dumps(document))

    return change


def _writer(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes(content) and None


def _packed(header: dict[str, Any], numbers: bytes) -> bytes:
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + numbers


def _resealed(content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / WEIGHTS).write_bytes(content)
        document = json.loads((path / "checkpoint.json").read_text())
        document["files"][WEIGHTS] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (path / "checkpoint.json").write_text(json.dumps(document))

    return change
