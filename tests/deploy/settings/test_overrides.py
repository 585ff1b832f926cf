"""Settings by dotted key: what may be written, what is refused and in which words."""

from __future__ import annotations

import json
from dataclasses import field
from enum import Enum
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from deploy.settings.config import RunConfig
from deploy.settings.overrides import apply, flatten, from_dict, parse_assignments, settings, to_dict

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, config=STRICT)
class Inner:
    size: Annotated[int, Ge(1), Le(64)] = 4
    """How
    large."""
    rate: Annotated[float, Ge(0)] = 0.1
    on: bool = True


@dataclass(frozen=True, config=STRICT)
class Middle:
    inner: Inner = field(default_factory=lambda: Inner(size=8))
    span: tuple[Annotated[float, Ge(-1), Le(2)], Annotated[float, Ge(-1), Le(2)]] = (0.0, 1.0)
    layers: tuple[Annotated[int, Ge(1)], ...] = (16, 32)

    def __post_init__(self) -> None:
        if self.span[0] > self.span[1]:
            raise ValueError(f"span = {self.span}: from low to high")


@dataclass(frozen=True, config=STRICT)
class Root:
    name: str
    middle: Middle = field(default_factory=Middle)
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    side: Literal["left", "right"] = "left"
    limit: Annotated[int, Ge(0)] | None = None
    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}")


ROOT = Root(name="x")


def change(*texts: str) -> Root:
    return apply(ROOT, parse_assignments(texts))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("middle.inner.size=32", "middle.inner.size", 32),
        ("middle.inner.size=6e1", "middle.inner.size", 60),
        ("middle.inner.rate=3e-4", "middle.inner.rate", 3e-4),
        ("middle.inner.rate=1", "middle.inner.rate", 1.0),
        ("middle.inner.on=false", "middle.inner.on", False),
        ("middle.inner.on=No", "middle.inner.on", False),
        ("middle.span=0.2,0.5", "middle.span", [0.2, 0.5]),
        ("middle.span=(0.2, 0.5)", "middle.span", [0.2, 0.5]),
        ("middle.layers=[8,16,32]", "middle.layers", [8, 16, 32]),
        ("kind=b", "kind", "b"),
        ("colour=blue", "colour", "blue"),
        ("side=right", "side", "right"),
        ("limit=7", "limit", 7),
        ("limit=none", "limit", None),
        ("name=a=b", "name", "a=b"),
    ],
)
def test_a_value_is_read_in_its_fields_type(text: str, key: str, value: object) -> None:
    before, after = flatten(ROOT), flatten(change(text))
    assert after[key] == value
    assert type(after[key]) is type(value)
    assert {other: after[other] for other in after if other != key} == {k: before[k] for k in before if k != key}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("middle.inner.size=-3", "middle.inner.size = -3 is not allowed: a whole number, at least 1, at most 64"),
        ("middle.inner.size=65", "middle.inner.size = 65 is not allowed: a whole number, at least 1, at most 64"),
        ("middle.inner.size=2.5", "middle.inner.size = 2.5 is not allowed: a whole number, at least 1, at most 64"),
        ("middle.inner.size=inf", "middle.inner.size = inf is not allowed: a whole number, at least 1, at most 64"),
        ("middle.inner.rate=nan", "middle.inner.rate = nan is not allowed: a number, at least 0"),
        ("middle.inner.on=maybe", "middle.inner.on = maybe is not allowed: true or false"),
        (
            "middle.span=0.2",
            "middle.span = 0.2 is not allowed: a list of 2, comma between, each a number, at least -1",
        ),
        (
            "middle.layers=8,0",
            "middle.layers = 8,0 is not allowed: a list, comma between, each a whole number, at least 1",
        ),
        ("kind=c", "kind = c is not allowed: one of a, b"),
        ("colour=green", "colour = green is not allowed: one of red, blue"),
        ("limit=-1", "limit = -1 is not allowed: a whole number or none, at least 0"),
    ],
)
def test_an_impossible_value_is_refused_with_key_value_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        change(text)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("midle.inner.sise=3", "unknown setting 'midle.inner.sise': the nearest known one is middle.inner.size"),
        ("size=3", "unknown setting 'size': did you mean middle.inner.size?"),
        (
            "middle.inner=3",
            "'middle.inner' is a group of settings: give one of its members, for example middle.inner.size=...",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        change(text)
    assert str(refusal.value) == message


def test_what_is_no_assignment_is_refused() -> None:
    with pytest.raises(ValueError, match="'kind' is not a setting: write key=value"):
        change("kind")


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="kind is given twice: a and b"):
        change("kind=a", "kind=b")


def test_checks_across_fields_see_the_final_values_whatever_their_order() -> None:
    assert change("low=5", "high=6") == change("high=6", "low=5")
    with pytest.raises(ValueError, match="low = 5 is not below high = 1"):
        change("low=5")


def test_settings_are_listed_with_the_defaults_that_their_parents_give() -> None:
    listed = settings(Root)
    assert list(listed)[:4] == ["name", "middle.inner.size", "middle.inner.rate", "middle.inner.on"]
    assert listed["middle.inner.size"].default == 8
    assert listed["middle.inner.size"].help == "How large."


def test_settings_survive_json() -> None:
    config = change("middle.inner.size=32", "middle.span=0.2,0.5", "colour=blue", "limit=7")
    assert from_dict(Root, json.loads(json.dumps(to_dict(config)))) == config


def test_what_json_lacks_takes_the_parents_default() -> None:
    read = from_dict(Root, {"name": "x", "middle": {"inner": {"rate": 0.5}}})
    assert read.middle.inner == Inner(size=8, rate=0.5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "kindd": "a"}, "unknown setting 'kindd'"),
        ({"name": "x", "middle": {"outer": {"size": 1}}}, "unknown setting 'middle.outer.size'"),
        ({"name": "x", "middle": 3}, "'middle' is a group of settings"),
        ({"name": "x", "middle": {"inner": {"size": 0}}}, "middle.inner.size = 0 is not allowed"),
        ({"kind": "a"}, "name is missing: text"),
    ],
)
def test_json_of_other_settings_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict(Root, data)


def test_a_setting_that_is_gone_is_passed_over_in_what_an_older_version_wrote() -> None:
    config = RunConfig(task="reach")
    written = to_dict(config)
    written["actors"]["wait_seconds"] = 1.0
    assert from_dict(RunConfig, written) == config
