"""When a policy is out of its depth: what is unlike normal pictures is strange, and each evidence stops by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faulty_worlds import KINDS, FaultyWorld

import sim
from deploy.robot.calibration import agreement, calibrated, familiarity, held
from deploy.robot.episodes import StudentEpisode, episodes_in
from deploy.robot.graph import StudentStep
from deploy.robot.runtime import load
from deploy.robot.runtime.depth import GRIPPER, Depth, disagreement
from deploy.robot.runtime.familiar import Familiar
from deploy.robot.runtime.golden import read_trace
from deploy.robot.runtime.kinematics import joints_at
from deploy.runs.acting import load_policy
from deploy.runs.policy_source import PRETRAINED, find_policy

LEAST_AUROC = {"blocked": 0.7, "shifted": 0.7, "swapped": 0.7, "frozen": 0.7, "object": 0.5}
"""A thing that the gripper carries looks like much else that is carried."""

CALIBRATING, JUDGED, FAULTY = 60, 60, 40


def test_what_is_unlike_the_familiar_is_strange(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    mixing = draw.normal(size=(8, 8))
    normal = (draw.normal(size=(2000, 8)) @ mixing + 3).astype(np.float32)
    familiar = Familiar.of(normal)
    assert familiar.strangeness(normal).mean() == pytest.approx(1.0, rel=0.15)
    assert familiar.strangeness(normal[0] + 100) > 50
    familiar.write(tmp_path)
    assert np.array_equal(Familiar.read(tmp_path).strangeness(normal), familiar.strangeness(normal))


def test_pictures_that_are_strange_for_three_steps_end_a_run(made: Path) -> None:
    policy, trace = load(made), read_trace(made)
    loose = replace(policy.contract.agreement, threshold=1e9)
    calm = replace(policy.contract.surprise, threshold=1e9)
    contract = replace(policy.contract, agreement=loose, surprise=calm)
    joints = joints_at((0.5, 0.0, 0.15))

    def looked(threshold: float) -> list[str | None]:
        strangeness = replace(contract.strangeness, threshold=threshold)
        depth = Depth(replace(contract, strangeness=strangeness), policy.familiar)
        policy.reset()
        given = zip(trace["image"][:8], trace["proprioception"][:8], strict=True)
        return [depth.look(policy.infer(image, own), joints) for image, own in given]

    assert looked(1e9) == [None] * 8
    assert [reason is not None for reason in looked(0.0)] == [False] * 5 + [True] * 3
    assert str(looked(0.0)[5]).startswith("strangeness: for 3 steps the picture has been unlike normal ones, now ")


@pytest.mark.parametrize("what", ["surprise", "embed", "state", "joints"])
def test_what_is_no_number_is_out_of_its_depth(made: Path, what: str) -> None:
    policy, trace = load(made), read_trace(made)
    step, joints = policy.infer(trace["image"][0], trace["proprioception"][0]), list(joints_at((0.5, 0.0, 0.15)))
    terms = policy.contract
    contract = replace(
        terms,
        surprise=replace(terms.surprise, threshold=1e9),
        agreement=replace(terms.agreement, threshold=1e9),
        strangeness=replace(terms.strangeness, threshold=1e9),
    )
    if what == "joints":
        joints[0] = float("nan")
    else:
        value = getattr(step, what)
        step = replace(step, **{what: float("nan") if what == "surprise" else np.full_like(value, np.nan)})
    depth = Depth(contract, policy.familiar)
    looked = [depth.look(step, joints) for _ in range(6)]
    kind = {"surprise": "surprise", "embed": "strangeness"}.get(what, "disagreement")
    assert looked[:5] == [None] * 5
    assert str(looked[5]).startswith(f"{kind}: ")


def test_a_familiar_file_that_is_none_is_one_line(bundle: Path) -> None:
    (bundle / "familiar.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"familiar\.npz: was changed since the bundle was made"):
        load(bundle)
    with pytest.raises(ValueError, match=r"familiar\.npz: cannot be read"):
        Familiar.read(bundle)


@pytest.mark.long
@pytest.mark.parametrize("task", PRETRAINED)
def test_faults_are_told_from_normal_episodes(task: str, tmp_path: Path) -> None:
    """How well, and at what price: `pytest -m long -s tests/deploy/robot/test_depth.py` prints it."""
    source = find_policy(f"pretrained/{task}")
    step, config = StudentStep(load_policy(source), None), source.config
    rate, names = config.evaluated_sim.control_hz, step.spec.state_names
    world = FaultyWorld(sim.make_env(task, config.evaluated_sim, domain="train", views=1), tmp_path)
    normal = list(episodes_in(step, world, seed=80_001, count=CALIBRATING))
    judged = list(episodes_in(step, world, seed=80_002, count=JUDGED))
    axes = [names.index(name) for name in GRIPPER]
    surprise = calibrated(
        [each.trace["surprise"] for each in normal], [each.trace["surprise"] for each in judged], rate
    )
    apart = agreement(normal, judged, axes, rate)
    familiar, strangeness = familiarity(normal, judged, rate)

    def level(each: StudentEpisode) -> float:
        """Above 1 a run ends, or the gate lets no picture pass."""
        read, measured = each.trace["state"][:, axes].tolist(), each.gripper_m.tolist()
        away = [disagreement(apart, tuple(a), tuple(b)) for a, b in zip(read, measured, strict=True)]
        image, repeats = each.trace["image"], np.zeros(len(read))
        for index in range(1, len(image)):
            repeats[index] = repeats[index - 1] + 1 if np.array_equal(image[index], image[index - 1]) else 0
        parts = [
            each.trace["surprise"] / surprise.threshold,
            np.array(away) / apart.threshold,
            familiar.strangeness(each.trace["embed"]) / strangeness.threshold,
            repeats / 3.0,
        ]
        return held(np.max(parts, axis=0).astype(np.float32))

    usual = np.array([level(each) for each in judged])
    hours = sum(len(each.trace["reset"]) for each in judged) / rate / 3600
    print(
        f"\n{task}: {(usual > 1).sum() / hours:.1f} false stops an hour ({(usual > 1).sum()} of {len(usual)})", end=""
    )
    for index, kind in enumerate(KINDS):
        world.kind = kind
        found = np.array([level(each) for each in episodes_in(step, world, seed=80_003 + index, count=FAULTY)])
        auroc = (found[:, None] > usual).mean() + 0.5 * (found[:, None] == usual).mean()
        print(f"; {kind} {auroc:.3f} ({100 * (found > 1).mean():.0f} % stopped)", end="")
        assert auroc > LEAST_AUROC[kind]
    world.close()
