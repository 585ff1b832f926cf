"""The smallest learner that has every part, and made-up batches for it: what an update computes hangs on no default."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from learner.config import BehaviourConfig, LearnerConfig, RSSMConfig, SACConfig, StudentConfig, TeacherConfig
from learner.distributions import gumbel
from learner.learner import Learner
from learner.methods import METHODS
from learner.methods.teaching import TeacherPart
from learner.methods.twist import StudentPart
from replay.schema import StreamSpec

SPEC = StreamSpec(
    state_names=("gripper_x_m", "goal_x_m"),
    state_low=(-1.0, 0.0),
    state_high=(1.0, 0.5),
    image_shape=(16, 16, 3),
    views=1,
    action_dim=2,
    chunk_length=5,
)
B, T = 2, SPEC.chunk_length
DETER, GROUPS, CLASSES = 16, 3, 4
Batch = dict[str, np.ndarray]

_RSSM: dict[str, Any] = {"deter": DETER, "hidden": 16, "groups": GROUPS, "classes": CLASSES, "unimix": 0.01}
_TEACHER: dict[str, Any] = {
    "learning_rate": 1e-3,
    "gradient_norm": 100.0,
    "state_scale": 1.0,
    "reward_scale": 1.0,
    "continue_scale": 1.0,
    "dynamics_scale": 0.5,
    "representation_scale": 0.1,
    "free_nats": 0.0,
}
_BEHAVIOUR: dict[str, Any] = {
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "gradient_norm": 10.0,
    "horizon": 3,
    "starts": 6,
    "discount": 0.9,
    "lambda_": 0.8,
    "entropy_scale": 1e-3,
    "steadiness_scale": 5.0,
    "slow_critic_rate": 0.1,
    "minimum_deviation": 0.1,
}
_STUDENT: dict[str, Any] = {
    "learning_rate": 1e-3,
    "gradient_norm": 100.0,
    "batch_size": B,
    "channels": (4, 8),
    "posterior_scale": 1.0,
    "prior_scale": 1.0,
    "deter_scale": 1.0,
    "imagination_scale": 1.0,
    "imagination_horizon": 3,
    "imagination_starts": 6,
    "state_scale": 1.0,
    "action_scale": 1.0,
    "readout_scale": 1.0,
    "frames": 0,
    "shift_pixels": 0,
    "encoder_share": 1.0,
    "feed": "student",
    "dynamics": "teacher_init",
    "refresh_updates": 1,
    "average_rate": 0.5,
    "warm_up_updates": 2,
}
_SAC: dict[str, Any] = {
    "learning_rate": 3e-4,
    "temperature_learning_rate": 1e-3,
    "gradient_norm": 10.0,
    "frames": 3,
    "target_rate": 0.01,
    "initial_temperature": 0.1,
}


def tiny_config(
    *,
    rssm: dict[str, Any] | None = None,
    teacher: dict[str, Any] | None = None,
    behaviour: dict[str, Any] | None = None,
    student: dict[str, Any] | None = None,
    precision: str = "float32",
    device: str = "cpu",
    graphs: str = "off",
    method: str = "twist",
    proprioception: tuple[str, ...] = (),
) -> LearnerConfig:
    """A config with every value that matters given here; the arguments replace single fields."""
    return LearnerConfig(
        method=method,
        proprioception=proprioception,
        batch_size=B,
        device=device,
        precision=precision,
        graphs=graphs,
        threads=1,
        rssm=RSSMConfig(**_RSSM | (rssm or {})),
        teacher=TeacherConfig(**_TEACHER | (teacher or {})),
        behaviour=BehaviourConfig(**_BEHAVIOUR | (behaviour or {})),
        student=StudentConfig(**_STUDENT | (student or {})),
        sac=SACConfig(**_SAC),
    )


def config_of(method: str, *, proprioception: tuple[str, ...] = (), **student: Any) -> LearnerConfig:
    """The tiny settings, with those that the method cannot be without."""
    settled = {key: allowed[0] for key, allowed in METHODS[method].settled.items() if key.startswith("learner.")}
    of_student = {key.removeprefix("learner.student."): value for key, value in settled.items()}
    student = {"warm_up_updates": 2} | of_student | student
    return tiny_config(method=method, student=student, proprioception=proprioception)


def left_free(method: str, **student: Any) -> dict[str, Any]:
    """Of these settings of `learner.student`, those that a method does not settle."""
    return {name: value for name, value in student.items() if f"learner.student.{name}" not in METHODS[method].settled}


class TwistLearner(Learner):
    """A learner of method twist, with names for what is in it."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig, seed: int) -> None:
        super().__init__(spec, config, seed)
        leader, follower = self.parts
        assert isinstance(leader, TeacherPart) and isinstance(follower, StudentPart)
        self.teacher, self.policy, self.critic, self.span = leader.teacher, leader.policy, leader.critic, leader.span
        self.student, self.student_average = follower.student, follower.student_average
        self.follower = follower

    def teacher_update(self, batch: Batch) -> dict[str, Tensor]:
        return self.update("teacher", batch)

    def student_update(self, batch: Batch) -> dict[str, Tensor]:
        return self.update("student", batch)


def tiny_learner(seed: int = 0, **config: Any) -> TwistLearner:
    """An untrained learner; `config` as for `tiny_config`."""
    return TwistLearner(SPEC, tiny_config(**config), seed)


def tiny_batch(seed: int = 0, *, views: int = 1, image: bool = True) -> Batch:
    """Made-up chunks as a sampler returns them; the second one has the start of an episode in its middle."""
    rng = np.random.default_rng(seed)
    batch: Batch = {
        "state": rng.uniform(SPEC.state_low, SPEC.state_high, (B, T, SPEC.state_dim)).astype(np.float32),
        "action": rng.uniform(-1.0, 1.0, (B, T, SPEC.action_dim)).astype(np.float32),
        "reward": rng.normal(size=(B, T)).astype(np.float32),
        "is_first": np.zeros((B, T), np.bool_),
        "is_last": np.zeros((B, T), np.bool_),
        "is_terminal": np.zeros((B, T), np.bool_),
        "valid": np.ones((B, T), np.bool_),
        "policy_version": np.arange(1, B + 1, dtype=np.int64),
    }
    batch["is_first"][0, 0] = batch["is_first"][1, 3] = True
    batch["is_last"][1, 2] = batch["is_terminal"][1, 2] = True
    if image:
        batch["image"] = rng.integers(0, 256, (B, T, views, *SPEC.image_shape), dtype=np.uint8)
        batch["state_at_exposure"] = batch["state"].copy()  # a camera without delay
    return batch


def tensors(batch: Batch) -> dict[str, Tensor]:
    """The batch as the losses take it."""
    return {name: torch.as_tensor(array) for name, array in batch.items()}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(seed: int = 0, batch: int = B, time: int = T) -> Tensor:
    """[T, B, S, K] with which z is drawn along a batch."""
    return gumbel((time, batch, GROUPS, CLASSES), torch.device("cpu"), generator(seed))


def snapshot(*modules: nn.Module) -> list[Tensor]:
    """Copies of all parameters and buffers."""
    return [tensor.detach().clone() for module in modules for tensor in module.state_dict().values()]


def same_bits(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@torch.no_grad()
def sharpen_posterior(rssm: nn.Module) -> None:
    """Makes every posterior certain, so that all draws of z are its mode; wants a config with unimix 0."""
    rssm.get_submodule("post_out").get_parameter("weight").mul_(1e5)


@torch.no_grad()
def constant_output(mlp: nn.Module, value: Tensor | float) -> None:
    """Makes an MLP answer `value`, whatever it is asked."""
    output = mlp.get_submodule("output")
    output.get_parameter("weight").zero_()
    output.get_parameter("bias").copy_(torch.as_tensor(value))
