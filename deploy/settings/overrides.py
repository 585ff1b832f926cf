"""Settings by dotted key: reads, checks and writes nested frozen dataclasses.

Every package has one dataclass of settings, of pydantic's. A field's type says what is allowed, the text below it what
it means:

    batch_size: Annotated[int, Ge(1), Le(65_536)] = 16
    \"\"\"Sequences per update.\"\"\"

`deploy.settings.values` reads values of these types; this module knows their keys.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from deploy.settings.values import allowed, bounds, from_json, from_text, shortened

C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One leaf of a tree of settings."""

    key: str
    """Dotted, from the root: `learner.teacher.batch_size`."""
    hint: Any
    """The resolved type annotation, with its limits."""
    default: Any
    """`dataclasses.MISSING` where the user must give one."""
    help: str
    """What it means."""

    @property
    def allowed(self) -> str:
        """What may be given, in words: `a whole number, at least 1`."""
        return allowed(self.hint)

    @property
    def minimum(self) -> Any:
        """The least that may be given, of a list for each element; None where there is no such limit."""
        return bounds(self.hint)[0]

    @property
    def maximum(self) -> Any:
        """The most."""
        return bounds(self.hint)[1]

    def read(self, text: str) -> Any:
        """The value in its field's type, from the command line.

        Raises:
            ValueError: one line naming the key, the value and what is allowed.
        """
        return self._checked(from_text, text)

    def convert(self, value: object) -> Any:
        """The value in its field's type, from JSON, or as it is.

        Raises:
            ValueError: one line naming the key, the value and what is allowed.
        """
        return self._checked(from_json, value)

    def _checked(self, into: Any, value: object) -> Any:
        try:
            return into(self.hint, value)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"{self.key} = {shortened(value)} is not allowed: {self.allowed}") from None


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
        changes[key] = known[key].read(value) if isinstance(value, str) else known[key].convert(value)
    with _in_one_line():
        return _replace(config, changes)


def flatten(config: object) -> dict[str, Any]:
    """Dotted key to JSON value, in the order of definition."""
    return dict(_flat(to_dict(config), ""))


def to_dict(config: object) -> dict[str, Any]:
    """The settings as nested JSON objects; `from_dict` reads them back."""
    written: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return written


GONE = frozenset({"actors.wait_seconds"})
"""Settings of older versions, which stand in the documents of their runs and decide nothing any more."""


def from_dict(root: type[C], data: Mapping[str, object]) -> C:
    """Reads what `to_dict` wrote. A key that is missing takes its default: an older version did not have it yet.

    One of `GONE`, which only older versions have, is passed over.

    Raises:
        ValueError: one line, for an unknown key, an impossible value, or a missing one without default.
    """
    known = settings(root)
    given: dict[str, Any] = {}
    for key, value in _leaves(data, known, ""):
        if key in GONE:
            continue
        if key not in known:
            raise ValueError(_unknown(key, list(known)))
        given[key] = known[key].convert(value)
    for key, setting in known.items():
        if key not in given and setting.default is dataclasses.MISSING:
            raise ValueError(f"{key} is missing: {setting.allowed}")
    with _in_one_line():
        return _build(root, given)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like this one."""
    candidates = list(known)
    return max(candidates, key=lambda candidate: difflib.SequenceMatcher(None, word, candidate).ratio())


def _walk(cls: Any, instance: object, prefix: str) -> Iterator[Setting]:
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint, default = hints[field.name], _default(field, instance)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _walk(hint, None if default is dataclasses.MISSING else default, f"{prefix}{field.name}.")
            continue
        yield Setting(
            key=prefix + field.name,
            hint=hint,
            default=default,
            help=" ".join((cls.__pydantic_fields__[field.name].description or "").split()),
        )


def _default(field: dataclasses.Field[Any], instance: object) -> Any:
    # A parent may give its nested settings other defaults than their class has, so an instance comes first.
    if instance is not None:
        return getattr(instance, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """What a dataclass refuses when it is made, in the words of its own check."""
    try:
        yield
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        raise ValueError(str(found.get("ctx", {}).get("error", found["msg"]))) from None


def _replace(config: C, changes: Mapping[str, Any]) -> C:
    own: dict[str, Any] = {}
    for name, below in _by_first_name(changes).items():
        own[name] = below[""] if "" in below else _replace(getattr(config, name), below)
    return typing.cast(C, dataclasses.replace(typing.cast(Any, config), **own))


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


def _flat(nested: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


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
