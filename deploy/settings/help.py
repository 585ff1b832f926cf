"""The settings as text for `twist train --help`, from the same field texts that the checks read."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from deploy.settings.config import DISTILLED, OPTIONS, RunConfig
from deploy.settings.overrides import Setting, settings
from deploy.settings.presets import MODE_PRESETS, PRESETS, TASK_PRESETS
from deploy.settings.values import show
from learner.methods import METHODS, SameAs

_WIDTH = 110


def describe_settings(prefix: str = "") -> str:
    """All settings that are written key=value, grouped, with default, presets, limits and meaning.

    Args:
        prefix: only settings whose key begins so, for example `sim.`.
    """
    groups: dict[str, list[Setting]] = {}
    for key, setting in settings(RunConfig).items():
        if key not in OPTIONS and not key.startswith(DISTILLED) and key.startswith(prefix):
            groups.setdefault(key.rpartition(".")[0], []).append(setting)
    return "\n".join(line for group, members in groups.items() for line in _group_lines(group, members))


def _group_lines(group: str, members: list[Setting]) -> list[str]:
    lines = ["", f"{group}:"]
    for setting in members:
        lines.append(f"  {setting.key}={show(setting.default)}")
        lines += textwrap.wrap(
            f"{setting.help.rstrip('.')} ({setting.allowed}{_presets_of(setting.key)})",
            width=_WIDTH,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
        )
    return lines


def _presets_of(key: str) -> str:
    """`; push: 200000, debug: 400, method oracle: 7` for a setting that presets and methods change."""
    modes = {f"mode {mode}": preset for mode, preset in MODE_PRESETS.items()}
    methods = {f"method {method.name}": method.lays for method in METHODS.values()}
    named: Mapping[str, Mapping[str, object]] = {**modes, **TASK_PRESETS, **PRESETS, **methods}
    values = [f"{name}: {_laid(preset[key])}" for name, preset in named.items() if key in preset]
    return "; " + ", ".join(values) if values else ""


def _laid(value: object) -> str:
    return f"as {value.key}" if isinstance(value, SameAs) else show(value)


def option_help(name: str) -> str:
    """The field text of one of the settings with an option of its own."""
    text = settings(RunConfig)[name].help.rstrip(".")
    return text.replace("%", "%%")  # argparse formats it
