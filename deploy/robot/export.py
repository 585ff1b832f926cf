"""`twist export`: a bundle out of a trained policy.

NAME.yaml  NAME_initial_values.safetensors   as LEAPP 1.3 describes a policy
policy.onnx                                  one step, its latent state as inputs and outputs
contract.json                                what it sees and does, how late, when it is out of its depth
familiar.npz                                 what normal pictures are like to the encoder
golden_trace.npz                             whole episodes, to be repeated by `verify`
MODEL_CARD.md                                success by domain and factor
twist_runtime/                               what runs it, with numpy and onnxruntime alone
manifest.json                                hashes of all of these
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import deploy.robot.runtime
from deploy.errors import UserError, user_errors
from deploy.reporting.factors import FactorsReport, read_factors
from deploy.robot.calibration import familiarity
from deploy.robot.episodes import StudentEpisode, joined, student_episodes
from deploy.robot.graph import StudentStep, export_graph
from deploy.robot.leapp_description import write_description
from deploy.robot.model_card import model_card
from deploy.robot.runtime.alignment_file import ALIGNMENT, PAGE
from deploy.robot.runtime.contract import CONTRACT, Contract, write_contract
from deploy.robot.runtime.golden import GOLDEN, TOLERANCE, compare
from deploy.robot.runtime.manifest import MANIFEST, Manifest, write_manifest
from deploy.robot.runtime.policy import load
from deploy.robot.runtime.proprioception import MEASURED
from deploy.robot.runtime.qualification import QUALIFICATION
from deploy.robot.terms import contract_of, origin_of
from deploy.runs.acting import load_critic, load_policy
from deploy.runs.atomic import replace_directory
from deploy.runs.directory import read_config, write_config
from deploy.runs.policy_source import PolicySource
from deploy.runs.report import Report, read_report
from learner.methods import METHODS
from learner.methods.twist import TwistPolicy

RUNTIME = "twist_runtime"
CARD = "MODEL_CARD.md"

_BESIDE = (MANIFEST, QUALIFICATION, ALIGNMENT, PAGE)
"""What is replaced with a bundle, as it holds for that one alone."""

GOLDEN_STEPS = 1_000
"""At least; whole episodes."""

CALIBRATION_SEED, JUDGED_SEED = 70_001, 70_002
"""Of evaluations (`sim.seeds`) that nobody else makes."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    contract: Contract
    manifest: Manifest
    bytes: int


def export(
    source: PolicySource,
    target: Path,
    *,
    episodes: int,
    golden_steps: int = GOLDEN_STEPS,
    report: Report | None = None,
    adapted_from: str = "",
) -> Exported:
    """Writes the bundle of a policy.

    Args:
        source: a run or a packed policy.
        target: a new or an empty directory, or a bundle, which is replaced with its qualification and alignment.
        episodes: normal ones to calibrate surprise by, and as many to count false stops in.
        golden_steps: least length of the golden trace.
        report: of the run; None: as it lies beside the weights.
        adapted_from: see `contract.Origin`.

    Raises:
        UserError: the policy cannot be read, the target holds something else, or onnxruntime does not compute what
            PyTorch does; the target is as it was then.
    """
    require_replaceable(target)
    networks = _exportable(source)
    step = StudentStep(networks, load_critic(source, networks))
    with user_errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        bundle = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        contract, golden = _write(source, step, bundle, (episodes, golden_steps), report, adapted_from)
        manifest = write_manifest(bundle)
        found = compare(load(bundle), golden)
        if not found.passed:
            raise UserError(
                f"{source.path}: onnxruntime and PyTorch differ by {found.largest:.1e} over {found.steps} steps; "
                f"allowed is {TOLERANCE:.0e}"
            )
        with user_errors():
            replace_directory(target, bundle)
    finally:
        torch.set_num_threads(threads)
        shutil.rmtree(bundle, ignore_errors=True)
    return Exported(contract, manifest, sum(path.stat().st_size for path in target.rglob("*") if path.is_file()))


def _exportable(source: PolicySource) -> TwistPolicy:
    """The policy of a source.

    Raises:
        UserError: its method has no bundles, it is given what no arm measures, or nothing has taught it to tell a state
            from one image, by which a robot is stopped.
    """
    networks = load_policy(source)
    if not networks.method.exports or not isinstance(networks, TwistPolicy):
        exported = " and ".join(method.name for method in METHODS.values() if method.exports)
        raise UserError(f"{source.path}: is of method {networks.method.name}; bundles are of {exported}")
    if source.config.learner.student.readout_scale == 0.0:
        raise UserError(
            f"{source.path}: was trained with learner.student.readout_scale=0, so that it cannot tell where an image "
            "shows the gripper, by which a bundle stops a robot; it must be above 0"
        )
    unknown = set(networks.student.proprioception.names) - set(MEASURED)
    if unknown:
        raise UserError(
            f"{source.path}: learner.proprioception has {', '.join(sorted(unknown))}, which no arm here measures; "
            f"bundles may have {', '.join(MEASURED)}"
        )
    return networks


def _write(
    source: PolicySource,
    step: StudentStep,
    bundle: Path,
    lengths: tuple[int, int],
    report: Report | None,
    adapted_from: str,
) -> tuple[Contract, dict[str, np.ndarray]]:
    config, (episodes, golden_steps) = source.config, lengths
    normal = list(student_episodes(step, config, domain="train", seed=CALIBRATION_SEED, count=episodes))
    judged = list(student_episodes(step, config, domain="train", seed=JUDGED_SEED, count=episodes))
    familiar, strangeness = familiarity(normal, judged, config.evaluated_sim.control_hz)
    familiar.write(bundle)
    contract = contract_of(config, step, origin_of(source, adapted_from), normal, judged, strangeness)
    golden = joined(_golden(step, source, normal, golden_steps))
    export_graph(step, bundle / contract.model.file)
    with (bundle / GOLDEN).open("wb") as opened:
        np.savez_compressed(opened, **golden)  # type: ignore[arg-type]
    write_contract(bundle, contract)
    document = read_config(source.path)
    assert document is not None
    # Not the address of somebody's server.
    write_config(bundle, replace(document, config={**document.config, "redis_url": None}))
    write_description(bundle, contract)
    factors = read_factors(source.path / "factors.json") if (source.path / "factors.json").is_file() else None
    card = model_card(contract, report or _report(source.path), _of_these_weights(factors, contract))
    (bundle / CARD).write_text(card, encoding="utf-8")
    runtime = Path(deploy.robot.runtime.__file__).parent
    shutil.copytree(runtime, bundle / RUNTIME, ignore=lambda _, names: [n for n in names if not n.endswith(".py")])
    return contract, golden


def _golden(step: StudentStep, source: PolicySource, normal: list[StudentEpisode], least: int) -> list[StudentEpisode]:
    """The first of the episodes that together have so many steps; more are driven where they are too few."""
    chosen, steps = list[StudentEpisode](), 0
    more: Callable[[], list[StudentEpisode]] = lambda: list(  # noqa: E731
        student_episodes(step, source.config, domain="train", seed=CALIBRATION_SEED, count=2 * len(chosen) + 1)
    )
    pool = normal
    while steps < least:
        if len(chosen) == len(pool):
            pool = more()
        chosen.append(pool[len(chosen)])
        steps += len(chosen[-1].trace["reset"])
    return chosen


def _report(path: Path) -> Report | None:
    file = path / "report.json"
    return read_report(file) if file.is_file() else None


def _of_these_weights(factors: FactorsReport | None, contract: Contract) -> FactorsReport | None:
    return factors if factors is not None and factors.env_steps == contract.origin.step else None


def require_replaceable(target: Path) -> None:
    """Refuses a place where something lies that is neither a bundle's nor of `qualify` or `align`.

    Raises:
        UserError: naming what is in the way.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file, a directory is wanted")
    if not target.is_dir() or not any(target.iterdir()):
        return
    listed = _listed(target / MANIFEST)
    if listed is None:
        raise UserError(f"{target}: holds {min(os.listdir(target))} and is no bundle; give another directory")
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if path.is_file() and "__pycache__" not in path.parts and name not in {*listed, *_BESIDE}:
            raise UserError(f"{target}: holds {name} besides its bundle, which would be lost; give another directory")


def _listed(manifest: Path) -> set[str] | None:
    """The files that a bundle's manifest names; None if it is none."""
    try:
        document = json.loads(manifest.read_bytes())
        files = {str(name): entry["sha256"] for name, entry in document["files"].items() if "bytes" in entry}
        return set(files) if CONTRACT in files and isinstance(document["format"], int) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
