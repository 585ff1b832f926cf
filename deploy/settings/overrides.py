"""Settings by dotted key: reads, checks and writes nested frozen dataclasses.

Every package has one dataclass of settings. A field says what it means and what is allowed in its metadata:

    batch_size: int = field(default=16, metadata={"help": "Sequences per update.", "min": 1})

Known metadata: `help`, `min`, `max` (for each element of a tuple), `choices`. Understood types: bool, int, float, str,
Enum, Literal, tuples of these, `X | None`, and nested dataclasses of settings.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Literal, TypeVar

C = TypeVar("C")

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_NONE = ("none", "null")
_SHOWN = 60
"""Letters of a value in a message."""
_BRACKETS = {"(": ")", "[": "]"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One leaf of a tree of settings."""

    key: str
    """Dotted, from the root: `learner.teacher.batch_size`."""
    hint: Any
    """The resolved type annotation."""
    default: Any
    """`dataclasses.MISSING` where the user must give one."""
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[Any, ...]

    @property
    def allowed(self) -> str:
        """What may be given, in words: `a whole number, at least 1`."""
        words = [_describe(self.hint)]
        if self.choices:
            words = ["one of " + ", ".join(show(choice) for choice in self.choices)]
            if _optional(self.hint):
                words.append("or none")
        if self.minimum is not None:
            words.append(f"at least {show(self.minimum)}")
        if self.maximum is not None:
            words.append(f"at most {show(self.maximum)}")
        return ", ".join(words)

    def convert(self, value: object) -> Any:
        """The value in its field's type, whether it came as text, from JSON, or as it is.

        Raises:
            ValueError: one line naming the key, the value and what is allowed.
        """
        try:
            converted = _convert(self.hint, value)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"{self.key} = {_shortened(show(value))} is not allowed: {self.allowed}") from None
        for element in converted if isinstance(converted, tuple) else (converted,):
            if element is not None and not self._within(element):
                raise ValueError(f"{self.key} = {_shortened(show(converted))} is not allowed: {self.allowed}")
        return converted

    def _within(self, element: Any) -> bool:
        if self.choices and element not in self.choices:
            return False
        if self.minimum is not None and element < self.minimum:
            return False
        return self.maximum is None or bool(element <= self.maximum)


def settings(root: type) -> dict[str, Setting]:
    """All leaves of a dataclass of settings, in the order of their definition, by dotted key."""
    return {setting.key: setting for setting in _walk(root, None, "")}


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Splits `key=value` arguments.

    Raises:
        ValueError: without a key or `=`, or for a key that is given twice.
    """
    assignments: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"'{text}' is not a setting: write key=value, for example training.env_steps=20000")
        if key in assignments:
            raise ValueError(f"{key} is given twice: {assignments[key]} and {value}")
        assignments[key] = value
    return assignments


def apply(config: C, assignments: Mapping[str, object]) -> C:
    """A copy of `config` with some leaves changed, built once, so that checks across fields see the final values.

    Args:
        config: an instance of a dataclass of settings.
        assignments: dotted key to text or value.

    Raises:
        ValueError: one line, for an unknown key (with the nearest known one), a value of the wrong type or outside its
            limits, or what a dataclass's own `__post_init__` refuses.
    """
    known = settings(type(config))
    changes: dict[str, Any] = {}
    for key, value in assignments.items():
        if key not in known:
            raise ValueError(_unknown(key, list(known)))
        changes[key] = known[key].convert(value)
    return _replace(config, changes)


def flatten(config: object) -> dict[str, Any]:
    """Dotted key to JSON value, in the order of definition."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(_instance(config)):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat.update({f"{field.name}.{key}": leaf for key, leaf in flatten(value).items()})
        else:
            flat[field.name] = _to_json(value)
    return flat


def to_dict(config: object) -> dict[str, Any]:
    """The settings as nested JSON objects; `from_dict` reads them back."""
    return {
        field.name: to_dict(value) if dataclasses.is_dataclass(value) else _to_json(value)
        for field in dataclasses.fields(_instance(config))
        for value in [getattr(config, field.name)]
    }


def from_dict(root: type[C], data: Mapping[str, object]) -> C:
    """Reads what `to_dict` wrote. A key that is missing takes its default: an older version did not have it yet.

    Raises:
        ValueError: one line, for an unknown key, an impossible value, or a missing one without default.
    """
    known = settings(root)
    given: dict[str, Any] = {}
    for key, value in _leaves(data, known, ""):
        if key not in known:
            raise ValueError(_unknown(key, list(known)))
        given[key] = known[key].convert(value)
    for key, setting in known.items():
        if key not in given and setting.default is dataclasses.MISSING:
            raise ValueError(f"{key} is missing: {setting.allowed}")
    return _build(root, given)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like this one."""
    candidates = list(known)
    return max(candidates, key=lambda candidate: difflib.SequenceMatcher(None, word, candidate).ratio())


def show(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list):
        return ",".join(show(element) for element in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


# --- the tree ---------------------------------------------------------------------------------------------------------


def _walk(cls: type, instance: object, prefix: str) -> Iterator[Setting]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint, default = hints[field.name], _default(field, instance)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _walk(hint, None if default is dataclasses.MISSING else default, f"{prefix}{field.name}.")
            continue
        yield Setting(
            key=prefix + field.name,
            hint=hint,
            default=default,
            help=str(field.metadata.get("help", "")),
            minimum=field.metadata.get("min"),
            maximum=field.metadata.get("max"),
            choices=tuple(field.metadata.get("choices") or _choices_of(hint)),
        )


def _default(field: dataclasses.Field[Any], instance: object) -> Any:
    # A parent may give its nested settings other defaults than their class has, so an instance comes first.
    if instance is not None:
        return getattr(instance, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _instance(config: object) -> Any:
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"{config!r} is not an instance of a dataclass")
    return config


def _replace(config: C, changes: Mapping[str, Any]) -> C:
    own: dict[str, Any] = {}
    for name, below in _by_first_name(changes).items():
        own[name] = below[""] if "" in below else _replace(getattr(config, name), below)
    return typing.cast(C, dataclasses.replace(_instance(config), **own))


def _build(cls: type[C], values: Mapping[str, Any]) -> C:
    """An instance of `cls` with these leaves; the others keep the defaults that the parents give."""
    hints = typing.get_type_hints(cls)
    own: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, cls)):
        below = _by_first_name(values).get(field.name)
        if below is None:
            continue
        default = _default(field, None)
        if "" in below:
            own[field.name] = below[""]
        elif default is dataclasses.MISSING:
            own[field.name] = _build(hints[field.name], below)
        else:
            own[field.name] = _replace(default, below)
    return cls(**own)


def _by_first_name(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"a.b": 1, "c": 2} -> {"a": {"b": 1}, "c": {"": 2}}."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        name, _, rest = key.partition(".")
        groups.setdefault(name, {})[rest] = value
    return groups


def _leaves(data: Mapping[str, object], known: Mapping[str, Setting], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in data.items():
        key = prefix + name
        if isinstance(value, Mapping) and value and key not in known:
            yield from _leaves(value, known, key + ".")
        else:
            yield key, value


def _unknown(key: str, known: list[str]) -> str:
    members = [candidate for candidate in known if candidate.startswith(key + ".")]
    if members:
        return f"'{key}' is a group of settings: give one of its members, for example {members[0]}=..."
    last = key.rpartition(".")[2]
    # `batch_size` alone, or below the wrong group, is nearer to `learner.teacher.batch_size` than the letters say.
    same_name = [candidate for candidate in known if candidate.rpartition(".")[2] == last]
    if same_name:
        ordered = sorted(same_name, key=lambda other: -difflib.SequenceMatcher(None, key, other).ratio())
        return f"unknown setting '{key}': did you mean {' or '.join(ordered[:3])}?"
    return f"unknown setting '{key}': the nearest known one is {nearest(key, known)}"


# --- values -----------------------------------------------------------------------------------------------------------


def _optional(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType) and type(None) in typing.get_args(hint)


def _inner(hint: Any) -> Any:
    """`X | None` -> `X`."""
    inner = [arm for arm in typing.get_args(hint) if arm is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"a setting of type {hint}: only `X | None` of unions is understood")
    return inner[0]


def _choices_of(hint: Any) -> tuple[Any, ...]:
    if _optional(hint):
        return _choices_of(_inner(hint))
    if typing.get_origin(hint) is tuple:
        return _choices_of(typing.get_args(hint)[0])
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    return tuple(hint) if isinstance(hint, type) and issubclass(hint, Enum) else ()


def _describe(hint: Any) -> str:
    if _optional(hint):
        return f"{_describe(_inner(hint))} or none"
    if typing.get_origin(hint) is tuple:
        arms = typing.get_args(hint)
        if arms[-1] is Ellipsis:
            return f"a list, comma between, each {_describe(arms[0])}"
        return f"a list of {len(arms)}, comma between, each {_describe(arms[0])}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words.get(hint, "one of the choices")


def _convert(hint: Any, value: Any) -> Any:
    if _optional(hint):
        missing = value is None or (isinstance(value, str) and value.lower() in _NONE)
        return None if missing else _convert(_inner(hint), value)
    if typing.get_origin(hint) is tuple:
        return _convert_tuple(typing.get_args(hint), value)
    if hint is bool:
        return _convert_bool(value)
    if hint is int:
        return _convert_int(value)
    if hint is float:
        return _convert_float(value)
    if hint is str:
        if not isinstance(value, str):
            raise ValueError(value)
        return value
    return _convert_choice(hint, value)


def _convert_bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _convert_int(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = float(value)  # 2e5 is how people write 200,000
    if isinstance(value, bool) or int(value) != value:
        raise ValueError(value)
    return int(value)


def _convert_float(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def _convert_tuple(arms: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[0]]):
            text = text[1:-1]
        value = [part.strip() for part in text.split(",")] if text.strip() else []
    elements = list(value)
    if arms[-1] is Ellipsis:
        return tuple(_convert(arms[0], element) for element in elements)
    if len(elements) != len(arms):
        raise ValueError(value)
    return tuple(_convert(arm, element) for arm, element in zip(arms, elements, strict=True))


def _convert_choice(hint: Any, value: Any) -> Any:
    choices = _choices_of(hint)
    if not choices:
        raise TypeError(f"a setting of type {hint}")
    for choice in choices:
        plain = choice.value if isinstance(choice, Enum) else choice
        if value is choice or value == plain or value == str(plain):
            return choice
    raise ValueError(value)


def _to_json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_to_json(element) for element in value]
    return value
