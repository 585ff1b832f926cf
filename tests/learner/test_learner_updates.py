"""What the two updates of the learner move, what they leave alone, and that they give the same numbers again."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, Batch, TwistLearner, same_bits, snapshot, tiny_batch, tiny_config, tiny_learner

from learner import checkpoint
from learner.devices import choose_device, choose_dtype
from learner.loops import Loop, LoopThread
from learner.methods import teaching
from learner.methods.twist import TwistPolicy
from learner.steps import decayed

DYNAMICS = ("scratch", "teacher_init", "tied")
TERMS = ("posterior", "prior", "deter", "state", "action", "readout", "imagination")
ALL_OFF = {f"{term}_scale": 0.0 for term in TERMS}


def of_teacher(learner: TwistLearner) -> list[torch.Tensor]:
    return snapshot(learner.teacher, learner.policy, learner.critic, learner.span)


def moved_parts(learner: TwistLearner, before: dict[str, torch.Tensor]) -> set[str]:
    """First two parts of the names of the student's parameters that are not what they were."""
    after = dict(learner.student.named_parameters())
    return {".".join(name.split(".")[:2]) for name, value in before.items() if not torch.equal(value, after[name])}


def copied(learner: TwistLearner) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in learner.student.named_parameters()}


def numbers(metrics: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in metrics.items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_student_update_moves_the_student_and_not_one_bit_of_the_teacher(dynamics: str, precision: str) -> None:
    learner = tiny_learner(student={"dynamics": dynamics}, precision=precision)
    learner.teacher_update(tiny_batch(image=False))
    teacher, student = of_teacher(learner), snapshot(learner.student)
    for seed in range(3):
        learner.student_update(tiny_batch(seed))
    assert same_bits(of_teacher(learner), teacher)
    assert not same_bits(snapshot(learner.student), student)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_teacher_update_moves_teacher_policy_and_critic_and_not_one_bit_of_the_student(dynamics: str) -> None:
    learner = tiny_learner(student={"dynamics": dynamics})
    student = snapshot(learner.student, learner.student_average)
    before = [snapshot(module) for module in (learner.teacher, learner.policy, learner.critic.net, learner.critic.slow)]
    for seed in range(2):
        learner.teacher_update(tiny_batch(seed, image=False))
    assert same_bits(snapshot(learner.student, learner.student_average), student)
    after = [snapshot(module) for module in (learner.teacher, learner.policy, learner.critic.net, learner.critic.slow)]
    assert not any(same_bits(a, b) for a, b in zip(before, after, strict=True))


def test_the_world_model_is_trained_by_its_own_losses_alone() -> None:
    """Policy and critic train in a frozen copy: whatever they want, the world model's update is the same."""
    results = []
    for settings in ({"horizon": 1, "entropy_scale": 0.0}, {"horizon": 5, "entropy_scale": 10.0}):
        learner = tiny_learner(behaviour=settings)
        learner.teacher_update(tiny_batch(image=False))
        results.append(snapshot(learner.teacher))
    assert same_bits(*results)


def test_the_policy_on_the_student_s_latent_is_the_teacher_s_bit_for_bit() -> None:
    learner = tiny_learner(student={"dynamics": "tied", "warm_up_updates": 2})
    for seed in range(2):
        learner.teacher_update(tiny_batch(seed, image=False))
        learner.student_update(tiny_batch(seed))
    acting = TwistPolicy(SPEC, learner.config, seed=9)
    assert not same_bits(snapshot(acting.policy), snapshot(learner.policy))
    acting.load(*learner.publish())

    assert same_bits(snapshot(acting.policy), snapshot(learner.policy))
    assert same_bits(snapshot(acting.teacher), snapshot(learner.teacher))
    assert same_bits(snapshot(acting.student), snapshot(learner.student_average))
    batch = tiny_batch()
    every = np.ones(2, np.bool_)
    state, image = batch["state"][:, 0], batch["image"][:, 0, 0]
    action, carry = acting.step(acting.initial(2), state, image, is_first=every, from_image=every, explore=False)
    with torch.no_grad():
        expected, _ = learner.policy(carry.latent.feat)
    assert np.array_equal(action, expected.numpy())


def test_publishing_says_how_many_updates_there_were_and_whether_the_student_may_drive() -> None:
    learner = tiny_learner(student={"warm_up_updates": 2})
    acting = TwistPolicy(SPEC, learner.config)
    assert (acting.version, acting.driver("image")) == (0, None)
    learner.teacher_update(tiny_batch(image=False))
    learner.student_update(tiny_batch())
    acting.load(*learner.publish())
    assert (acting.version, acting.driver("image")) == (2, None)
    learner.student_update(tiny_batch())
    acting.load(*learner.publish())
    assert (acting.version, acting.driver("image")) == (3, "student")


def test_published_weights_do_not_move_with_the_learner() -> None:
    learner = tiny_learner()
    flat, _ = learner.publish()
    kept = flat.copy()
    learner.teacher_update(tiny_batch(image=False))
    assert np.array_equal(flat, kept)


def test_tied_dynamics_follow_the_teacher_at_every_refresh_and_only_then() -> None:
    learner = tiny_learner(student={"dynamics": "tied", "refresh_updates": 2})
    follows = []
    for seed in range(4):
        learner.teacher_update(tiny_batch(seed, image=False))
        learner.student_update(tiny_batch(seed))
        follows.append(same_bits(snapshot(learner.student.rssm.dynamics), snapshot(learner.teacher.rssm.dynamics)))
    assert follows == [True, False, True, False]


def test_the_student_that_acts_is_an_average_over_no_more_than_the_last_tenth_of_the_updates() -> None:
    """The rate is at least 10 / (updates + 9): with a setting of 0.9 the first two updates count more than that."""
    learner = tiny_learner(student={"average_rate": 0.9})
    expected = list(copied(learner).values())
    for seed, rate in enumerate((1.0, 10 / 11, 0.9, 0.9)):
        learner.student_update(tiny_batch(seed))
        trained = list(copied(learner).values())
        expected = [a + rate * (b - a) for a, b in zip(expected, trained, strict=True)]
        average = [x.detach() for x in learner.student_average.parameters()]
        for ours, theirs in zip(average, expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert same_bits(average, trained) == (seed == 0)


def test_the_average_has_the_tied_dynamics_too() -> None:
    learner = tiny_learner(student={"dynamics": "tied", "average_rate": 0.01})
    for seed in range(3):
        learner.teacher_update(tiny_batch(seed, image=False))
        learner.student_update(tiny_batch(seed))
    average, teacher = learner.student_average.rssm.dynamics, learner.teacher.rssm.dynamics
    assert same_bits(snapshot(average), snapshot(teacher))


def test_dynamics_from_scratch_are_another_model_from_the_start() -> None:
    learner = tiny_learner(student={"dynamics": "scratch"})
    ours, theirs = snapshot(learner.student.rssm.dynamics), snapshot(learner.teacher.rssm.dynamics)
    assert not same_bits(ours, theirs)
    learner.follower.refresh()
    assert same_bits(snapshot(learner.student.rssm.dynamics), ours)


def test_dynamics_that_start_as_the_teacher_s_go_their_own_way() -> None:
    learner = tiny_learner(student={"dynamics": "teacher_init"})
    theirs = snapshot(learner.teacher.rssm.dynamics)
    assert same_bits(snapshot(learner.student.rssm.dynamics), theirs)
    learner.student_update(tiny_batch())
    assert not same_bits(snapshot(learner.student.rssm.dynamics), theirs)


def test_the_student_looks_at_the_moving_teacher_every_refresh_updates() -> None:
    """Two learners whose teachers differ from the second update on: the students differ from the third."""
    losses: list[list[float]] = []
    for batch_of_teacher in (1, 2):
        learner = tiny_learner(student={"refresh_updates": 2})
        losses.append([])
        for k in range(3):
            losses[-1].append(learner.student_update(tiny_batch(5))["loss_state"].item())
            if k == 0:
                learner.teacher_update(tiny_batch(batch_of_teacher, image=False))
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2] != losses[1][2]


def test_with_every_scale_at_zero_the_student_stays_where_it_is() -> None:
    learner = tiny_learner(student=ALL_OFF)
    before = copied(learner)
    metrics = learner.student_update(tiny_batch())
    assert metrics["gradient_norm"].item() == 0.0
    assert moved_parts(learner, before) == set()


@pytest.mark.parametrize("term", TERMS)
def test_each_term_moves_what_it_is_about(term: str) -> None:
    learner = tiny_learner(student=ALL_OFF | {f"{term}_scale": 1.0})
    before = copied(learner)
    learner.student_update(tiny_batch())
    moved = moved_parts(learner, before)
    assert {"encoder.body", "encoder.output"} <= moved
    assert ("readout.weight" in moved) == (term == "readout")
    assert ("rssm.cell" in moved) == (term != "readout")
    assert ("rssm.post_out" in moved) == (term != "readout")
    assert ("rssm.prior_out" in moved) == (term in ("prior", "imagination"))


def student_gradients(scales: dict[str, float]) -> torch.Tensor:
    """Of one student update, unclipped, as one vector."""
    learner = tiny_learner(student=scales | {"gradient_norm": 1e9})
    learner.student_update(tiny_batch())
    trained = [x for x in learner.student.parameters() if x.requires_grad]
    return torch.cat([(torch.zeros_like(x) if x.grad is None else x.grad).flatten() for x in trained])


@pytest.mark.parametrize("term", TERMS)
def test_a_scale_of_zero_takes_away_a_term_s_gradient_and_nothing_else(term: str) -> None:
    all_on = dict.fromkeys(ALL_OFF, 1.0)
    everything = student_gradients(all_on)
    without = student_gradients(all_on | {f"{term}_scale": 0.0})
    alone = student_gradients(ALL_OFF | {f"{term}_scale": 1.0})
    assert alone.abs().max() > 0.0
    torch.testing.assert_close(without + alone, everything, rtol=1e-4, atol=1e-5)


def test_a_term_counts_by_its_scale() -> None:
    once, thrice = (student_gradients(ALL_OFF | {"deter_scale": scale}) for scale in (1.0, 3.0))
    torch.testing.assert_close(thrice, 3.0 * once, rtol=1e-4, atol=1e-6)


def garbled_padding(batch: Batch) -> Batch:
    """The same chunks, the second three rows long, with other things in the padding."""
    rng = np.random.default_rng(99)
    batch = {name: array.copy() for name, array in batch.items()}
    batch["state"][1, 3:] = rng.uniform(-1, 1, batch["state"][1, 3:].shape)
    batch["action"][1, 3:] = rng.uniform(-1, 1, batch["action"][1, 3:].shape)
    batch["reward"][1, 3:] = 100.0
    batch["is_terminal"][1, 3:] = True
    if "image" in batch:
        batch["image"][1, 3:] = rng.integers(0, 256, batch["image"][1, 3:].shape)
    return batch


@pytest.mark.parametrize(("kind", "views"), [("teacher", 1), ("student", 1), ("student", 2)])
def test_what_a_short_chunk_is_padded_with_does_not_matter(kind: str, views: int) -> None:
    batch = tiny_batch(views=views, image=kind == "student")
    batch["valid"][1, 3:] = False
    results: list[tuple[dict[str, float], list[torch.Tensor]]] = []
    for chunks in (batch, garbled_padding(batch)):
        learner = tiny_learner(behaviour={"starts": 50}, student={"imagination_starts": 50})
        update = learner.teacher_update if kind == "teacher" else learner.student_update
        losses = {name: value for name, value in numbers(update(chunks)).items() if name.startswith("loss_")}
        results.append((losses, snapshot(learner.teacher, learner.policy, learner.critic.net, learner.student)))
    assert results[0][0] == results[1][0]
    assert same_bits(results[0][1], results[1][1])


def several_updates(seed: int, **config: Any) -> tuple[list[dict[str, float]], np.ndarray]:
    learner = tiny_learner(seed, **config)
    metrics = []
    for k in range(3):
        metrics.append(numbers(learner.teacher_update(tiny_batch(k, image=False))))
        metrics.append(numbers(learner.student_update(tiny_batch(k, views=2))))
    return metrics, learner.publish()[0]


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    first, weights = several_updates(3)
    again, same_weights = several_updates(3)
    other, other_weights = several_updates(4)
    assert first == again
    assert np.array_equal(weights, same_weights)
    assert not np.array_equal(weights, other_weights)
    for ours, theirs in zip(first, other, strict=True):
        assert ours["gradient_norm"] != theirs["gradient_norm"]


def test_the_seed_decides_the_first_weights_and_all_draws() -> None:
    ours, theirs = tiny_learner(3), tiny_learner(4)
    assert not any(
        same_bits(snapshot(ours.modules[name]), snapshot(theirs.modules[name]))
        for name in ("teacher", "policy", "critic", "student")
    )
    checkpoint.load_modules(theirs.modules, checkpoint.module_arrays(ours.modules))
    theirs.resume_counters({"teacher": 0, "student": 0})
    for kind in ("teacher_update", "student_update"):
        a, b = (numbers(getattr(learner, kind)(tiny_batch())) for learner in (ours, theirs))
        assert a != b


def test_a_learner_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    undisturbed = torch.rand(3)
    torch.manual_seed(1)
    several_updates(0)
    assert torch.equal(torch.rand(3), undisturbed)


def test_numbers_are_finite_scalars_that_hold_no_graph() -> None:
    learner = tiny_learner()
    for metrics in (learner.teacher_update(tiny_batch(image=False)), learner.student_update(tiny_batch())):
        assert all(value.shape == () and not value.requires_grad for value in metrics.values())
        assert np.isfinite(list(numbers(metrics).values())).all()


def test_bfloat16_is_close_to_float32() -> None:
    metrics = {}
    for precision in ("float32", "bfloat16"):
        learner = tiny_learner(precision=precision)
        metrics[precision] = numbers(learner.teacher_update(tiny_batch(image=False)))
        metrics[precision] |= {f"student_{k}": v for k, v in numbers(learner.student_update(tiny_batch())).items()}
        assert all(x.dtype == torch.float32 for module in learner.modules.values() for x in module.parameters())
    for name in ("loss_state", "loss_reward", "loss_continue", "loss_critic", "student_loss_readout", "post_entropy"):
        assert metrics["bfloat16"][name] == pytest.approx(metrics["float32"][name], rel=0.1), name
    for name in ("student_loss_posterior", "student_loss_deter", "student_loss_state"):
        assert metrics["bfloat16"][name] == pytest.approx(metrics["float32"][name], rel=0.5), name


class Endless:
    """A sampler that always has the same batch, a limiter that always allows, and a count of the updates."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.updates = 0
        self.enough = threading.Event()

    def sample(self, timeout_s: float) -> Batch:
        return self.batch

    def await_sample(self, timeout_s: float) -> bool:
        return True

    def record_sampled(self, rows: int) -> None:
        self.updates += 1
        if self.updates == 5:
            self.enough.set()


def test_what_is_captured_from_two_running_loops_is_one_moment_of_both() -> None:
    """The parameters, the optimisers' steps and the counters agree, and the weights are those that were published."""
    learner = tiny_learner()
    sources = Endless(tiny_batch(image=False)), Endless(tiny_batch())
    updates = learner.teacher_update, learner.student_update
    threads = [
        LoopThread(Loop(name, update, dict, source, source, lambda: 1), threads=1)
        for name, update, source in zip(("teacher", "student"), updates, sources, strict=True)
    ]
    for thread in threads:
        thread.start()
    for source in sources:
        assert source.enough.wait(30.0)
    with learner.paused():
        state = checkpoint.capture(learner)
        flat, version = learner.publish()
    for thread in threads:
        thread.stop()
        thread.check()

    done = {"teacher": state.document["teacher_updates"], "student": state.document["student_updates"]}
    assert min(done.values()) >= 5
    assert version == sum(done.values())
    for name, owner in (("teacher", "teacher"), ("policy", "teacher"), ("critic", "teacher"), ("student", "student")):
        assert state.training[f"{name}/0/step"] == done[owner]
    acting = TwistPolicy(SPEC, learner.config)
    acting.load(flat, version)
    assert all(np.array_equal(x, state.weights[f"policy/{name}"]) for name, x in acting.policy.state_dict().items())


def test_the_arithmetic_of_a_setting() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("float32", cpu) == torch.float32
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16
    assert choose_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    assert choose_device("cpu") == cpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device, which is what must be missing")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match=r"device=cuda, but torch finds no CUDA device here; allowed: auto, cpu"):
        choose_device("cuda")
    assert choose_device("auto") == torch.device("cpu")


def test_the_student_s_step_size_falls_evenly_to_a_tenth_and_stays_there() -> None:
    sizes = decayed(1e-3, torch.tensor([0.0, 50.0, 100.0, 1000.0]), 100)
    assert sizes.tolist() == pytest.approx([1e-3, 5.5e-4, 1e-4, 1e-4])


def test_a_decaying_student_takes_the_step_size_of_its_update() -> None:
    learner = tiny_learner(student={"decay_updates": 4})
    seen = []
    for seed in range(6):
        learner.student_update(tiny_batch(seed=seed))
        seen.append(learner.optimisers["student"].adam.param_groups[0]["lr"].item())
    full = learner.config.student.learning_rate
    assert seen == pytest.approx([full * share for share in (1.0, 0.775, 0.55, 0.325, 0.1, 0.1)])


def test_imagination_begins_at_no_terminal_and_no_padded_step(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = tiny_batch(image=False)
    batch["is_terminal"][:] = True
    batch["is_terminal"][1, 1] = batch["is_terminal"][0, 4] = False
    batch["valid"][0, 4] = False
    drawn: list[torch.Tensor] = []
    pick = teaching.pick_rows
    monkeypatch.setattr(teaching, "pick_rows", lambda *args: (drawn.append(pick(*args)), drawn[-1])[1])
    tiny_learner().teacher_update(batch)
    assert drawn[0].tolist() == [SPEC.chunk_length + 1] * tiny_config().behaviour.starts


def test_the_reward_of_an_episode_s_first_step_is_not_learnt() -> None:
    """No action led to it: whatever stands there, the update is the same. What stands elsewhere is learnt."""
    results = []
    for changed in ((), ((0, 0), (1, 3)), ((1, 2),)):
        batch = tiny_batch(image=False)
        assert batch["is_first"][0, 0] and batch["is_first"][1, 3]
        for row in changed:
            batch["reward"][row] = 100.0
        learner = tiny_learner()
        learner.teacher_update(batch)
        results.append(snapshot(learner.teacher))
    assert same_bits(results[0], results[1])
    assert not same_bits(results[0], results[2])
