"""The learner: owns all networks and optimisers; one method per update; knows no replay, no thread, no Ray."""

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from learner import student as distillation
from learner import teacher as world_model
from learner.acting import StudentProgress
from learner.behaviour import Critic, Policy, ReturnRange, behaviour_losses
from learner.config import LearnerConfig
from learner.frames import FramePool
from learner.networks import copy_parameters, frozen_parameters, move_towards
from learner.optimiser import Optimiser, decayed, masked_mean, weighted_sum
from learner.rssm import Latent
from learner.weights import flatten
from replay.schema import StreamSpec

NumpyBatch = Mapping[str, np.ndarray]
Metrics = dict[str, Tensor]


class Frozen:
    """A copy of teacher and policy that no gradient can move, in the arithmetic of the updates."""

    def __init__(self, teacher: world_model.Teacher, policy: Policy, dtype: torch.dtype) -> None:
        """Copies both."""
        self.teacher = copy.deepcopy(teacher).to(dtype)
        self.teacher.low, self.teacher.high = teacher.low, teacher.high  # bounds keep their precision
        self.policy = copy.deepcopy(policy).to(dtype)
        frozen_parameters(self.teacher)
        frozen_parameters(self.policy)

    def refresh(self, teacher: world_model.Teacher, policy: Policy | None = None) -> None:
        """Follows the moving originals."""
        copy_parameters(teacher, self.teacher)
        if policy is not None:
            copy_parameters(policy, self.policy)


class Learner:
    """Teacher, policy, critic and student with their optimisers.

    `teacher_update` and `student_update` may run in two threads: the student reads only its own frozen copy of the
    teacher, which is refreshed under a lock that the teacher's optimiser steps hold too.
    """

    def __init__(self, spec: StreamSpec, config: LearnerConfig, seed: int) -> None:
        """Makes untrained networks, the same for the same seed."""
        self.spec, self.config = spec, config
        self.device = choose_device(config.device)
        self.dtype = choose_dtype(config.precision, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.teacher = world_model.Teacher(spec, config).to(self.device)
            feat = self.teacher.rssm.feat_size
            self.policy = Policy(feat, spec.action_dim, config).to(self.device)
            self.critic = Critic(feat, config).to(self.device)
            self.student = distillation.Student(spec, config).to(self.device)
        self.student_average = copy.deepcopy(self.student)
        frozen_parameters(self.student_average)
        self.span = ReturnRange().to(self.device)
        self.progress = StudentProgress()
        # Not in checkpoints: a run that goes on fills it with its first batches.
        self._pool = FramePool(config.student.frame_pool, self.device)
        if config.student.dynamics != "scratch":
            self.student.copy_dynamics(self.teacher)
            self.student_average.copy_dynamics(self.teacher)
        self._dream = Frozen(self.teacher, self.policy, self.dtype)
        self._target = Frozen(self.teacher, self.policy, self.dtype)
        teacher, behaviour, student = config.teacher, config.behaviour, config.student
        self.optimisers = {
            "teacher": Optimiser(self.teacher, teacher.learning_rate, teacher.gradient_norm),
            "policy": Optimiser(self.policy, behaviour.actor_learning_rate, behaviour.gradient_norm),
            "critic": Optimiser(self.critic.net, behaviour.critic_learning_rate, behaviour.gradient_norm),
            "student": Optimiser(self.student, student.learning_rate, student.gradient_norm),
        }
        self.teacher_updates = 0
        self.student_updates = 0
        self._lock = threading.Lock()  # optimiser steps against copies of the weights
        self._teacher_pause = threading.Lock()  # held for a whole update, so that a checkpoint falls between two
        self._student_pause = threading.Lock()
        self.generators = [torch.Generator(self.device).manual_seed(seed * 2 + k) for k in (1, 2)]

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Every module that a checkpoint holds."""
        return {
            "teacher": self.teacher,
            "policy": self.policy,
            "critic": self.critic,
            "student": self.student,
            "student_average": self.student_average,
            "span": self.span,
        }

    def teacher_update(self, batch: NumpyBatch) -> Metrics:
        """One update of the world model, then of policy and critic.

        Args:
            batch: a teacher batch of `replay.sampler`.

        Returns:
            Scalars on the learner's device, detached.
        """
        with self._teacher_pause:
            return self._teacher_update(batch)

    def _teacher_update(self, batch: NumpyBatch) -> Metrics:
        tensors = self._to_device(batch)
        config = self.config.teacher
        with self._autocast():
            losses, metrics, observed = world_model.teacher_losses(self.teacher, config, tensors, self.generators[0])
        means = {name: masked_mean(loss, tensors["valid"]) for name, loss in losses.items()}
        total = weighted_sum(means, world_model.scales(config))
        metrics["gradient_norm"] = self.optimisers["teacher"].backward(total)
        with self._lock:
            self.optimisers["teacher"].step()
        metrics |= {f"loss_{name}": mean.detach() for name, mean in means.items()}
        metrics |= self._behaviour_update(observed.latent.detach(), tensors["valid"])
        self.teacher_updates += 1
        return metrics

    def _behaviour_update(self, latent: Latent, valid: Tensor) -> Metrics:
        self._dream.refresh(self.teacher)
        config = self.config.behaviour
        rows = valid.flatten().nonzero().squeeze(-1)
        pick = torch.randint(len(rows), (config.starts,), generator=self.generators[0], device=self.device)
        chosen = rows[pick]
        start = Latent(latent.deter.flatten(0, 1)[chosen], latent.stoch.flatten(0, 1)[chosen])
        with self._autocast():
            losses, metrics = behaviour_losses(
                self._dream.teacher, self.policy, self.critic, self.span, config, start, self.generators[0]
            )
        for name in ("policy", "critic"):
            metrics[f"{name}_gradient_norm"] = self.optimisers[name].backward(losses[name])
        with self._lock:
            self.optimisers["policy"].step()
            self.optimisers["critic"].step()
        move_towards(self.critic.slow, self.critic.net, config.slow_critic_rate)
        return metrics | {f"loss_{name}": loss.detach() for name, loss in losses.items()}

    def student_update(self, batch: NumpyBatch) -> Metrics:
        """One distillation update.

        Args:
            batch: a student batch of `replay.sampler`.

        Returns:
            Scalars on the learner's device, detached.
        """
        with self._student_pause:
            return self._student_update(batch)

    def _student_update(self, batch: NumpyBatch) -> Metrics:
        config = self.config.student
        if self.student_updates % config.refresh_updates == 0:
            self.refresh_target()
        frames = None
        if config.frames > 0 and config.readout_scale > 0.0:
            self._pool.add(batch)
            frames = self._pool.draw(config.frames, self.generators[1])
        tensors = self._to_device(batch)
        with self._autocast():
            losses, metrics = distillation.student_losses(
                self.student, self._target.teacher, self._target.policy, config, tensors, self.generators[1], frames
            )
        views = tensors["image"].shape[2]
        valid = tensors["valid"].repeat_interleave(views, dim=0)
        of_steps = losses.keys() - {"imagination"} - ({"readout"} if frames is not None else set())
        means = {k: masked_mean(loss, valid) if k in of_steps else loss.mean() for k, loss in losses.items()}
        total = weighted_sum(means, distillation.scales(config))
        metrics["gradient_norm"] = self.optimisers["student"].backward(total)
        with self._lock:
            self.optimisers["student"].step(decayed(config.learning_rate, self.student_updates, config.decay_updates))
            self.student_updates += 1
            # Never over more than the last tenth of the updates, so that early ones do not linger.
            rate = max(config.average_rate, 10.0 / (self.student_updates + 9))
            move_towards(self.student_average, self.student, rate)
            self.progress.updates.fill_(self.student_updates)
        return metrics | {f"loss_{name}": mean.detach() for name, mean in means.items()}

    def refresh_target(self) -> None:
        """The student's frozen copy follows the teacher; with tied dynamics so does the student's recurrence."""
        with self._lock:
            self._target.refresh(self.teacher, self.policy)
            if self.student.tied:
                self.student.copy_dynamics(self.teacher)
                self.student_average.copy_dynamics(self.teacher)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No update is under way inside this context: a state captured in it is one moment's."""
        with self._teacher_pause, self._student_pause:
            yield

    @contextmanager
    def weights_held(self) -> Iterator[None]:
        """No weight that acts moves inside this context; no loop waits for the other's update, as in `paused`."""
        with self._lock:
            yield

    def resume_counters(self, teacher_updates: int, student_updates: int) -> None:
        """Goes on counting from a checkpoint; frozen copies are made anew from the restored weights."""
        self.teacher_updates, self.student_updates = teacher_updates, student_updates
        self.progress.updates.fill_(student_updates)
        self._dream.refresh(self.teacher)
        self.refresh_target()

    def publish(self) -> tuple[np.ndarray, int]:
        """The weights for `ActingPolicy.load`: one flat float32 array [P], and its version (all updates so far).

        The student that acts is the average of the trained one over its last updates.
        """
        with self._lock:
            flat = flatten((self.teacher, self.policy, self.student_average, self.progress))
            return flat, self.teacher_updates + self.student_updates

    def _to_device(self, batch: NumpyBatch) -> dict[str, Tensor]:
        return {name: torch.as_tensor(array).to(self.device, non_blocking=True) for name, array in batch.items()}

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def choose_device(name: str) -> torch.device:
    """The device of a setting: `auto` is CUDA where there is one.

    Raises:
        ValueError: CUDA was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("learner.device=cuda, but torch finds no CUDA device here; allowed: auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The arithmetic of a setting: `auto` is bfloat16 where the processor computes in it, else float32.

    A CPU without such units emulates bfloat16, several times slower than float32; torch calls that support, too.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
