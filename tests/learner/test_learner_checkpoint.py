from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, TwistLearner, same_bits, snapshot, tiny_batch, tiny_config, tiny_learner

from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.methods.twist import TwistPolicy

Numbers = list[dict[str, float]]


def train(learner: TwistLearner, start: int, updates: int) -> Numbers:
    """Updates of both kinds on batches numbered from `start`."""
    metrics = []
    for k in range(start, start + updates):
        for step in (learner.teacher_update(tiny_batch(k, image=False)), learner.student_update(tiny_batch(k))):
            metrics.append({name: value.item() for name, value in step.items()})
    return metrics


def through_files(learner: TwistLearner, directory: Path) -> LearnerState:
    """Captured, written and read again, the document by way of JSON."""
    state = checkpoint.capture(learner)
    checkpoint.write(state, directory)
    return checkpoint.read(directory, json.loads(json.dumps(state.document)))


def everything(learner: TwistLearner) -> list[torch.Tensor]:
    moments = [
        optimiser.adam.state[parameter][name]
        for optimiser in learner.optimisers.values()
        for parameter in optimiser.parameters
        for name in sorted(optimiser.adam.state[parameter])
    ]
    states = [generator.get_state() for generator in learner.generators]
    return snapshot(*learner.modules.values()) + moments + states


@pytest.mark.parametrize(
    ("dynamics", "precision"),
    [("tied", "float32"), ("teacher_init", "float32"), ("scratch", "float32"), ("tied", "bfloat16")],
)
def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(tmp_path: Path, dynamics: str, precision: str) -> None:
    settings: dict[str, Any] = {"student": {"dynamics": dynamics, "refresh_updates": 2}, "precision": precision}
    uninterrupted = tiny_learner(0, **settings)
    train(uninterrupted, 0, 4)
    state = through_files(uninterrupted, tmp_path)
    resumed = tiny_learner(77, **settings)
    checkpoint.restore(resumed, state)

    assert train(resumed, 4, 3) == train(uninterrupted, 4, 3)
    assert same_bits(everything(resumed), everything(uninterrupted))
    assert np.array_equal(resumed.publish()[0], uninterrupted.publish()[0])


def test_counters_go_on(tmp_path: Path) -> None:
    learner = tiny_learner(student={"warm_up_updates": 3})
    train(learner, 0, 2)
    learner.teacher_update(tiny_batch(2, image=False))
    resumed = tiny_learner(1, student={"warm_up_updates": 3})
    checkpoint.restore(resumed, through_files(learner, tmp_path))
    assert tuple(resumed.updates.values()) == (3, 2)
    acting = TwistPolicy(SPEC, resumed.config)
    acting.load(*resumed.publish())
    assert (acting.version, acting.driver("image")) == (5, None)
    resumed.student_update(tiny_batch())
    acting.load(*resumed.publish())
    assert (acting.version, acting.driver("image")) == (6, "student")


def test_a_student_that_resumes_between_two_refreshes_looks_at_the_newest_teacher_at_once(tmp_path: Path) -> None:
    """The stale copy of the teacher is not kept in a checkpoint: the teacher's own updates are what must not differ."""
    settings: dict[str, Any] = {"student": {"dynamics": "tied", "refresh_updates": 100}}
    learner = tiny_learner(0, **settings)
    train(learner, 0, 3)
    assert not same_bits(snapshot(learner.student.rssm.dynamics), snapshot(learner.teacher.rssm.dynamics))
    resumed = tiny_learner(1, **settings)
    checkpoint.restore(resumed, through_files(learner, tmp_path))
    assert same_bits(snapshot(resumed.student.rssm.dynamics), snapshot(resumed.teacher.rssm.dynamics))
    batch = tiny_batch(9, image=False)
    ours, theirs = learner.teacher_update(batch), resumed.teacher_update(batch)
    assert {k: v.item() for k, v in ours.items()} == {k: v.item() for k, v in theirs.items()}


def test_a_learner_that_has_learnt_nothing_can_be_restored_too(tmp_path: Path) -> None:
    learner, resumed = tiny_learner(0), tiny_learner(1)
    checkpoint.restore(resumed, through_files(learner, tmp_path))
    assert same_bits(everything(resumed), everything(learner))
    assert train(resumed, 0, 1) == train(learner, 0, 1)


def test_a_captured_state_does_not_move_with_the_learner() -> None:
    learner = tiny_learner()
    train(learner, 0, 1)
    state = checkpoint.capture(learner)
    kept = {name: array.copy() for name, array in (state.weights | state.training).items()}
    train(learner, 1, 1)
    assert all(np.array_equal(array, kept[name]) for name, array in (state.weights | state.training).items())


def test_weights_alone_are_enough_to_act(tmp_path: Path) -> None:
    learner = tiny_learner(student={"warm_up_updates": 2})
    train(learner, 0, 2)
    state = through_files(learner, tmp_path)
    (tmp_path / checkpoint.TRAINING).unlink()
    acting = TwistPolicy(SPEC, learner.config)
    checkpoint.load_acting(acting, checkpoint.read_weights(tmp_path), state.document)
    for ours, theirs in ((acting.teacher, learner.teacher), (acting.policy, learner.policy)):
        assert same_bits(snapshot(ours), snapshot(theirs))
    assert same_bits(snapshot(acting.student), snapshot(learner.student_average))
    assert (acting.version, acting.driver("image")) == (4, "student")


def test_files_hold_arrays_and_no_pickle(tmp_path: Path) -> None:
    learner = tiny_learner()
    train(learner, 0, 1)
    through_files(learner, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"weights.safetensors", "training.safetensors"}
    for path in tmp_path.iterdir():
        header = int.from_bytes(path.read_bytes()[:8], "little")
        assert json.loads(path.read_bytes()[8 : 8 + header])


def restored_from(state: LearnerState, **changes: Any) -> None:
    checkpoint.restore(tiny_learner(1), dataclasses.replace(state, **changes))


@pytest.fixture
def state() -> LearnerState:
    learner = tiny_learner()
    train(learner, 0, 1)
    return checkpoint.capture(learner)


def without(arrays: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    assert set(names) <= set(arrays)
    return {name: array for name, array in arrays.items() if name not in names}


@pytest.mark.parametrize("version", [1, 4, None])
def test_another_format_is_refused(state: LearnerState, version: int | None) -> None:
    with pytest.raises(ValueError, match=f"learner state has format {version}; this version reads formats 2 and 3"):
        restored_from(state, document=state.document | {"format": version})
    with pytest.raises(ValueError, match=f"has format {version}"):
        checkpoint.load_acting(TwistPolicy(SPEC, tiny_config()), state.weights, state.document | {"format": version})


def test_another_observation_spec_is_refused_by_the_field_that_differs(state: LearnerState) -> None:
    spec = dataclasses.replace(SPEC, state_high=(1.0, 0.75))
    with pytest.raises(ValueError, match=r"state_high.*0\.75"):
        restored_from(state, document=state.document | {"spec": spec.to_json()})


def test_a_missing_weight_is_refused_by_name(state: LearnerState) -> None:
    name = "teacher/rssm.cell.linear.weight"
    with pytest.raises(ValueError, match=r"checkpoint's teacher/rssm\.cell\.linear\.weight is missing"):
        restored_from(state, weights=without(state.weights, name))
    with pytest.raises(ValueError, match=r"teacher/rssm\.cell\.linear\.weight is missing"):
        checkpoint.load_acting(TwistPolicy(SPEC, tiny_config()), without(state.weights, name), state.document)


def test_weights_of_another_size_are_refused_by_name(state: LearnerState) -> None:
    bigger = tiny_learner(rssm={"deter": 24})
    message = r"checkpoint's teacher/rssm\.cell\.linear\.weight has shape \(48, 32\); this model has \(72, 40\)"
    with pytest.raises(ValueError, match=message):
        checkpoint.restore(bigger, state)


def test_missing_random_state_is_refused_by_name(state: LearnerState) -> None:
    with pytest.raises(ValueError, match=r"checkpoint's generator/1 is missing"):
        restored_from(state, training=without(state.training, "generator/1"))


def test_a_missing_moment_is_refused_by_name(state: LearnerState) -> None:
    with pytest.raises(ValueError, match=r"checkpoint's policy/0/exp_avg_sq is missing"):
        restored_from(state, training=without(state.training, "policy/0/exp_avg_sq"))


def test_a_moment_of_another_size_is_refused_by_name(state: LearnerState) -> None:
    wrong = state.training | {"student/0/exp_avg": np.zeros((2, 2), np.float32)}
    with pytest.raises(ValueError, match=r"checkpoint's student/0/exp_avg has shape \(2, 2\)"):
        restored_from(state, training=wrong)


def test_moments_of_parameters_that_are_not_there_are_refused(state: LearnerState) -> None:
    """As from a student with dynamics of its own, where this one's are tied to the teacher's."""
    tied = tiny_learner(1, student={"dynamics": "tied"})
    last = len(tied.optimisers["student"].parameters)
    own = {name: array for name, array in state.training.items() if not name.startswith("student/")}
    own |= {f"student/{k}/{name}": np.zeros((), np.float32) for k in (last,) for name in ("step",)}
    own |= {f"student/0/{name}": state.training[f"student/0/{name}"] for name in ("step", "exp_avg", "exp_avg_sq")}
    with pytest.raises(ValueError, match=rf"a moment of student/{last}; this model has {last} parameters"):
        checkpoint.restore(tied, dataclasses.replace(state, training=own))


@pytest.mark.parametrize("owner", ["teacher", "policy", "critic", "student"])
def test_an_optimiser_that_was_at_work_and_left_nothing_is_refused(state: LearnerState, owner: str) -> None:
    names = [name for name in state.training if name.startswith(f"{owner}/")]
    with pytest.raises(ValueError, match=f"checkpoint's {owner}/0/step is missing"):
        restored_from(state, training=without(state.training, *names))


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    checkpoint.write(checkpoint.capture(tiny_learner()), tmp_path)
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {
        checkpoint.WEIGHTS: 0o644,
        checkpoint.TRAINING: 0o644,
    }


def test_what_acts_is_captured_without_the_rest_and_acts_the_same(tmp_path: Path) -> None:
    learner = tiny_learner(0)
    train(learner, 0, 2)
    whole, acting = checkpoint.capture(learner), checkpoint.capture_acting(learner)
    assert {name.partition("/")[0] for name in acting.weights} == set(learner.method.acts)
    assert acting.training == {}
    part = checkpoint.acting_part(whole)
    assert part.weights.keys() == acting.weights.keys()
    assert all(np.array_equal(part.weights[name], acting.weights[name]) for name in acting.weights)
    assert part.document == acting.document == whole.document

    checkpoint.write_weights(acting, tmp_path)
    policies = [TwistPolicy(SPEC, tiny_config()) for _ in range(2)]
    checkpoint.load_acting(policies[0], checkpoint.read_weights(tmp_path), acting.document)
    checkpoint.load_acting(policies[1], whole.weights, whole.document)
    assert same_bits(snapshot(*policies[0].modules), snapshot(*policies[1].modules))
