"""Every loss in a world so small that its value is worked out by hand, the arithmetic beside it.

What single functions give (KL, two-hot, entropy, lambda-return, masked mean, ...) has numbers in the tests of their own
modules; here are whole losses, with what they read and from which step.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_learner import (
    CLASSES,
    DETER,
    GROUPS,
    SPEC,
    B,
    T,
    constant_output,
    generator,
    noise,
    tensors,
    tiny_batch,
    tiny_config,
    tiny_learner,
)
from torch import Tensor, nn

from learner.behaviour import Policy, ReturnRange, behaviour_losses
from learner.networks import copy_parameters, frozen_parameters
from learner.rssm import RSSM, Latent
from learner.student import Student, imagination_alignment, student_losses, teacher_target
from learner.student import scales as student_scales
from learner.teacher import Teacher, teacher_losses
from learner.teacher import scales as teacher_scales

# What the models say in each of the three groups, whatever they see; KL is summed over the groups.
TEACHER_POST, STUDENT_POST = (0.7, 0.1, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25)
TEACHER_PRIOR, STUDENT_PRIOR = (0.4, 0.4, 0.1, 0.1), (0.5, 0.3, 0.1, 0.1)
# 3 (0.7 ln 2.8 + 3 * 0.1 ln 0.4) = 3 (0.720734 - 0.274887)
POSTERIOR_KL = 1.337539
# 3 (0.4 ln 0.8 + 0.4 ln 1.333333) = 3 (-0.089257 + 0.115073); the other way round it is 0.075801
PRIOR_KL = 0.077446


@torch.no_grad()
def constant_deter(rssm: RSSM, value: float) -> None:
    """Makes every unit of every h equal `value`, whatever came before: the update gate is open, nothing flows in."""
    rssm.cell.linear.weight.zero_()
    gates = (40.0, math.atanh(value), 41.0)  # reset, candidate, update
    rssm.cell.norm.bias.copy_(torch.tensor(gates).repeat_interleave(DETER))


@torch.no_grad()
def constant_probabilities(layer: nn.Linear, probabilities: tuple[float, ...]) -> None:
    layer.weight.zero_()
    layer.bias.copy_(torch.log(torch.tensor(probabilities)).repeat(GROUPS))


@torch.no_grad()
def read_off_deter(weights: list[float], outputs: int) -> nn.Linear:
    """A head whose k-th output is weights[k] times the k-th unit of h; further outputs are 0."""
    head = nn.Linear(DETER + GROUPS * CLASSES, outputs)
    head.weight.zero_()
    head.bias.zero_()
    for k, weight in enumerate(weights):
        head.weight[k, k] = weight
    return head


def models_on_paper() -> tuple[Student, Teacher, Policy, Any]:
    """Student and frozen teacher with the numbers above; the teacher's h is 0.5, the student's 0.25."""
    config = tiny_config(rssm={"unimix": 0.0}, student={"dynamics": "scratch"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher, student = Teacher(SPEC, config), Student(SPEC, config)
        policy = Policy(teacher.rssm.feat_size, SPEC.action_dim, config)
    constant_deter(teacher.rssm, 0.5)
    constant_deter(student.rssm, 0.25)
    constant_probabilities(teacher.rssm.post_out, TEACHER_POST)
    constant_probabilities(teacher.rssm.prior_out, TEACHER_PRIOR)
    constant_probabilities(student.rssm.post_out, STUDENT_POST)
    constant_probabilities(student.rssm.prior_out, STUDENT_PRIOR)
    teacher.decoder = read_off_deter([2.0, -2.0], 2)  # type: ignore[assignment]
    policy.net = read_off_deter([1.0, -1.0], 4)  # type: ignore[assignment]
    with torch.no_grad():
        student.readout.weight.zero_()
        student.readout.bias.copy_(torch.tensor([0.75, 1.0]))
    frozen_parameters(teacher)
    frozen_parameters(policy)
    return student, teacher, policy, config.student


STUDENT_ON_PAPER = {
    "posterior": POSTERIOR_KL,
    "prior": PRIOR_KL,
    # 16 units, each 0.25 off
    "deter": 16 * 0.25**2,
    # the teacher's decoder reads (0.5, -0.5) off the student's h of 0.25; the state is (0.25, 0)
    "state": 0.25**2 + 0.5**2,
    # both means: tanh 0.25 = 0.244919 where the teacher has tanh 0.5 = 0.462117
    "action": 2 * 0.217198**2,
    # (0.75, 1) where the state is (0.25, 0), with the deviations that fit, 0.5 and 1: log 0.5 + 1/2 and log 1 + 1/2
    "readout": -0.693147 + 1.0,
    # of each imagined step: h as above, and the prior's KL
    "imagination": 1.0 + PRIOR_KL,
}


@pytest.mark.parametrize("feed", ["student", "teacher"])
@pytest.mark.parametrize("term", STUDENT_ON_PAPER)
def test_each_term_of_the_student_on_paper(term: str, feed: str) -> None:
    student, teacher, policy, _ = models_on_paper()
    batch = tensors(tiny_batch(views=2))
    batch["state"] = torch.tensor([0.25, 0.25]).expand(B, T, 2)  # bounds are [-1, 1] and [0, 0.5]: (0.25, 0)
    batch["state_at_exposure"] = batch["state"]
    config = tiny_config(student={"feed": feed}).student
    losses, _ = student_losses(student, teacher, policy, config, batch, generator())
    torch.testing.assert_close(losses[term], torch.full_like(losses[term], STUDENT_ON_PAPER[term]), rtol=1e-4, atol=0)


def test_both_parts_of_the_imagination_alignment_on_paper() -> None:
    student, teacher, policy, config = models_on_paper()
    start = Latent(torch.zeros(4, DETER), torch.zeros(4, GROUPS, CLASSES))
    deter, prior = imagination_alignment(student, teacher, policy, config, (start, start), generator())
    torch.testing.assert_close(deter, torch.full((3, 4), 1.0))
    torch.testing.assert_close(prior, torch.full((3, 4), PRIOR_KL), rtol=1e-4, atol=0.0)


def test_what_the_student_is_to_arrive_at_has_no_gradient_whatever_the_teacher_has() -> None:
    config = tiny_config()
    teacher = Teacher(SPEC, config)
    policy = Policy(teacher.rssm.feat_size, SPEC.action_dim, config)
    target = teacher_target(teacher, policy, tensors(tiny_batch()), 1, noise())
    assert not any(
        x.requires_grad for x in (*target.observed.latent, *target.observed[1:], target.state, target.action)
    )


def test_the_student_imagines_with_the_z_that_it_is_fed() -> None:
    """Equal models but for the prior's output: their h agree as long as the student goes on from the teacher's z."""
    errors = {}
    for feed in ("student", "teacher"):
        config = tiny_config(rssm={"unimix": 0.0}, student={"feed": feed, "dynamics": "scratch"})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            teacher, student = Teacher(SPEC, config), Student(SPEC, config)
            policy = Policy(teacher.rssm.feat_size, SPEC.action_dim, config)
        copy_parameters(teacher.rssm, student.rssm)
        constant_probabilities(student.rssm.prior_out, (1e-6, 1e-6, 1e-6, 1.0 - 3e-6))
        constant_probabilities(teacher.rssm.prior_out, (1.0 - 3e-6, 1e-6, 1e-6, 1e-6))
        start = Latent(torch.zeros(4, DETER), torch.zeros(4, GROUPS, CLASSES))
        errors[feed], _ = imagination_alignment(student, teacher, policy, config.student, (start, start), generator())
    assert errors["teacher"].max() < 1e-10
    assert errors["student"][0].max() < 1e-10  # the first step comes from the common start
    assert errors["student"][1:].min() > 1e-4


def test_views_count_alike_and_the_loss_is_their_mean() -> None:
    """For two views each term is the mean of what it is for each; the readout's is by a deviation that fits both."""
    batches = [tiny_batch(views=1) for _ in range(2)]
    batches[1]["image"] = 255 - batches[0]["image"]
    both = {**batches[0], "image": torch.cat([torch.as_tensor(b["image"]) for b in batches], dim=2).numpy()}
    losses = []
    for batch in (*batches, both):
        learner = tiny_learner(student={"feed": "teacher", "dynamics": "scratch"})
        losses.append(learner.student_update(batch))
    for term in ("loss_posterior", "loss_prior", "loss_deter", "loss_state", "loss_action"):
        first, second, mean = (metrics[term].item() for metrics in losses)
        assert mean == pytest.approx((first + second) / 2, rel=1e-5)
        # With the teacher's z in it, h knows of no image.
        assert (first != second) == (term not in ("loss_prior", "loss_deter"))


def test_reward_loss_of_a_head_that_has_an_opinion() -> None:
    """61 bins from -10 to 10 in symlog space, three to a unit: 0 is bin 30; 0.25 is a quarter 30, the rest 31."""
    model = Teacher(SPEC, tiny_config())
    probabilities = torch.full((61,), 0.4 / 59)
    probabilities[30], probabilities[31] = 0.4, 0.2
    constant_output(model.reward, torch.log(probabilities))
    batch = tensors(tiny_batch(image=False))
    batch["reward"] = torch.full((B, T), math.exp(0.25) - 1.0)
    batch["reward"][1, 2] = 0.0
    loss = teacher_losses(model, tiny_config().teacher, batch, generator())[0]["reward"]
    # -(0.25 ln 0.4 + 0.75 ln 0.2) = 0.229073 + 1.207078, and -ln 0.4
    expected = torch.full((B, T), 1.436151)
    expected[1, 2] = 0.916291
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


HEADS = {
    "state": {"decoder"},
    "reward": {"reward"},
    "continue": {"continues"},
    "dynamics": set(),
    "representation": set(),
}


@pytest.mark.parametrize("term", HEADS)
def test_each_term_of_the_teacher_reaches_the_latents_and_its_own_head_alone(term: str) -> None:
    model = Teacher(SPEC, tiny_config())
    loss = teacher_losses(model, tiny_config().teacher, tensors(tiny_batch(image=False)), generator())[0][term]
    loss.sum().backward()
    reached = {name.split(".")[0] for name, x in model.named_parameters() if x.grad is not None}
    assert reached == {"encoder", "rssm"} | HEADS[term]


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_what_is_minimised_is_the_sum_of_the_terms_by_their_scales(kind: str) -> None:
    terms = HEADS if kind == "teacher" else STUDENT_ON_PAPER
    settings = {f"{term}_scale": 2.0**k for k, term in enumerate(terms)}
    learner = tiny_learner(**{kind: settings})
    optimiser, minimised = learner.optimisers[kind], []
    backward = optimiser.backward
    optimiser.backward = lambda loss: (minimised.append(loss.item()), backward(loss))[1]  # type: ignore[method-assign]
    update = learner.teacher_update if kind == "teacher" else learner.student_update
    batch = tiny_batch()
    batch["valid"][1, 3:] = False
    metrics = update(batch)
    expected = sum(2.0**k * metrics[f"loss_{term}"].item() for k, term in enumerate(terms))
    assert minimised == [pytest.approx(expected, rel=1e-5)]
    scales = teacher_scales(learner.config.teacher) if kind == "teacher" else student_scales(learner.config.student)
    assert scales == {term: 2.0**k for k, term in enumerate(terms)}


@pytest.mark.parametrize("term", ["posterior", "prior", "deter", "state", "action", "readout", "imagination"])
def test_a_term_with_a_scale_of_zero_is_not_walked_backwards(term: str) -> None:
    """It is still told, except for the imagination, which is not even computed; its graph hangs on nothing."""
    learner = tiny_learner(student={f"{term}_scale": 0.0, "dynamics": "scratch"})
    minimised: list[Tensor] = []
    optimiser = learner.optimisers["student"]
    backward = optimiser.backward
    optimiser.backward = lambda loss: (minimised.append(loss), backward(loss))[1]  # type: ignore[method-assign]
    metrics = learner.student_update(tiny_batch())
    assert (f"loss_{term}" in metrics) == (term != "imagination")
    full = tiny_learner(student={"dynamics": "scratch"})
    whole: list[Tensor] = []
    other = full.optimisers["student"]
    other_backward = other.backward
    other.backward = lambda loss: (whole.append(loss), other_backward(loss))[1]  # type: ignore[method-assign]
    full.student_update(tiny_batch())
    assert nodes(minimised[0]) < nodes(whole[0])


def nodes(loss: Tensor) -> int:
    """How many operations a backward pass of this loss walks through."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return len(seen)


def counting_world(proceed: list[float]) -> Any:
    """Stands for a teacher: h counts the imagined steps, the reward is the count, `proceed` the continues of 1..H."""
    table = torch.tensor([0.0, *proceed])

    def imagine(latent: Latent, action: Tensor, noise: Tensor) -> tuple[Latent, None]:
        return Latent(latent.deter + 1.0, latent.stoch), None

    return SimpleNamespace(
        rssm=SimpleNamespace(imagine=imagine),
        predict_reward=lambda latent: latent.deter[..., 0],
        predict_continue=lambda latent: table[latent.deter[..., 0].long()],
    )


def test_policy_and_critic_losses_read_each_step_at_its_time() -> None:
    """Reward t and value 10 t on arrival at step t, so that every shift by a step changes the numbers."""
    config = tiny_config(
        behaviour={"horizon": 3, "discount": 0.5, "lambda_": 0.5, "entropy_scale": 0.0, "steadiness_scale": 0.0}
    )
    policy = Policy(DETER + GROUPS * CLASSES, SPEC.action_dim, config)
    critic: Any = SimpleNamespace(
        value=lambda feat: 10.0 * feat[..., 0],
        net=lambda feat: feat[..., 0],
        two_hot=SimpleNamespace(loss=lambda said, value: (said - value).square()),
    )
    start = Latent(torch.zeros(4, DETER), torch.zeros(4, GROUPS, CLASSES))
    world = counting_world([0.8, 0.5, 1.0])
    losses, _ = behaviour_losses(world, policy, critic, ReturnRange(), config.behaviour, start, generator())
    # discounts 0.4, 0.25, 0.5:  R_2 = 3 + 0.5 * 30 = 18,  R_1 = 2 + 0.25 (0.5 * 20 + 0.5 * 18) = 6.75
    # R_0 = 1 + 0.4 (0.5 * 10 + 0.5 * 6.75) = 4.35;  the steps are reached with 1, 0.8, 0.8 * 0.5
    # policy: -(4.35 + 0.8 * 6.75 + 0.4 * 18) / 3, the range of returns being below 1
    assert losses["policy"].item() == pytest.approx(-5.65, rel=1e-5)
    # critic, which says 0, 1, 2 before the steps: (4.35^2 + 0.8 * 5.75^2 + 0.4 * 16^2) / 3
    assert losses["critic"].item() == pytest.approx(49.2575, rel=1e-5)


def test_the_policy_s_gradient_on_paper() -> None:
    """One step, worth twice the first action: the mean of that action is pulled up by 2, the other by nothing."""
    config = tiny_config(
        behaviour={"horizon": 1, "entropy_scale": 0.0, "steadiness_scale": 0.0, "minimum_deviation": 0.01}
    )
    policy = Policy(DETER + GROUPS * CLASSES, SPEC.action_dim, config)
    policy.net = nn.Linear(2 + GROUPS * CLASSES, 4)  # type: ignore[assignment]  # h is the action here: two units
    with torch.no_grad():
        policy.net.weight.zero_()
        policy.net.bias.copy_(torch.tensor([0.0, 0.0, -100.0, -100.0]))  # 0, give or take 0.01: none is clipped
    world: Any = SimpleNamespace(
        rssm=SimpleNamespace(imagine=lambda latent, action, noise: (Latent(action, latent.stoch), None)),
        predict_reward=lambda latent: 2.0 * latent.deter[..., 0],
        predict_continue=lambda latent: torch.ones_like(latent.deter[..., 0]),
    )
    critic: Any = SimpleNamespace(
        value=lambda feat: torch.zeros(feat.shape[:-1]),
        net=lambda feat: feat[..., 0],
        two_hot=SimpleNamespace(loss=lambda said, value: (said - value).square()),
    )
    start = Latent(torch.zeros(4, 2), torch.zeros(4, GROUPS, CLASSES))
    losses, _ = behaviour_losses(world, policy, critic, ReturnRange(), config.behaviour, start, generator())
    losses["policy"].backward()
    torch.testing.assert_close(policy.net.bias.grad, torch.tensor([-2.0, 0.0, 0.0, 0.0]))


def test_an_unsteady_policy_pays_for_what_its_mean_changes_on_paper() -> None:
    """Means 0.1 and 0, 0.3 and 0, 0.6 and 0 in latents that are reached with 1, 0.8 and 0.8 * 0.5 and pay 0.5, 1."""
    means = torch.tensor([0.1, 0.3, 0.6, 0.0])

    def policy(feat: Tensor) -> tuple[Tensor, Tensor]:
        mean = means[feat[..., 0].long()]
        return torch.stack([mean, torch.zeros_like(mean)], dim=-1), torch.full((*mean.shape, 2), 0.1)

    def loss(scale: float, horizon: int) -> float:
        config = tiny_config(behaviour={"horizon": horizon, "entropy_scale": 0.0, "steadiness_scale": scale})
        world, critic = (
            counting_world([0.8, 0.5, 1.0]),
            SimpleNamespace(
                value=lambda feat: feat[..., 0],
                net=lambda feat: feat[..., 0],
                two_hot=SimpleNamespace(loss=lambda said, value: said - value),
            ),
        )
        world.predict_reward = lambda latent: 0.5 * latent.deter[..., 0]
        start = Latent(torch.zeros(4, DETER), torch.zeros(4, GROUPS, CLASSES))
        parts: Any = (world, policy, critic, ReturnRange())
        return float(behaviour_losses(*parts, config.behaviour, start, generator())[0]["policy"])

    # (0.8 * 0.5^4 * 0.2^2 / 2 + 0.4 * 1^4 * 0.3^2 / 2) / 2, the range of returns being below 1
    assert loss(2.0, 3) - loss(0.0, 3) == pytest.approx(2.0 * 0.0095, rel=1e-4)
    assert loss(2.0, 1) == loss(0.0, 1), "one step changes nothing"


def test_an_average_rate_of_one_is_no_average() -> None:
    learner = tiny_learner(student={"average_rate": 1.0})
    for seed in range(3):
        learner.student_update(tiny_batch(seed))
        trained, acting = (dict(x.named_parameters()) for x in (learner.student, learner.student_average))
        assert all(torch.equal(trained[name], acting[name]) for name in trained)
