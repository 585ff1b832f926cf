"""What two settings differ by, seed by seed, and what chance does: success over tasks and seeds together.

A seed's result is one number, its success in held-out visuals: 100 episodes of one policy are no 100 policies. Results
of one task and one seed are a pair; whether pairs differ is told from chance by turning the signs of the differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test, trim_mean

from deploy.experiments.compared_runs import Group
from deploy.reporting.paired import holm
from deploy.runs.results import by_sight

RESAMPLES = 10_000
"""Of a bootstrap; also the most of a permutation test, which is exact where there are no more."""

BOOTSTRAP_SEED = 0

Key = tuple[str, int]
"""A task and a seed."""


@dataclass(frozen=True)
class Standing:
    """A label's results over all of its tasks and seeds.

    Attributes:
        label: of its groups.
        tasks: how many.
        results: how many finished runs.
        iqm: interquartile mean of their success.
        interval: 95 %, from a bootstrap within each task.
    """

    label: str
    tasks: int
    results: int
    iqm: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """A label's success less the reference's.

    Attributes:
        label: of its groups.
        task: of the pairs; None: all of them together.
        pairs: runs of one task and seed in both.
        mean: of the differences.
        interval: 95 %, from a bootstrap of the pairs within each task.
        p: two-sided, of the permutation test; with n pairs never below 2 / 2^n.
        corrected: after Holm, for the number of labels.
    """

    label: str
    task: str | None
    pairs: int
    mean: float
    interval: tuple[float, float]
    p: float
    corrected: float


def held_out(group: Group) -> dict[Key, float]:
    """Success of each finished run from images in held-out visuals; none of methods that see none."""
    found = {}
    for run in group.runs:
        result = by_sight(run.report.headline())[-1] if run.report is not None else None
        if result is not None:
            found[group.task, run.seed] = result.success
    return found


def by_label(groups: Sequence[Group]) -> dict[str, dict[Key, float]]:
    """Results of each label, whatever the task; labels without any are left out."""
    found: dict[str, dict[Key, float]] = {}
    for group in groups:
        found.setdefault(group.label, {}).update(held_out(group))
    return {label: results for label, results in found.items() if results}


def standings(groups: Sequence[Group]) -> list[Standing]:
    """One of each label with results, in the groups' order."""
    found = []
    for label, results in by_label(groups).items():
        strata = _strata(results)
        iqm = float(trim_mean(list(results.values()), 0.25))
        found.append(Standing(label, len(strata), len(results), iqm, _bootstrap(strata)))
    return found


def differences(groups: Sequence[Group]) -> list[Difference]:
    """Every other label against the first one: by task, then, where there are several tasks, all together.

    P-values are corrected within a task.
    """
    every = by_label(groups)
    if len(every) < 2:
        return []
    reference = next(iter(every))
    tasks: list[str | None] = [*dict.fromkeys(task for task, _ in every[reference])]
    found = []
    for task in [*tasks, None] if len(tasks) > 1 else tasks:
        compared = []
        for label in [label for label in every if label != reference]:
            shared = _paired(_of(task, every[label]), _of(task, every[reference]))
            if shared:
                compared.append((label, shared))
        p_values = [sign_flip_test(list(shared.values())) for _, shared in compared]
        for (label, shared), p, corrected in zip(compared, p_values, holm(p_values), strict=True):
            mean = float(np.mean(list(shared.values())))
            interval = _bootstrap(_strata(shared), trimmed=0.0)
            found.append(Difference(label, task, len(shared), mean, interval, p, corrected))
    return found


def _of(task: str | None, results: Mapping[Key, float]) -> dict[Key, float]:
    return {key: value for key, value in results.items() if task in (None, key[0])}


def _paired(results: Mapping[Key, float], reference: Mapping[Key, float]) -> dict[Key, float]:
    """Differences of the same task and seed; where no seed is shared, of a task's seeds in their order."""
    if any(key in reference for key in results):
        return {key: results[key] - reference[key] for key in results if key in reference}
    found = {}
    for task in dict.fromkeys(task for task, _ in results):
        mine, theirs = (sorted(key for key in of if key[0] == task) for of in (results, reference))
        found.update({key: results[key] - reference[other] for key, other in zip(mine, theirs, strict=False)})
    return found


def sign_flip_test(pairs: Sequence[float]) -> float:
    """How often differences of random signs have a mean as far from 0.

    Returns:
        The two-sided p-value; exact for up to 13 pairs.
    """
    if not np.any(pairs):
        return 1.0
    sample = np.asarray(pairs, float)
    tried = permutation_test(
        (sample, np.zeros_like(sample)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    return float(tried.pvalue)


def _strata(results: Mapping[Key, float]) -> list[list[float]]:
    by_task: dict[str, list[float]] = {}
    for (task, _), value in results.items():
        by_task.setdefault(task, []).append(value)
    return list(by_task.values())


def _bootstrap(strata: Sequence[Sequence[float]], trimmed: float = 0.25) -> tuple[float, float]:
    """95 % interval of the mean, less so much at both ends, of all strata; each is drawn from by itself.

    Source: R. Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2021.
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = [rng.choice(np.asarray(stratum, float), (RESAMPLES, len(stratum))) for stratum in strata]
    low, high = np.quantile(trim_mean(np.concatenate(drawn, axis=1), trimmed, axis=1), (0.025, 0.975))
    return float(low), float(high)
