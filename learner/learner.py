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
from learner.devices import choose_devices, choose_dtype, make_generator
from learner.distributions import pick_rows
from learner.frames import FramePool
from learner.graphs import Lane, Update
from learner.networks import copy_parameters, frozen_parameters, masked_mean, move_towards
from learner.optimiser import Optimiser, decayed, weighted_sum
from learner.rssm import Latent
from learner.staging import Staging
from learner.tally import Metrics, NotFiniteError, Tally
from learner.weights import gather, to_host
from replay.schema import StreamSpec

NumpyBatch = Mapping[str, np.ndarray]

TEACHER_READS = ("state", "action", "reward", "is_first", "is_terminal", "valid")
STUDENT_READS = ("state", "action", "is_first", "is_terminal", "valid", "image", "state_at_exposure")


class Frozen:
    """A copy of teacher and policy that no gradient can move, in the arithmetic of the updates."""

    def __init__(self, teacher: world_model.Teacher, policy: Policy, device: torch.device, dtype: torch.dtype) -> None:
        """Copies both, to a device."""
        self.teacher = copy.deepcopy(teacher).to(device, dtype)
        for bound in ("low", "high"):  # keep their precision
            setattr(self.teacher, bound, getattr(teacher, bound).to(device))
        self.policy = copy.deepcopy(policy).to(device, dtype)
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
    teacher, which is refreshed under a lock that the teacher's optimiser steps hold too. `learner.graphs` says how the
    same holds where a GPU does the work later than it is asked to.
    """

    def __init__(self, spec: StreamSpec, config: LearnerConfig, seed: int) -> None:
        """Makes untrained networks, the same for the same seed.

        Raises:
            ValueError: a setting asks for a device that is not there.
        """
        self.spec, self.config, self.seed = spec, config, seed
        self.device, self.student_device = choose_devices(config)
        self.dtype = choose_dtype(config.precision, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.teacher = world_model.Teacher(spec, config).to(self.device)
            feat = self.teacher.rssm.feat_size
            self.policy = Policy(feat, spec.action_dim, config).to(self.device)
            self.critic = Critic(feat, config).to(self.device)
            self.student = distillation.Student(spec, config).to(self.student_device)
        self.student_average = copy.deepcopy(self.student)
        frozen_parameters(self.student_average)
        self.span = ReturnRange().to(self.device)
        self.progress = StudentProgress().to(self.student_device)
        if config.student.dynamics != "scratch":
            self.student.copy_dynamics(self.teacher)
            self.student_average.copy_dynamics(self.teacher)
        self._dream = Frozen(self.teacher, self.policy, self.device, self.dtype)
        self._target = Frozen(self.teacher, self.policy, self.student_device, self.dtype)
        teacher, behaviour, student = config.teacher, config.behaviour, config.student
        self.optimisers = {
            "teacher": Optimiser(self.teacher, teacher.learning_rate, teacher.gradient_norm),
            "policy": Optimiser(self.policy, behaviour.actor_learning_rate, behaviour.gradient_norm),
            "critic": Optimiser(self.critic.net, behaviour.critic_learning_rate, behaviour.gradient_norm),
            "student": Optimiser(self.student, student.learning_rate, student.gradient_norm),
        }
        self.teacher_updates = 0
        self.student_updates = 0
        devices = self.device, self.student_device
        self.generators = [make_generator(device, seed * 2 + k) for k, device in enumerate(devices, start=1)]
        self.tallies = {"teacher": Tally("teacher", self.device), "student": Tally("student", self.student_device)}
        # Not in checkpoints: a run that goes on fills it with its first batches.
        self._pool: FramePool | None = None
        if student.frames > 0 and student.readout_scale > 0.0:
            self._pool = FramePool(student.frame_pool, spec.image_shape, spec.state_dim, self.student_device)
        # Moves of the weights against copies of them; a whole update is such a move where it is a graph.
        self._lock = threading.RLock()
        self._teacher_pause = threading.Lock()  # held for a whole update, so that a checkpoint falls between two
        self._student_pause = threading.Lock()
        self._lanes = {name: Lane(device) for name, device in zip(("teacher", "student"), devices, strict=True)}
        self._staging = {
            "teacher": Staging(TEACHER_READS, self._lanes["teacher"]),
            "student": Staging(STUDENT_READS, self._lanes["student"]),
        }
        functions = {"teacher": self._teacher_update, "student": self._student_update}
        captured = config.graphs == "auto"
        self._updates = {
            name: Update(functions[name], lane, self._lock, [generator], captured)
            for (name, lane), generator in zip(self._lanes.items(), self.generators, strict=True)
        }
        self._synchronize()

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
            Scalars on the learner's device, detached; overwritten by the next update.
        """
        with self._teacher_pause:
            metrics = self._updates["teacher"](self._staging["teacher"].put(batch))
            self.teacher_updates += 1
            return metrics

    def _teacher_update(self, batch: dict[str, Tensor]) -> Metrics:
        config = self.config.teacher
        with self._autocast(self.device):
            losses, metrics, observed = world_model.teacher_losses(self.teacher, config, batch, self.generators[0])
        means = world_model.means(losses, batch)
        metrics["gradient_norm"] = self.optimisers["teacher"].backward(weighted_sum(means, world_model.scales(config)))
        with self._lock:
            self.optimisers["teacher"].step()
        metrics |= {f"loss_{name}": mean.detach() for name, mean in means.items()}
        # An episode does not go on after its end: imagination begins elsewhere.
        going_on = batch["valid"] & ~batch["is_terminal"]
        metrics |= self._behaviour_update(observed.latent.detach(), going_on)
        with self._lock:
            self.tallies["teacher"].add(metrics, self._refused("teacher", "policy", "critic"))
        return metrics

    def _behaviour_update(self, latent: Latent, going_on: Tensor) -> Metrics:
        self._dream.refresh(self.teacher)
        config = self.config.behaviour
        start = latent.rows(pick_rows(going_on.flatten(), config.starts, self.generators[0]))
        with self._autocast(self.device):
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
            Scalars on the student's device, detached; overwritten by the next update.
        """
        with self._student_pause:
            if self.student_updates % self.config.student.refresh_updates == 0:
                self.refresh_target()
            metrics = self._updates["student"](self._staging["student"].put(batch))
            self.student_updates += 1
            return metrics

    def _student_update(self, batch: dict[str, Tensor]) -> Metrics:
        config = self.config.student
        frames = None
        if self._pool is not None:
            self._pool.add(batch["image"], batch["state_at_exposure"], batch["valid"])
            frames = self._pool.draw(config.frames, self.generators[1])
        with self._autocast(self.student_device):
            losses, metrics = distillation.student_losses(
                self.student, self._target.teacher, self._target.policy, config, batch, self.generators[1], frames
            )
        valid = batch["valid"].repeat_interleave(batch["image"].shape[2], dim=0)
        of_steps = losses.keys() - {"imagination"} - ({"readout"} if frames is not None else set())
        means = {k: masked_mean(loss, valid) if k in of_steps else loss.mean() for k, loss in losses.items()}
        optimiser = self.optimisers["student"]
        metrics["gradient_norm"] = optimiser.backward(weighted_sum(means, distillation.scales(config)))
        metrics |= {f"loss_{name}": mean.detach() for name, mean in means.items()}
        updates = self.progress.updates
        if config.decay_updates > 0:
            optimiser.learning_rate.copy_(decayed(config.learning_rate, updates, config.decay_updates))
        with self._lock:
            optimiser.step()
            updates += 1
            # Never over more than the last tenth of the updates, so that early ones do not linger.
            rate = (10.0 / (updates + 9.0)).clamp(min=config.average_rate)
            move_towards(self.student_average, self.student, rate)
            self.tallies["student"].add(metrics, self._refused("student"))
        return metrics

    def report(self, name: str) -> dict[str, float]:
        """The means of the metrics of `teacher` or `student` since the last call, and `skipped`, updates of the run.

        Raises:
            NotFiniteError: the last updates were skipped one and all, as what they computed was not finite.
        """
        with self._lanes[name].entered():
            with self._lock:
                held = self.tallies[name].take()
            return self.tallies[name].means(held)

    def refresh_target(self) -> None:
        """The student's frozen copy follows the teacher; with tied dynamics so does the student's recurrence."""
        with self._all_weights():
            self._target.refresh(self.teacher, self.policy)
            if self.student.tied:
                self.student.copy_dynamics(self.teacher)
                self.student_average.copy_dynamics(self.teacher)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No update is under way inside this context: a state captured in it is one moment's."""
        with self._teacher_pause, self._student_pause:
            self._synchronize()
            yield

    @contextmanager
    def weights_held(self) -> Iterator[None]:
        """No weight that acts moves inside this context; no loop waits for the other's update, as in `paused`."""
        with self._lock:
            self._synchronize()
            yield

    def resume_counters(self, teacher_updates: int, student_updates: int) -> None:
        """Goes on counting from a checkpoint; frozen copies are made anew from the restored weights."""
        self.teacher_updates, self.student_updates = teacher_updates, student_updates
        self.progress.updates.fill_(student_updates)
        for update in self._updates.values():
            update.forget()
        self.tallies["teacher"].begin(teacher_updates)
        self.tallies["student"].begin(student_updates)
        self._dream.refresh(self.teacher)
        self._synchronize()
        self.refresh_target()

    def publish(self) -> tuple[np.ndarray, int]:
        """The weights for `ActingPolicy.load`: one flat float32 array [P], and its version (all updates so far).

        The student that acts is the average of the trained one over its last updates.

        Raises:
            NotFiniteError: they are not finite.
        """
        with self._lanes["teacher"].entered(), self._lanes["student"].entered():
            with self._all_weights():
                parts = gather((self.teacher, self.policy, self.student_average, self.progress))
                version = self.teacher_updates + self.student_updates
            flat = to_host(parts)  # waits for a GPU, and holds up no loop
        if not np.isfinite(flat).all():
            raise NotFiniteError(f"the weights after {version} updates are not finite; no actor gets them")
        return flat, version

    @contextmanager
    def _all_weights(self) -> Iterator[None]:
        """What is queued inside of this context has the weights of both loops to itself, between two moves of each."""
        teacher, student = self._lanes["teacher"], self._lanes["student"]
        # On one device the student's lane is the current one in here; on two, each is that of its own.
        with self._lock, teacher.entered(), student.entered():
            student.follow(teacher)
            yield
            teacher.follow(student)

    def _synchronize(self) -> None:
        """Waits until no device has anything left to do for this learner."""
        for lane in self._lanes.values():
            lane.synchronize()

    def _refused(self, *names: str) -> Tensor:
        return torch.stack([self.optimisers[name].refused for name in names]).sum()

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)
