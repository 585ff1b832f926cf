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

A variant's setting is laid over one of the same key in `settings`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import UserError
from deploy.settings.config import RunConfig
from deploy.settings.overrides import flatten, nearest, parse_assignments
from deploy.settings.presets import resolve

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = ("name", "tasks", "seeds", "settings", "preset", "mode", "variants")
MODES = ("local", "debug")
"""A sweep's runs are processes of this machine."""

_LIST_OF_TEXTS = 'a list of texts, like ["training.env_steps=20000"]'


@dataclass(frozen=True)
class PlannedRun:
    """One training of a sweep.

    Attributes:
        variant: its name in the file.
        slug: the variant's name as a directory.
        config: resolved settings.
        arguments: of `twist train` behind task, seed and directory.
    """

    variant: str
    slug: str
    config: RunConfig
    arguments: tuple[str, ...]

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
        where = ["--seed", str(self.config.seed), "--run-dir", str(self.directory(out))]
        return ["train", self.config.task, *where, *self.arguments]


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
    tasks = _list_of(document, "tasks", str, 'a list of tasks, like ["reach"]')
    seeds = _list_of(document, "seeds", int, "a list of whole numbers, like [0, 1]")
    common = _list_of(document, "settings", str, _LIST_OF_TEXTS, may_be_empty=True) if "settings" in document else []
    mode = _text(document, "mode")
    if mode not in (None, *MODES):
        raise _refused(document, "mode", f"one of {', '.join(MODES)}")
    preset = _text(document, "preset")
    variants = _variants(document)
    options = [*(["--mode", mode] if mode else []), *(["--preset", preset] if preset else [])]
    planned = []
    for seed in seeds:
        for task in tasks:
            for slug, (variant, own) in variants.items():
                try:
                    merged = _merged(common, own)
                    config = resolve(task, preset, merged, mode=mode, seed=seed)
                except (UserError, ValueError) as error:
                    raise UserError(f"variant '{variant}', task {task}, seed {seed}: {error}") from error
                planned.append(PlannedRun(variant, slug, config, (*options, *merged)))
    _refuse_twins(planned)
    return Sweep(name, _slug(name), {slug: variant for slug, (variant, _) in variants.items()}, tuple(planned))


def _variants(document: Mapping[str, Any]) -> dict[str, tuple[str, list[str]]]:
    """Slug to (name, settings)."""
    table = document.get("variants", {"default": []})
    if not isinstance(table, dict) or not table:
        raise _refused(document, "variants", f"a table, each name with {_LIST_OF_TEXTS}")
    found: dict[str, tuple[str, list[str]]] = {}
    for name in table:
        slug = _slug(name)
        if not slug:
            raise UserError(f"variant '{name}': a name needs a letter or a digit, as it also names a directory")
        if slug in found:
            raise UserError(f"variants '{found[slug][0]}' and '{name}' would both have the directory {slug}")
        settings = _list_of(table, name, str, _LIST_OF_TEXTS, may_be_empty=True, called=f"variant '{name}'")
        found[slug] = name, settings
    return found


def _merged(common: list[str], own: list[str]) -> list[str]:
    return [f"{key}={value}" for key, value in (parse_assignments(common) | parse_assignments(own)).items()]


def _refuse_twins(planned: list[PlannedRun]) -> None:
    """Two variants with the same settings are a slip of the pen; to run the same settings again, there are seeds.

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
