from __future__ import annotations

import torch
from tiny_learner import CLASSES, DETER, GROUPS, generator, tiny_config
from torch import Tensor

from learner.distributions import gumbel, straight_through
from learner.rssm import RSSM, Latent

CPU = torch.device("cpu")
B, T, E, A = 3, 6, 7, 2


def noise(seed: int = 0) -> Tensor:
    return gumbel((T, B, GROUPS, CLASSES), CPU, generator(seed))


def make_rssm(seed: int = 0) -> RSSM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RSSM(tiny_config().rssm, E, A)


def make_sequence(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """embed [B, T, E], action [B, T, A], is_first [B, T]: at 0 everywhere, and at 3 in the second row."""
    draw = generator(seed)
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[:, 0] = is_first[1, 3] = True
    return torch.randn(B, T, E, generator=draw), torch.randn(B, T, A, generator=draw), is_first


def some_latent(rssm: RSSM, count: int) -> Latent:
    draw = generator(5)
    deter = torch.randn(count, DETER, generator=draw).tanh()
    return Latent(deter, straight_through(rssm.prior(deter), gumbel((count, GROUPS, CLASSES), CPU, draw)).detach())


def test_shapes_and_kinds_of_an_observed_sequence() -> None:
    seen = make_rssm().observe(*make_sequence(), noise())
    assert seen.latent.deter.shape == (B, T, DETER)
    assert seen.latent.stoch.shape == seen.post.shape == seen.prior.shape == (B, T, GROUPS, CLASSES)
    assert seen.latent.feat.shape == (B, T, DETER + GROUPS * CLASSES)
    torch.testing.assert_close(seen.post.exp().sum(-1), torch.ones(B, T, GROUPS))
    torch.testing.assert_close(seen.prior.exp().sum(-1), torch.ones(B, T, GROUPS))
    assert torch.equal(seen.latent.stoch.detach().round().sum(-1), torch.ones(B, T, GROUPS))


def test_feat_is_deter_then_stoch() -> None:
    latent = Latent(torch.tensor([[1.0, 2.0]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
    assert latent.feat.tolist() == [[1.0, 2.0, 0.0, 1.0, 1.0, 0.0]]


def test_what_was_before_an_episode_does_not_matter() -> None:
    rssm = make_rssm()
    embed, action, is_first = make_sequence()
    other_embed, other_action = embed.clone(), action.clone()
    other_embed[1, :3] += 1.0
    other_action[1, :3] -= 1.0
    seen = rssm.observe(embed, action, is_first, noise())
    other = rssm.observe(other_embed, other_action, is_first, noise())

    for a, b in zip((*seen.latent, seen.post, seen.prior), (*other.latent, other.post, other.prior), strict=True):
        assert torch.equal(a[1, 3:], b[1, 3:])
        assert torch.equal(a[0], b[0])
    assert not torch.equal(seen.latent.deter[1, :3], other.latent.deter[1, :3])


def test_without_the_mark_what_was_before_does_matter() -> None:
    rssm = make_rssm()
    embed, action, is_first = make_sequence()
    seen = rssm.observe(embed, action, torch.zeros_like(is_first), noise())
    embed[1, :3] += 1.0
    other = rssm.observe(embed, action, torch.zeros_like(is_first), noise())
    assert not torch.equal(seen.latent.deter[1, 3:], other.latent.deter[1, 3:])


def test_no_gradient_crosses_the_start_of_an_episode() -> None:
    embed, action, is_first = make_sequence()
    embed.requires_grad_()
    seen = make_rssm().observe(embed, action, is_first, noise())
    (gradient,) = torch.autograd.grad(seen.latent.deter[1, 5].sum(), embed)
    assert gradient[1, :3].abs().max() == 0.0
    assert gradient[1, 3:5].abs().min() > 0.0


def test_observing_a_sequence_is_observing_its_steps_with_the_same_noise() -> None:
    rssm = make_rssm()
    embed, action, is_first = make_sequence()
    with torch.no_grad():
        seen = rssm.observe(embed, action, is_first, noise(4))
        draws = noise(4)
        latent = rssm.initial(B)
        for t in range(T):
            latent = rssm.observe_step(latent, embed[:, t], action[:, t], is_first[:, t], draws[t])
            torch.testing.assert_close(latent.deter, seen.latent.deter[:, t])
            assert torch.equal(latent.stoch, seen.latent.stoch[:, t])


def test_a_step_without_noise_takes_the_probabilities_of_the_posterior() -> None:
    rssm = make_rssm()
    embed, action, is_first = (x[:, 1] for x in make_sequence())
    latent = rssm.observe_step(some_latent(rssm, B), embed, action, is_first, None)
    assert torch.equal(latent.stoch, rssm.post(latent.deter, rssm.post_embed(embed)).exp())


def test_a_first_step_forgets_its_own_row_alone() -> None:
    rssm = make_rssm()
    embed, action, _ = (x[:, 1] for x in make_sequence())
    before = some_latent(rssm, B)
    is_first = torch.tensor([False, True, False])
    mixed = rssm.observe_step(before, embed, action, is_first, None)
    fresh = rssm.observe_step(rssm.initial(B), embed, action, torch.zeros(B, dtype=torch.bool), None)
    kept = rssm.observe_step(before, embed, action, torch.zeros(B, dtype=torch.bool), None)
    assert torch.equal(mixed.deter[1], fresh.deter[1])
    assert torch.equal(mixed.deter[[0, 2]], kept.deter[[0, 2]])
    assert not torch.equal(mixed.deter[1], kept.deter[1])


def test_fed_z_goes_into_the_recurrence_and_own_draws_come_out() -> None:
    rssm = make_rssm()
    embed, action, is_first = make_sequence()
    teacher_z = torch.nn.functional.one_hot(torch.arange(T) % CLASSES, CLASSES).float()
    feed = teacher_z[None, :, None].expand(B, T, GROUPS, CLASSES)
    with torch.no_grad():
        seen = rssm.observe(embed, action, is_first, noise(4), feed=feed)
        draws = noise(4)
        latent = rssm.initial(B)
        for t in range(T):
            latent = rssm.observe_step(latent, embed[:, t], action[:, t], is_first[:, t], draws[t])
            torch.testing.assert_close(latent.deter, seen.latent.deter[:, t])
            assert torch.equal(latent.stoch, seen.latent.stoch[:, t])
            latent = Latent(latent.deter, feed[:, t])
        own = rssm.observe(embed, action, is_first, noise(4))
    assert not torch.equal(own.latent.deter, seen.latent.deter)


def test_feeding_its_own_draws_changes_nothing() -> None:
    rssm = make_rssm()
    own = rssm.observe(*make_sequence(), noise(2))
    fed = rssm.observe(*make_sequence(), noise(2), feed=own.latent.stoch)
    assert torch.equal(own.latent.deter, fed.latent.deter)


def test_imagination_without_noise_has_one_outcome_the_mean_of_its_draws() -> None:
    rssm = make_rssm()
    start, action = some_latent(rssm, B), torch.randn(B, A, generator=generator(1))
    first, prior = rssm.imagine(start, action, None)
    again, _ = rssm.imagine(start, action, None)
    assert torch.equal(first.deter, again.deter)
    assert torch.equal(first.stoch, again.stoch)
    assert torch.equal(first.stoch, prior.exp())
    torch.testing.assert_close(prior, rssm.prior(first.deter))


def test_imagination_with_noise_draws_from_the_prior() -> None:
    rssm = make_rssm()
    many = 4000
    start = Latent(*(x.expand(many, *x.shape[1:]) for x in some_latent(rssm, 1)))
    noise = gumbel((many, GROUPS, CLASSES), CPU, generator(1))
    with torch.no_grad():
        after, prior = rssm.imagine(start, torch.zeros(many, A), noise)
    torch.testing.assert_close(after.stoch.mean(0), prior[0].exp(), atol=0.03, rtol=0.0)


def test_imagination_and_filtering_share_one_recurrence() -> None:
    rssm = make_rssm()
    start, action = some_latent(rssm, B), torch.randn(B, A, generator=generator(1))
    imagined, _ = rssm.imagine(start, action, None)
    seen = rssm.observe_step(start, torch.randn(B, E), action, torch.zeros(B, dtype=torch.bool), None)
    assert torch.equal(imagined.deter, seen.deter)


def test_the_action_of_a_step_reaches_its_latent_but_no_earlier_one() -> None:
    rssm = make_rssm()
    embed, action, is_first = make_sequence()
    seen = rssm.observe(embed, action, is_first, noise())
    action[:, 2] += 1.0
    other = rssm.observe(embed, action, is_first, noise())
    assert torch.equal(seen.latent.deter[:, :2], other.latent.deter[:, :2])
    assert (seen.latent.deter[:, 2] - other.latent.deter[:, 2]).abs().amax(-1).min() > 0.0


def test_dynamics_are_all_but_the_posterior() -> None:
    rssm = make_rssm()
    dynamics = {id(x) for x in rssm.dynamics.parameters()}
    rest = {name.split(".")[0] for name, x in rssm.named_parameters() if id(x) not in dynamics}
    assert rest == {"post_deter", "post_embed", "post_norm", "post_out"}


def test_the_noise_of_a_sequence_is_a_draw_for_each_step_and_follows_from_its_generator() -> None:
    rssm = make_rssm()
    _, action, _ = make_sequence()
    draws = rssm.draw(action, generator(4))
    assert torch.equal(draws, noise(4))
    assert not torch.equal(draws, rssm.draw(action, generator(5)))
