"""Every dataclass of settings of every package refuses by itself what cannot be, however it is made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest

from deploy.settings.config import OPTIONS, RunConfig
from deploy.settings.overrides import Setting, settings
from deploy.settings.values import choices

KEYS = settings(RunConfig)


def owner(key: str) -> Any:
    """The object whose field it is, with all defaults."""
    found: Any = RunConfig(task="reach")
    for name in key.split(".")[:-1]:
        found = getattr(found, name)
    return found


def impossible(setting: Setting) -> Iterator[Any]:
    hint, value = setting.hint, setting.default
    yield from (object(), {}, [1], math.nan, b"x")
    if choices(hint):
        yield from ("another", 3, None)
    elif isinstance(value, bool):
        yield from ("true", 1, None)
    elif isinstance(value, int | float):
        yield from ("5", True, None, math.inf)
        yield from (setting.minimum - 1,) if setting.minimum is not None else ()
        yield from (setting.maximum + 1,) if setting.maximum is not None else ()
    elif value == ():  # of words, as many as one likes
        yield from ("5", (5,), None)
    elif isinstance(value, tuple):
        yield from ((), (1.0,) * 100, "5", ("5",) * len(value))
        if setting.minimum is not None:
            yield (type(value[0])(setting.minimum - 1), *value[1:])
        if setting.maximum is not None:
            yield (*value[:-1], type(value[0])(setting.maximum + 1))
    elif isinstance(value, str):
        yield from (5, None)


@pytest.mark.parametrize("key", KEYS)
def test_what_cannot_be_is_refused_where_it_is_made(key: str) -> None:
    config, name = owner(key), key.rpartition(".")[2]
    for value in impossible(KEYS[key]):
        with pytest.raises(ValueError, match=name):
            dataclasses.replace(config, **{name: value})


def test_a_word_that_is_no_setting_is_refused_where_it_is_made() -> None:
    for made in {type(owner(key)) for key in KEYS}:
        with pytest.raises(ValueError, match="sise"):
            made(sise=3)


def test_whole_numbers_and_waiting_times_have_an_upper_limit() -> None:
    """A size without one takes all memory; a time without one is more than a clock can wait."""
    for key, setting in KEYS.items():
        if isinstance(setting.default, bool) or get_origin(setting.hint) is tuple or str in get_args(setting.hint):
            continue
        if isinstance(setting.default, int) or key.endswith("_seconds"):
            assert setting.minimum is not None, key
            assert setting.maximum is not None, key


def test_every_default_and_both_ends_of_its_limits_can_be_written() -> None:
    for key, setting in KEYS.items():
        if key in OPTIONS:
            continue
        assert setting.convert(setting.default) == setting.default, key
        if isinstance(setting.default, int | float) and not isinstance(setting.default, bool):
            for end in (setting.minimum, setting.maximum):
                assert end is None or setting.read(str(end)) == end, key
