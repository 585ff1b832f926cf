"""One value of a setting, by its field's type: out of text or JSON with pydantic, and what may be given in words.

Understood types: bool, int, float, str, Enum, Literal, tuples of these, `X | None`; with limits of annotated-types on
the value or, in a tuple, on its elements.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import DocInfo, Ge, Le, Len
from pydantic import ConfigDict, TypeAdapter
from pydantic_core import to_json

_NONE = ("none", "null")
_BRACKETS = {"(": ")", "[": "]"}
_SHOWN = 60
"""Letters of a value in a message."""


def from_text(hint: Any, text: str) -> Any:
    """A value as it is written on the command line, in its field's type.

    Raises:
        ValueError: it is none of this type, or outside its limits.
    """
    return _adapter(hint).validate_json(to_json(_read(hint, text)))


def from_json(hint: Any, value: object) -> Any:
    """A plain JSON value, or a tuple for a list, in its field's type.

    Raises:
        ValueError: it is none of this type, or outside its limits.
    """
    return _adapter(hint).validate_json(to_json(value, inf_nan_mode="constants"))


def show(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list):
        return ",".join(show(element) for element in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def shortened(value: Any) -> str:
    """The same for a message."""
    text = show(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def allowed(hint: Any) -> str:
    """What may be given, in words: `a whole number, at least 1`."""
    offered = choices(hint)
    words = ["one of " + ", ".join(map(show, offered)) if offered else _kind(hint)]
    if _is_optional(hint):
        words = [" or ".join([*words, "none"])]
    words += [limit.documentation for limit in _limits(hint) if isinstance(limit, DocInfo)]
    least, most = bounds(hint)
    if least is not None:
        words.append(f"at least {show(least)}")
    if most is not None:
        words.append(f"at most {show(most)}")
    return ", ".join(words)


def bounds(hint: Any) -> tuple[Any, Any]:
    """The least and the most that a value, or an element of a tuple, may be; None where there is no such limit."""
    least: list[Any] = [limit.ge for limit in _limits(hint) if isinstance(limit, Ge)]
    most: list[Any] = [limit.le for limit in _limits(hint) if isinstance(limit, Le)]
    return max(least, default=None), min(most, default=None)


def choices(hint: Any) -> tuple[Any, ...]:
    """The values that there are; empty where they are not listed."""
    bare = _bare(hint)
    if typing.get_origin(bare) is tuple:
        return choices(typing.get_args(bare)[0])
    if typing.get_origin(bare) is Literal:
        return typing.get_args(bare)
    return tuple(bare) if isinstance(bare, type) and issubclass(bare, Enum) else ()


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _read(hint: Any, text: str) -> Any:
    """As JSON has it: the words of this text that are numbers, truths or lists in this type."""
    if _is_optional(hint) and text.lower() in _NONE:
        return None
    bare = _bare(hint)
    if typing.get_origin(bare) is tuple:
        element, *_ = typing.get_args(bare)
        return [_read(element, part) for part in _parts(text)]
    if bare is str or typing.get_origin(bare) is Literal:
        return text
    if bare is int and not text.strip().lstrip("+-").isdigit():
        number = float(text)  # 2e5 is how people write 200,000
        return int(number) if number == int(number) else number
    return TypeAdapter(bare).validate_strings(text)


def _parts(text: str) -> list[str]:
    text = text.strip()
    if text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[0]]):
        text = text[1:-1]
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _is_optional(hint: Any) -> bool:
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _is_optional(arms[0])
    return origin in (typing.Union, types.UnionType) and type(None) in arms


def _bare(hint: Any) -> Any:
    """`Annotated[X, ...] | None` -> `X`."""
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _bare(arms[0])
    if not _is_optional(hint):
        return hint
    (inner,) = (arm for arm in arms if arm is not type(None))
    return _bare(inner)


def _limits(hint: Any) -> Iterator[Any]:
    """What is said of a value beside its type; of a tuple, and of its elements."""
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        yield from arms[1:]
        yield from _limits(arms[0])
    elif origin is tuple:
        yield from _limits(arms[0])
    elif _is_optional(hint):
        for arm in arms:
            yield from _limits(arm)


def _kind(hint: Any) -> str:
    bare = _bare(hint)
    if typing.get_origin(bare) is not tuple:
        return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[bare]
    element, *others = typing.get_args(bare)
    counts = [limit for limit in _limits(hint) if isinstance(limit, Len)]
    if others != [Ellipsis]:
        count = f" of {1 + len(others)}"
    else:
        count = f" of {counts[0].min_length} to {counts[0].max_length}" if counts else ""
    return f"a list{count}, comma between, each {_kind(element)}"
