from __future__ import annotations

import math

import pytest
import torch
from tiny_learner import CLASSES, DETER, GROUPS, SPEC, constant_output, generator, tiny_config

from learner.behaviour import Critic, Policy, ReturnRange, behaviour_losses, imagine, lambda_return
from learner.config import LearnerConfig
from learner.networks import frozen_parameters, move_towards
from learner.rssm import Latent
from learner.teacher import Teacher

N = 4


def make_parts(config: LearnerConfig) -> tuple[Teacher, Policy, Critic]:
    """A frozen teacher, a policy and a critic."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = Teacher(SPEC, config)
        feat = teacher.rssm.feat_size
        parts = teacher, Policy(feat, SPEC.action_dim, config), Critic(feat, config)
    frozen_parameters(teacher)
    return parts


def make_start() -> Latent:
    deter = torch.randn(N, DETER, generator=generator(1)).tanh()
    stoch = torch.nn.functional.one_hot(torch.arange(N * GROUPS).view(N, GROUPS) % CLASSES, CLASSES).float()
    return Latent(deter, stoch)


def test_lambda_return_of_three_steps_on_paper() -> None:
    reward = torch.tensor([[1.0], [2.0], [3.0]])
    discount = torch.tensor([[0.9], [0.5], [0.8]])
    value = torch.tensor([[10.0], [20.0], [30.0]])
    # R_2 = 3 + 0.8 * 30 = 27,  R_1 = 2 + 0.5 (0.25 * 20 + 0.75 * 27) = 14.625
    # R_0 = 1 + 0.9 (0.25 * 10 + 0.75 * 14.625) = 13.121875
    torch.testing.assert_close(
        lambda_return(reward, discount, value, 0.75), torch.tensor([[13.121875], [14.625], [27.0]])
    )


def test_lambda_of_zero_looks_one_step_ahead_and_lambda_of_one_to_the_end() -> None:
    reward = torch.tensor([[1.0], [2.0]])
    discount = torch.full((2, 1), 0.5)
    value = torch.tensor([[10.0], [20.0]])
    assert lambda_return(reward, discount, value, 0.0).flatten().tolist() == [6.0, 12.0]
    assert lambda_return(reward, discount, value, 1.0).flatten().tolist() == [7.0, 12.0]


def test_nothing_after_the_end_of_an_episode_counts() -> None:
    reward = torch.tensor([[1.0], [2.0], [1e6]])
    discount = torch.tensor([[0.9], [0.0], [0.9]])  # the second imagined state is terminal
    value = torch.tensor([[0.0], [1e6], [1e6]])
    assert lambda_return(reward, discount, value, 1.0)[0].item() == pytest.approx(1.0 + 0.9 * 2.0)


def test_the_return_range_moves_towards_the_5th_to_95th_percentile() -> None:
    span = ReturnRange(momentum=0.9)
    returns = torch.arange(101.0).view(1, 101)  # percentiles 5 and 95: a range of 90
    assert span.update(returns).item() == pytest.approx(9.0)
    assert span.update(returns).item() == pytest.approx(0.9 * 9.0 + 0.1 * 90.0)
    assert span.span.item() == pytest.approx(17.1)


def test_small_returns_are_not_blown_up() -> None:
    assert ReturnRange().update(torch.linspace(0.0, 0.01, 50)).item() == 1.0


def test_imagined_trajectories_have_one_latent_more_than_actions() -> None:
    config = tiny_config()
    teacher, policy, _ = make_parts(config)
    start = make_start()
    dreamt = imagine(teacher, policy, start, 5, generator())
    assert dreamt.latent.deter.shape == (6, N, DETER)
    assert dreamt.latent.stoch.shape == (6, N, GROUPS, CLASSES)
    assert dreamt.action.shape == dreamt.deviation.shape == (5, N, SPEC.action_dim)
    assert torch.equal(dreamt.latent.deter[0], start.deter)
    assert torch.equal(dreamt.latent.stoch[0], start.stoch)
    assert dreamt.action.abs().max() <= 1.0


def test_imagination_follows_from_its_generator() -> None:
    teacher, policy, _ = make_parts(tiny_config())
    a, b, c = (imagine(teacher, policy, make_start(), 3, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(a.latent.feat, b.latent.feat)
    assert not torch.equal(a.latent.feat, c.latent.feat)


def test_gradients_reach_the_policy_through_the_world_model_and_leave_the_model_alone() -> None:
    teacher, policy, _ = make_parts(tiny_config())
    dreamt = imagine(teacher, policy, make_start(), 3, generator())
    dreamt.latent.deter[1].sum().backward()  # one action before: it must come through the recurrence
    assert all(x.grad is not None and x.grad.abs().sum() > 0.0 for x in policy.parameters())
    assert all(x.grad is None for x in teacher.parameters())


def test_an_action_is_judged_by_what_follows_not_by_how_its_latent_came_about() -> None:
    """The policy's input is cut from the graph, its action is not."""
    teacher, policy, _ = make_parts(tiny_config())
    start = make_start()
    start.deter.requires_grad_()
    dreamt = imagine(teacher, policy, start, 3, generator())
    (to_action,) = torch.autograd.grad(dreamt.action[1].sum(), start.deter, retain_graph=True, allow_unused=True)
    (to_latent,) = torch.autograd.grad(dreamt.latent.deter[1].sum(), start.deter)
    assert to_action is None
    assert to_latent.abs().max() > 0.0


def constant_world(config: LearnerConfig, reward: float, proceed: float) -> tuple[Teacher, Policy, Critic]:
    """A world in which every step is worth `reward` and the episode goes on with probability `proceed`."""
    teacher, policy, critic = make_parts(config)
    constant_output(teacher.reward, torch.log(teacher.two_hot.encode(torch.tensor(reward)) + 1e-12))
    constant_output(teacher.continues, math.log(proceed / (1.0 - proceed)))
    return teacher, policy, critic


@pytest.mark.parametrize("discount", [0.9, 0.0])
def test_policy_and_critic_losses_on_paper(discount: float) -> None:
    """Steps count as much as the episode is likely to have reached them: 1, then p, then p squared."""
    p, lambda_ = 0.6, 0.8
    config = tiny_config(
        behaviour={
            "horizon": 3,
            "discount": discount,
            "lambda_": lambda_,
            "entropy_scale": 0.0,
            "steadiness_scale": 0.0,
        }
    )
    teacher, policy, critic = constant_world(config, reward=1.0, proceed=p)
    losses, metrics = behaviour_losses(
        teacher, policy, critic, ReturnRange(), config.behaviour, make_start(), generator()
    )
    chain = discount * p * lambda_  # the critic knows nothing: its values are 0
    returns = [1.0 + chain + chain**2, 1.0 + chain, 1.0]
    weights = [1.0, p, p * p]
    policy_loss = -sum(w * r for w, r in zip(weights, returns, strict=True)) / 3
    assert losses["policy"].item() == pytest.approx(policy_loss, rel=1e-4)
    assert losses["critic"].item() == pytest.approx(math.log(61) * sum(weights) / 3, rel=1e-4)
    assert metrics["imagined_reward"].item() == pytest.approx(1.0, rel=1e-4)
    assert metrics["imagined_return"].item() == pytest.approx(sum(returns) / 3, rel=1e-4)


def test_entropy_is_worth_its_scale() -> None:
    deviation = 0.1 + 0.9 * 0.5
    entropy = SPEC.action_dim * (math.log(deviation) + 0.5 * math.log(2 * math.pi * math.e))
    values = []
    for scale in (0.0, 0.25):
        config = tiny_config(behaviour={"entropy_scale": scale})
        teacher, policy, critic = constant_world(config, reward=1.0, proceed=1.0 - 1e-7)
        constant_output(policy.net, 0.0)
        losses, _ = behaviour_losses(
            teacher, policy, critic, ReturnRange(), config.behaviour, make_start(), generator()
        )
        values.append(losses["policy"].item())
    assert values[0] - values[1] == pytest.approx(0.25 * entropy, rel=1e-4)


def test_returns_are_divided_by_their_range_for_the_policy_alone() -> None:
    config = tiny_config(behaviour={"entropy_scale": 0.0, "steadiness_scale": 0.0})
    teacher, policy, critic = constant_world(config, reward=1.0, proceed=0.5)
    plain, _ = behaviour_losses(teacher, policy, critic, ReturnRange(), config.behaviour, make_start(), generator())
    wide = ReturnRange(momentum=1.0)
    wide.span.fill_(4.0)
    scaled, _ = behaviour_losses(teacher, policy, critic, wide, config.behaviour, make_start(), generator())
    assert scaled["policy"].item() == pytest.approx(plain["policy"].item() / 4.0, rel=1e-5)
    assert scaled["critic"].item() == pytest.approx(plain["critic"].item(), rel=1e-6)


def test_each_loss_moves_its_own_network() -> None:
    config = tiny_config()
    teacher, policy, critic = make_parts(config)
    losses, _ = behaviour_losses(teacher, policy, critic, ReturnRange(), config.behaviour, make_start(), generator())
    critic_gradients = torch.autograd.grad(
        losses["critic"], [*policy.parameters(), *critic.net.parameters()], retain_graph=True, allow_unused=True
    )
    policy_gradients = torch.autograd.grad(
        losses["policy"], [*policy.parameters(), *critic.net.parameters()], allow_unused=True
    )
    of_policy = len(list(policy.parameters()))
    assert all(x is None for x in critic_gradients[:of_policy])
    assert all(x is None for x in policy_gradients[of_policy:])
    assert any(x is not None and x.abs().max() > 0.0 for x in critic_gradients[of_policy:])
    assert any(x is not None and x.abs().max() > 0.0 for x in policy_gradients[:of_policy])


def test_the_slow_critic_follows_by_its_rate() -> None:
    _, _, critic = make_parts(tiny_config())
    constant_output(critic.net, 1.0)
    constant_output(critic.slow, 0.0)
    for expected in (0.25, 0.4375):
        move_towards(critic.slow, critic.net, 0.25)
        assert critic.slow.output.bias.unique().tolist() == [expected]
    assert critic.net.output.bias.unique().tolist() == [1.0]


def test_values_come_from_the_slow_critic() -> None:
    _, _, critic = make_parts(tiny_config())
    constant_output(critic.net, torch.log(critic.two_hot.encode(torch.tensor(9.0)) + 1e-12))
    constant_output(critic.slow, torch.log(critic.two_hot.encode(torch.tensor(2.0)) + 1e-12))
    value = critic.value(torch.randn(5, DETER + GROUPS * CLASSES))
    torch.testing.assert_close(value, torch.full((5,), 2.0), rtol=1e-4, atol=1e-5)
