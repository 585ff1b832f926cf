"""A sweep's file: the trainings of an experiment, all of them checked before the first is started.

    name = "ablations"                              # also the directory: runs/ablations
    tasks = ["reach"]
    seeds = [0, 1]
    settings = ["training.env_steps=20000"]         # of every run; may be left out
    preset = "debug"                                # as `twist train --preset`; may be left out
    mode = "local"                                  # as `twist train --mode`, local or debug; may be left out

    [variants]                                      # may be left out: one variant, "default"
    default = []
    "no imagination" = ["learner.student.imagination_scale=0"]
    again = { settings = [], seeds = [2, 3] }       # the same with seeds of its own: what chance does

A variant's setting is laid over one of the same key in `settings`. With

    teachers = ["runs/teachers/reach-0"]            # finished runs, by path, in place of tasks and preset

every run is a new student of one of these (`twist distil`), from its teacher and episodes; each task has one teacher.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deploy.errors import UserError
from deploy.runs.source import Source, distilled_config
from deploy.settings.config import RunConfig
from deploy.settings.overrides import flatten, nearest, parse_assignments
from deploy.settings.presets import resolve

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = ("name", "tasks", "teachers", "seeds", "settings", "preset", "mode", "variants")
MODES = ("local", "debug")
"""A sweep's runs are processes of this machine."""

_SEEDS = "a list of whole numbers, like [0, 1]"
_LIST_OF_TEXTS = 'a list of texts, like ["training.env_steps=20000"]'


@dataclass(frozen=True)
class PlannedRun:
    """One training of a sweep.

    Attributes:
        variant: its name in the file.
        slug: the variant's name as a directory.
        config: resolved settings.
        arguments: of the command behind task or teacher, seed and directory.
        teacher: the run whose teacher's student it trains; None: it trains a task.
    """

    variant: str
    slug: str
    config: RunConfig
    arguments: tuple[str, ...]
    teacher: str | None = None

    @property
    def name(self) -> str:
        """Names the run among all of the sweep: "default/reach-0"."""
        return f"{self.slug}/{self.config.task}-{self.config.seed}"

    def directory(self, out: Path) -> Path:
        """The run directory below the sweep's."""
        return out / self.name

    def log(self, out: Path) -> Path:
        """What the run says goes here: beside the variants, so that `OUT/*/*` is run directories and nothing else."""
        return out / f"{self.name.replace('/', '-')}.log"

    def command(self, out: Path) -> list[str]:
        """What to give to `twist`."""
        begin = ["train", self.config.task] if self.teacher is None else ["distil", self.teacher]
        where = "--run-dir" if self.teacher is None else "--out"
        return [*begin, "--seed", str(self.config.seed), where, str(self.directory(out)), *self.arguments]


@dataclass(frozen=True)
class Sweep:
    """A checked file.

    Attributes:
        slug: the sweep's name as a directory.
        variants: slug to name, in the file's order.
        runs: in the order in which they are started: all variants with the first seed, then with the next.
    """

    name: str
    slug: str
    variants: Mapping[str, str]
    runs: tuple[PlannedRun, ...]


def read_sweep(path: Path) -> Sweep:
    """Reads and checks a sweep's file.

    Raises:
        UserError: naming the file, the value and what is allowed.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: is not TOML: {error}") from error
    try:
        return _parse(document)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _parse(document: Mapping[str, Any]) -> Sweep:
    for key in document:
        if key not in KEYS:
            raise UserError(f"unknown key '{key}': did you mean {nearest(key, KEYS)}? There are {', '.join(KEYS)}")
    name = _text(document, "name")
    if not isinstance(name, str) or not _slug(name):
        raise _refused(document, "name", "a text with a letter or a digit in it, which also names the directory")
    mode = _text(document, "mode")
    if mode not in (None, *MODES):
        raise _refused(document, "mode", f"one of {', '.join(MODES)}")
    origins = _teachers(document, mode) if "teachers" in document else _tasks(document, mode)
    seeds = _list_of(document, "seeds", int, _SEEDS)
    common = _list_of(document, "settings", str, _LIST_OF_TEXTS, may_be_empty=True) if "settings" in document else []
    variants = _variants(document, seeds)
    planned = []
    for seed in dict.fromkeys(seed for variant in variants.values() for seed in variant.seeds):
        for origin in origins:
            for slug, variant in variants.items():
                if seed in variant.seeds:
                    planned.append(_planned(origin, slug, variant, seed, common))
    _refuse_twins(planned)
    return Sweep(name, _slug(name), {slug: variant.name for slug, variant in variants.items()}, tuple(planned))


@dataclass(frozen=True)
class _Origin:
    """What is trained, but for a variant's settings and the seed.

    Attributes:
        called: in an error.
        options: of the command.
        config: resolves settings, with a seed.
        teacher: see `PlannedRun`.
    """

    called: str
    options: tuple[str, ...]
    config: Callable[[list[str], int], RunConfig]
    teacher: str | None = None


def _tasks(document: Mapping[str, Any], mode: str | None) -> list[_Origin]:
    tasks = _list_of(document, "tasks", str, 'a list of tasks, like ["reach"]')
    preset = _text(document, "preset")
    options = (*(["--mode", mode] if mode else []), *(["--preset", preset] if preset else []))

    def config(task: str, assignments: list[str], seed: int) -> RunConfig:
        return resolve(task, preset, assignments, mode=mode, seed=seed)

    return [_Origin(f"task {task}", options, partial(config, task)) for task in tasks]


def _teachers(document: Mapping[str, Any], mode: str | None) -> list[_Origin]:
    for key in ("tasks", "preset"):
        if key in document:
            raise UserError(f"{key} = {document[key]!r} is not allowed beside teachers: each has its own")
    places = _list_of(document, "teachers", str, 'a list of finished runs, like ["runs/teachers/reach-0"]')

    def config(source: Source, assignments: list[str], seed: int) -> RunConfig:
        return distilled_config(source, assignments, mode=mode, seed=str(seed), redis_url=None, continued=False)

    origins: dict[str, _Origin] = {}
    for place in places:
        source = Source.open(Path(place), place)
        task = source.run.config.task
        if task in origins:
            raise UserError(f"teachers {origins[task].teacher} and {place} have one task, {task}: one for each task")
        options = tuple(["--mode", mode] if mode else [])
        origins[task] = _Origin(f"teacher {place}", options, partial(config, source), place)
    return list(origins.values())


def _planned(origin: _Origin, slug: str, variant: _Variant, seed: int, common: list[str]) -> PlannedRun:
    try:
        merged = _merged(common, variant.settings)
        config = origin.config(merged, seed)
    except (UserError, ValueError) as error:
        raise UserError(f"variant '{variant.name}', {origin.called}, seed {seed}: {error}") from error
    return PlannedRun(variant.name, slug, config, (*origin.options, *merged), origin.teacher)


@dataclass(frozen=True)
class _Variant:
    name: str
    settings: list[str]
    seeds: list[int]


def _variants(document: Mapping[str, Any], seeds: list[int]) -> dict[str, _Variant]:
    """By their slugs."""
    table = document.get("variants", {"default": []})
    if not isinstance(table, dict) or not table:
        raise _refused(document, "variants", f"a table, each name with {_LIST_OF_TEXTS}")
    found: dict[str, _Variant] = {}
    for name, given in table.items():
        slug = _slug(name)
        if not slug:
            raise UserError(f"variant '{name}': a name needs a letter or a digit, as it also names a directory")
        if slug in found:
            raise UserError(f"variants '{found[slug].name}' and '{name}' would both have the directory {slug}")
        own = given if isinstance(given, dict) else {"settings": given}
        for key in own:
            if key not in ("settings", "seeds"):
                raise UserError(f"variant '{name}': unknown key '{key}': there are settings, seeds")
        settings = _list_of(own, "settings", str, _LIST_OF_TEXTS, may_be_empty=True, called=f"variant '{name}'")
        of_its_own = _list_of(own, "seeds", int, _SEEDS, called=f"variant '{name}', seeds") if "seeds" in own else seeds
        found[slug] = _Variant(name, settings, of_its_own)
    return found


def _merged(common: list[str], own: list[str]) -> list[str]:
    return [f"{key}={value}" for key, value in (parse_assignments(common) | parse_assignments(own)).items()]


def _refuse_twins(planned: list[PlannedRun]) -> None:
    """Two variants with the same settings and seeds are a slip of the pen.

    Raises:
        UserError: naming the two.
    """
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for run in planned:
        by_variant.setdefault(run.variant, []).append(flatten(run.config))
    names = list(by_variant)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            if by_variant[name] == by_variant[other]:
                raise UserError(f"variants '{name}' and '{other}' have the same settings throughout: leave one out")


def _list_of(
    table: Mapping[str, Any],
    key: str,
    kind: type,
    allowed: str,
    *,
    may_be_empty: bool = False,
    called: str | None = None,
) -> list[Any]:
    """A list without repetitions, each element of this type."""
    values = table.get(key)
    right = isinstance(values, list) and all(type(value) is kind for value in values)
    if not right or not (values or may_be_empty):
        raise _refused(table, key, allowed, called)
    assert isinstance(values, list)
    for twice in _repeated(values):
        raise UserError(f"{called or key}: {twice} is given twice")
    return values


def _repeated(values: list[Any]) -> Iterator[Any]:
    yield from (value for index, value in enumerate(values) if value in values[:index])


def _text(document: Mapping[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise _refused(document, key, "a text")
    return value


def _refused(table: Mapping[str, Any], key: str, allowed: str, called: str | None = None) -> UserError:
    if key not in table:
        return UserError(f"{called or key} is missing: {allowed}")
    return UserError(f"{called or key} = {table[key]!r} is not allowed: {allowed}")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
