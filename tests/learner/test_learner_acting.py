from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_learner import DETER, GROUPS, SPEC, tiny_batch, tiny_config, tiny_learner

from learner.acting import Carry
from learner.methods.twist import TwistPolicy

N = 4
FIRST = np.ones(N, np.bool_)
GOING_ON = np.zeros(N, np.bool_)
TEACHER = np.zeros(N, np.bool_)
STUDENT = np.ones(N, np.bool_)
MIXED = np.array([False, True, True, False])


def make_acting(seed: int = 0) -> TwistPolicy:
    """With weights after a few updates, so that nothing is zero any more."""
    learner = tiny_learner(0)
    for k in range(3):
        learner.teacher_update(tiny_batch(k, image=False))
        learner.student_update(tiny_batch(k))
    acting = TwistPolicy(SPEC, tiny_config(), seed=seed)
    acting.load(*learner.publish())
    return acting


@pytest.fixture(scope="module")
def policy() -> TwistPolicy:
    return make_acting()


def observations(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    state = rng.uniform(SPEC.state_low, SPEC.state_high, (N, SPEC.state_dim)).astype(np.float32)
    return state, rng.integers(0, 256, (N, *SPEC.image_shape), dtype=np.uint8)


def run(policy: TwistPolicy, student: np.ndarray, steps: int = 3) -> tuple[np.ndarray, Carry]:
    """`steps` steps without drawing from the start of an episode: the last action and what is carried."""
    carry = policy.initial(N)
    action = np.empty(0)
    for t in range(steps):
        action, carry = policy.step(carry, *observations(t), FIRST if t == 0 else GOING_ON, student, explore=False)
    return action, carry


def assert_close(a: Carry, b: Carry, rows: np.ndarray) -> None:
    chosen = torch.as_tensor(rows)
    for x, y in zip((*a.latent, a.action), (*b.latent, b.action), strict=True):
        torch.testing.assert_close(x[chosen], y[chosen])


def test_actions_are_float32_in_their_bounds(policy: TwistPolicy) -> None:
    for explore in (False, True):
        action, carry = policy.step(policy.initial(N), *observations(0), FIRST, MIXED, explore)
        assert (action.shape, action.dtype) == ((N, SPEC.action_dim), np.float32)
        assert np.abs(action).max() <= 1.0
        assert np.array_equal(carry.action.numpy(), action)
        assert carry.latent.deter.shape == (N, DETER)


def test_teacher_and_student_in_one_batch_are_what_they_are_alone(policy: TwistPolicy) -> None:
    mixed_action, mixed = run(policy, MIXED)
    teacher_action, teacher = run(policy, TEACHER)
    student_action, student = run(policy, STUDENT)
    assert_close(mixed, teacher, ~MIXED)
    assert_close(mixed, student, MIXED)
    np.testing.assert_allclose(mixed_action[~MIXED], teacher_action[~MIXED], atol=1e-6)
    np.testing.assert_allclose(mixed_action[MIXED], student_action[MIXED], atol=1e-6)
    assert np.abs(teacher_action - student_action).max() > 1e-4


def test_environments_of_one_batch_do_not_mix(policy: TwistPolicy) -> None:
    state, image = observations(0)
    together, _ = policy.step(policy.initial(N), state, image, FIRST, MIXED, explore=False)
    for n in range(N):
        row = slice(n, n + 1)
        alone, _ = policy.step(policy.initial(1), state[row], image[row], FIRST[row], MIXED[row], explore=False)
        np.testing.assert_allclose(alone[0], together[n], atol=1e-6)


def test_the_teacher_sees_the_state_alone_and_the_student_the_image_alone(policy: TwistPolicy) -> None:
    state, image = observations(0)
    other_state, other_image = observations(1)
    action, _ = policy.step(policy.initial(N), state, image, FIRST, MIXED, explore=False)
    new_image, _ = policy.step(policy.initial(N), state, other_image, FIRST, MIXED, explore=False)
    new_state, _ = policy.step(policy.initial(N), other_state, image, FIRST, MIXED, explore=False)
    assert np.array_equal(action[~MIXED], new_image[~MIXED])
    assert np.array_equal(action[MIXED], new_state[MIXED])
    assert not np.array_equal(action[MIXED], new_image[MIXED])
    assert not np.array_equal(action[~MIXED], new_state[~MIXED])


def test_without_a_student_no_image_is_needed(policy: TwistPolicy) -> None:
    state, image = observations(0)
    blind, _ = policy.step(policy.initial(N), state, None, FIRST, TEACHER, explore=False)
    seeing, _ = policy.step(policy.initial(N), state, image, FIRST, TEACHER, explore=False)
    assert np.array_equal(blind, seeing)


def test_a_student_without_an_image_is_refused(policy: TwistPolicy) -> None:
    with pytest.raises(ValueError, match="the student was asked to act without an image"):
        policy.step(policy.initial(N), observations(0)[0], None, FIRST, MIXED, explore=False)


@pytest.mark.parametrize("student", [TEACHER, STUDENT, MIXED], ids=["teacher", "student", "mixed"])
def test_the_start_of_an_episode_forgets_its_own_row_alone(policy: TwistPolicy, student: np.ndarray) -> None:
    _, carry = run(policy, student)
    is_first = np.array([False, True, False, False])
    observed = observations(9)
    _, after = policy.step(carry, *observed, is_first, student, explore=False)
    _, kept = policy.step(carry, *observed, GOING_ON, student, explore=False)
    _, fresh = policy.step(policy.initial(N), *observed, FIRST, student, explore=False)
    assert_close(after, kept, ~is_first)
    assert_close(after, fresh, is_first)
    assert not torch.equal(after.latent.deter[1], kept.latent.deter[1])


def test_the_action_before_is_remembered_and_forgotten_with_the_episode(policy: TwistPolicy) -> None:
    _, carry = run(policy, MIXED)
    other = Carry(carry.latent, -carry.action)
    observed = observations(9)
    ends = {}
    for name, is_first in (("going on", GOING_ON), ("first", FIRST)):
        _, a = policy.step(carry, *observed, is_first, MIXED, explore=False)
        _, b = policy.step(other, *observed, is_first, MIXED, explore=False)
        ends[name] = torch.equal(a.latent.deter, b.latent.deter)
    assert ends == {"going on": False, "first": True}


def test_a_step_does_not_change_the_carry_it_was_given(policy: TwistPolicy) -> None:
    _, carry = run(policy, MIXED)
    before = [x.clone() for x in (*carry.latent, carry.action)]
    policy.step(carry, *observations(9), FIRST, MIXED, explore=True)
    assert all(torch.equal(x, y) for x, y in zip(before, (*carry.latent, carry.action), strict=True))


def test_acting_is_filtering_as_in_training(policy: TwistPolicy) -> None:
    """Step by step the actor arrives at the latent that the learner's sequence model has for the same rows."""
    carry = policy.initial(N)
    states, stochs, led_to = [], [], [np.zeros((N, SPEC.action_dim), np.float32)]
    for t in range(4):
        state, _ = observations(t)
        action, carry = policy.step(carry, state, None, FIRST if t == 0 else GOING_ON, TEACHER, explore=False)
        states.append(state)
        stochs.append(carry.latent.stoch)
        led_to.append(action)
    is_first = torch.zeros(N, 4, dtype=torch.bool)
    is_first[:, 0] = True
    with torch.no_grad():
        embed = policy.teacher.embed(torch.from_numpy(np.stack(states, 1)))
        actions, fed = torch.from_numpy(np.stack(led_to[:-1], 1)), torch.stack(stochs, 1)
        seen = policy.teacher.rssm.observe(embed, actions, is_first, policy.teacher.rssm.draw(actions), feed=fed)
    torch.testing.assert_close(seen.latent.deter[:, -1], carry.latent.deter)
    torch.testing.assert_close(seen.post.exp(), fed)


def test_what_is_not_drawn_is_the_same_every_time_and_draws_are_not() -> None:
    policy = make_acting()
    actions = {
        explore: [policy.step(policy.initial(N), *observations(0), FIRST, MIXED, explore)[0] for _ in range(2)]
        for explore in (False, True)
    }
    assert np.array_equal(*actions[False])
    assert not np.array_equal(*actions[True])
    other_seed = make_acting(seed=5)
    action, _ = other_seed.step(other_seed.initial(N), *observations(0), FIRST, MIXED, explore=False)
    assert np.array_equal(action, actions[False][0])


def test_draws_follow_from_the_seed() -> None:
    draws = []
    for seed in (1, 1, 2):
        policy = make_acting(seed)
        draws.append(policy.step(policy.initial(N), *observations(0), FIRST, MIXED, explore=True)[0])
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_draws_scatter_around_the_mean_as_wide_as_the_policy_says(policy: TwistPolicy) -> None:
    many = 3000
    state = np.repeat(observations(0)[0][:1], many, axis=0)
    args = (state, None, np.ones(many, np.bool_), np.zeros(many, np.bool_))
    action, carry = policy.step(policy.initial(many), *args, explore=True)
    with torch.no_grad():
        mean, deviation = (x.numpy() for x in policy.policy(carry.latent.feat))
    inside = (np.abs(mean) + 0.1 < 1.0) & (np.abs(action) < 1.0)
    assert inside.mean() > 0.5
    spread = np.abs(((action - mean) / deviation)[inside]).mean()
    assert 0.5 < spread < 0.85  # 0.80 for a Gaussian, somewhat less for one whose tails are cut off
    assert len(np.unique(carry.latent.stoch.numpy().reshape(many, -1), axis=0)) > GROUPS


def test_the_carry_of_no_environment(policy: TwistPolicy) -> None:
    carry = policy.initial(0)
    assert carry.latent.deter.shape == (0, DETER)
    assert carry.action.shape == (0, SPEC.action_dim)


@pytest.mark.parametrize("seeing", [False, True], ids=["teacher", "student"])
@pytest.mark.parametrize("context", [1, 3, 5])
def test_imagined_states_are_in_physical_units_and_see_no_further_than_the_context(
    policy: TwistPolicy, seeing: bool, context: int
) -> None:
    rng = np.random.default_rng(0)
    state = rng.uniform(SPEC.state_low, SPEC.state_high, (6, SPEC.state_dim)).astype(np.float32)
    image = rng.integers(0, 256, (6, *SPEC.image_shape), dtype=np.uint8) if seeing else None
    action = rng.uniform(-1.0, 1.0, (5, SPEC.action_dim)).astype(np.float32)
    imagined = policy.imagined_states(state, image, action, context)
    assert (imagined.shape, imagined.dtype) == ((6, SPEC.state_dim), np.float32)

    later_state, later_image = state.copy(), None if image is None else image.copy()
    later_state[context:] = 0.0
    if later_image is not None:
        later_image[context:] = 0
    assert np.array_equal(policy.imagined_states(later_state, later_image, action, context), imagined)
    other_action = action.copy()
    other_action[-1] += 0.5  # leads to the last row
    other = policy.imagined_states(state, image, other_action, context)
    assert np.array_equal(other[:-1], imagined[:-1])
    assert not np.array_equal(other[-1], imagined[-1])


def test_an_imagined_episode_reads_the_seen_part_off_the_teacher_s_decoder(policy: TwistPolicy) -> None:
    state, _ = observations(0)
    imagined = policy.imagined_states(state, None, np.zeros((N - 1, SPEC.action_dim), np.float32), context=1)
    row = slice(0, 1)
    _, carry = policy.step(policy.initial(1), state[row], None, FIRST[row], TEACHER[row], explore=False)
    with torch.no_grad():
        read = policy.teacher.denormalise(policy.teacher.decoder(carry.latent.feat))
    np.testing.assert_allclose(imagined[0], read.numpy()[0], atol=1e-6)
