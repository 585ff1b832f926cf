"""Every method keeps to the interface: it learns, is published and acts, is saved and goes on, and refuses the rest."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, Batch, config_of, same_bits, snapshot, tiny_batch

from learner import checkpoint
from learner.acting import ActingPolicy, acting_policy
from learner.config import LearnerConfig
from learner.learner import Learner
from learner.methods import DRIVERS, METHODS, PARTS, home, sees
from learner.methods.documents import method_of, updates_of
from learner.methods.method import Driver, Method, PartOutline
from learner.weight_shapes import acting_shapes
from replay.shards import RUN_KEYS

methods = pytest.mark.parametrize("method", METHODS)


def learner_of(method: str, seed: int = 0, **student: Any) -> Learner:
    return Learner(SPEC, config_of(method, **student), seed)


def batch_for(learner: Learner, name: str, seed: int = 0) -> Batch:
    (part,) = (part for part in learner.method.parts if part.name == name)
    return tiny_batch(seed, image=part.reads == "pairs")


def train(learner: Learner, updates: int, first: int = 0) -> list[dict[str, float]]:
    told = []
    for seed in range(first, first + updates):
        for name in learner.updates:
            metrics = learner.update(name, batch_for(learner, name, seed))
            told.append({key: value.item() for key, value in metrics.items()})
    return told


def weights(learner: Learner) -> list[torch.Tensor]:
    """Of all networks, slow copies and averages among them; no statistics of what they have seen."""
    return [x.detach().clone() for module in learner.modules.values() for x in module.parameters()]


def acted(policy: ActingPolicy, from_image: bool, explore: bool = False) -> np.ndarray:
    """[T, N, A], over the rows of a batch."""
    batch, count = tiny_batch(), len(tiny_batch()["state"])
    carry, actions = policy.initial(count), []
    for t in range(SPEC.chunk_length):
        image = batch["image"][:, t, 0] if from_image else None
        rows = np.full(count, from_image)
        action, carry = policy.step(carry, batch["state"][:, t], image, batch["is_first"][:, t], rows, explore)
        actions.append(action)
    return np.stack(actions)


@methods
def test_every_part_learns_what_it_trains_and_says_how(method: str) -> None:
    learner = learner_of(method)
    before = {name: snapshot(module) for name, module in learner.modules.items()}
    told = train(learner, 2)
    assert learner.updates == dict.fromkeys(learner.updates, 2)
    assert all(np.isfinite(list(metrics.values())).all() for metrics in told)
    assert all(any(key.startswith("loss_") for key in metrics) for metrics in told)
    still = {name for name, module in learner.modules.items() if same_bits(snapshot(module), before[name])}
    assert still == set()
    for name in learner.updates:
        assert learner.report(name)["skipped"] == 0.0


@methods
def test_the_same_seed_gives_the_same_numbers(method: str) -> None:
    assert train(learner_of(method), 2) == train(learner_of(method), 2)
    assert train(learner_of(method), 1) != train(learner_of(method, seed=1), 1)


@methods
def test_what_is_published_acts_and_each_driver_from_what_it_sees(method: str) -> None:
    learner = learner_of(method)
    policy = acting_policy(SPEC, learner.config)
    assert [policy.driver(sight) for sight in ("state", "image")] == [None, None]
    train(learner, 2)
    policy.load(*learner.publish())
    assert policy.version == learner.version
    for driver in METHODS[method].drivers:
        assert policy.driver(driver.sees) == driver.name
        actions = acted(policy, driver.sees == "image")
        assert actions.dtype == np.float32
        assert actions.shape == (SPEC.chunk_length, 2, SPEC.action_dim)
        assert (np.abs(actions) <= 1.0).all()
        assert np.array_equal(actions, acted(policy, driver.sees == "image"))
        assert not np.array_equal(actions, acted(policy, driver.sees == "image", explore=True))
    assert {d.name for d in METHODS[method].drivers} == {
        name for name in (policy.driver("state"), policy.driver("image")) if name is not None
    }


@methods
def test_a_part_that_follows_drives_once_it_is_warm(method: str) -> None:
    learner = learner_of(method, warm_up_updates=3)
    policy = acting_policy(SPEC, learner.config)
    for updates in (1, 2, 3):
        train(learner, 1)
        policy.load(*learner.publish())
        for driver in METHODS[method].drivers:
            follows = driver.name in {part.name for part in METHODS[method].following}
            assert (policy.driver(driver.sees) is not None) == (updates == 3 or not follows)


@methods
def test_environments_of_one_batch_do_not_mix_and_those_that_stand_still_remember(method: str) -> None:
    learner = learner_of(method)
    train(learner, 2)
    policy = acting_policy(SPEC, learner.config)
    policy.load(*learner.publish())
    batch = tiny_batch()
    for driver in METHODS[method].drivers:
        from_image = np.full(2, driver.sees == "image")

        def step(carry: Any, t: int, rows: slice, chosen: np.ndarray = from_image) -> tuple[np.ndarray, Any]:
            image, first = batch["image"][rows, t, 0], np.zeros(2, bool)[rows]
            return policy.step(carry, batch["state"][rows, t], image, first, chosen[rows], False)

        both, alone = slice(0, 2), slice(1, 2)
        _, together = step(policy.initial(2), 0, both)
        _, single = step(policy.initial(1), 0, alone)
        # The second stands still for a step.
        _, moved = step(together, 1, both)
        kept = policy.merged(together, moved, np.array([True, False]))
        np.testing.assert_allclose(step(kept, 2, both)[0][1], step(single, 2, alone)[0][0], atol=1e-5)


@methods
def test_a_learner_goes_on_from_its_checkpoint_as_if_nothing_had_happened(method: str) -> None:
    uninterrupted, resumed = learner_of(method), learner_of(method, seed=1)
    train(uninterrupted, 2)
    checkpoint.restore(resumed, checkpoint.capture(uninterrupted))
    assert resumed.updates == uninterrupted.updates
    assert train(resumed, 2, first=2) == train(uninterrupted, 2, first=2)
    assert np.array_equal(resumed.publish()[0], uninterrupted.publish()[0])


@methods
def test_what_acts_is_what_a_snapshot_and_a_pack_hold(method: str) -> None:
    learner = learner_of(method)
    train(learner, 2)
    whole, acting = checkpoint.capture(learner), checkpoint.capture_acting(learner)
    packed = checkpoint.acting_part(whole)
    assert packed.weights.keys() == acting.weights.keys()
    assert {name: array.shape for name, array in acting.weights.items()} == acting_shapes(SPEC, learner.config)
    policy, published = (acting_policy(SPEC, learner.config) for _ in range(2))
    checkpoint.load_acting(policy, acting.weights, acting.document)
    published.load(*learner.publish())
    assert policy.version == published.version
    assert same_bits(snapshot(*policy.modules), snapshot(*published.modules))


@methods
def test_a_state_is_of_its_method_and_of_no_other(method: str) -> None:
    learner = learner_of(method)
    document = checkpoint.capture(learner).document
    assert method_of(document) is METHODS[method]
    assert updates_of(document) == learner.updates
    other = next(name for name in METHODS if name != method)
    with pytest.raises(ValueError, match=f"learner state is of method {method}; its settings ask for {other}"):
        checkpoint.restore(learner_of(other), checkpoint.capture(learner))


@methods
def test_an_update_that_is_not_finite_is_skipped_and_leaves_nothing_behind(method: str) -> None:
    learner = learner_of(method)
    train(learner, 1)
    before = weights(learner)
    for name in learner.updates:
        spoilt = batch_for(learner, name)
        for array in ("state", "state_at_exposure", "reward"):
            if array in spoilt:
                spoilt[array][0, 1] = np.nan
        learner.update(name, spoilt)
        assert learner.report(name)["skipped"] == 1.0
        assert same_bits(weights(learner), before)
    checkpoint.capture(learner)  # refuses what is not finite
    train(learner, 1)
    learner.publish()


# --- outlines ---------------------------------------------------------------------------------------------------------


def test_documents_that_say_no_method_are_twist_s() -> None:
    assert method_of({"config": {"batch_size": 3}}).name == method_of({}).name == "twist"
    assert updates_of({"teacher_updates": 3, "student_updates": 0}) == {"teacher": 3, "student": 0}
    for document, said in (
        ({"teacher_updates": 3}, "has no 'student_updates'"),
        ({"teacher_updates": 3, "student_updates": "x"}, "student_updates = 'x' is not allowed"),
        ({"config": {"method": "alchemy"}}, "learner state is of method 'alchemy'; this version has twist, "),
        ({"config": {"method": ["twist"]}}, "this version has twist, "),
    ):
        with pytest.raises(ValueError, match=said):
            updates_of(document)


def test_a_method_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="alchemy"):
        LearnerConfig(method="alchemy")


def test_a_setting_that_would_make_it_another_method_is_refused() -> None:
    said = r"learner\.student\.state_scale is 1\.0: learner\.method=twist_paper allows 0\.0"
    with pytest.raises(ValueError, match=said):
        LearnerConfig(method="twist_paper")
    with pytest.raises(
        ValueError, match=r"dynamics is tied: learner\.method=twist_paper allows teacher_init or scratch"
    ):
        config_of("twist_paper", dynamics="tied")
    assert config_of("twist_paper", dynamics="scratch").student.dynamics == "scratch"
    with pytest.raises(ValueError, match=r"encoder_share is 0\.0: learner\.method=policy_distillation allows 1\.0"):
        config_of("policy_distillation", encoder_share=0.0)
    assert config_of("policy_distillation", readout_scale=0.0).student.readout_scale == 0.0


def test_names_see_the_same_in_every_method_and_the_replay_knows_the_parts() -> None:
    for method in METHODS.values():
        for driver in method.drivers:
            assert DRIVERS[driver.name].sees == sees(driver.name) == driver.sees
    assert {f"balance:{part}" for part in PARTS} <= set(RUN_KEYS)
    assert sees("somebody of another version") == "image"


def test_an_outline_that_cannot_be_is_found_when_it_is_written() -> None:
    part, follower = PartOutline("a", "states"), PartOutline("b", "pairs", follows=True)
    given: dict[str, Any] = {"name": "m", "says": "", "acts": (), "home": ""}
    Method(parts=(part, follower), drivers=(Driver("a", "state", True), Driver("b", "image", True)), **given)
    for parts, drivers in (
        ((follower,), (Driver("b", "image", True),)),  # follows nobody
        ((part,), (Driver("b", "image", True),)),  # nobody trains it
        ((part, follower), (Driver("a", "image", True), Driver("b", "image", True))),  # which of them?
        ((part,), ()),
    ):
        with pytest.raises(AssertionError):
            Method(parts=parts, drivers=drivers, **given)


def test_settings_and_outlines_load_no_torch() -> None:
    code = "import sys, learner.config, learner.methods, learner.methods.documents; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@methods
def test_its_module_has_what_the_entry_says_of_it(method: str) -> None:
    found = home(METHODS[method])
    assert issubclass(found.acting, ActingPolicy)
    assert tuple(found.acting.make(SPEC, config_of(method))) == METHODS[method].acts
