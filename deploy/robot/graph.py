"""The acting student as one ONNX graph: a single step with its latent state, and its reset, as inputs and outputs.

    image, proprioception, deter, stoch, previous_action, reset  ->  action, ... , deter_next, stoch_next, reset_next

Where the policy is given nothing beside the image, the graph has no input `proprioception`. Nothing is drawn: z is its
probabilities and the action its mean, as in every evaluation. `reset` is True at an episode's first step, where latent
and previous action count as zero; `reset_next` is always False, so that whoever feeds outputs back needs no rule. No
other module imports onnx.

Shapes: D deter, S groups, K classes, A action, P measured, H W C image; the graph is of one robot, so that B is 1.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.process.extras import EXPORTER, require_extra
from learner.behaviour import Critic
from learner.distributions import categorical_kl, drawn_or_expected
from learner.methods.twist import TwistPolicy
from learner.rssm import Latent

OPSET = 18
OWN = "proprioception"
INPUTS = ("image", OWN, "deter", "stoch", "previous_action", "reset")
NEXT = ("deter_next", "stoch_next", "reset_next")
"""Outputs that are the inputs of the same name at the next step."""


class StudentStep(nn.Module):
    """One step as a pure function of tensors.

    Outputs, float32, [1, ...]: `action` [A] in [-1, 1]; `reward` that the teacher's head expects here; `value`, where
    the source has a critic; `state` [S_dim] in physical units, read off this image alone, as it was at exposure;
    `belief` [S_dim], the same read off the latent; `expected` [S_dim], what it would be had there been no image;
    `embed` [E], what the encoder makes of the image; `surprise`, KL(posterior | prior) in nats.

    What is carried on (recurrence, posterior, policy) is computed in float64 and rounded to float32; encoder and heads
    compute in float32. In float32 alone the recurrence amplifies a processor's last bits a thousandfold now and then,
    so that no two machines would agree over an episode to more than 1e-4.
    """

    def __init__(self, networks: TwistPolicy, critic: Critic | None) -> None:
        """Copies the networks, on the CPU."""
        super().__init__()
        self.encoder, self.readout, self.seen = (
            networks.student.encoder,
            networks.student.readout,
            networks.student.seen,
        )
        self.proprioception = networks.student.proprioception
        self.rssm = copy.deepcopy(networks.student.rssm).double()
        self.policy = copy.deepcopy(networks.policy).double()
        self.imagined = networks.student.rssm
        self.teacher, self.critic = networks.teacher, critic
        self.spec = networks.spec
        self.sizes = networks.config.rssm

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs' names, in order."""
        value = ("value",) if self.critic is not None else ()
        return ("action", "reward", *value, "state", "belief", "expected", "embed", "surprise", *NEXT)

    def initial(self) -> tuple[Tensor, ...]:
        """What the inputs are at a first step, with a black image."""
        size = self.sizes
        return (
            torch.zeros(1, *self.spec.image_shape, dtype=torch.uint8),
            torch.zeros(1, self.proprioception.size),
            torch.zeros(1, size.deter),
            torch.zeros(1, size.groups, size.classes),
            torch.zeros(1, self.spec.action_dim),
            torch.ones(1, dtype=torch.bool),
        )

    def forward(
        self, image: Tensor, measured: Tensor, deter: Tensor, stoch: Tensor, previous_action: Tensor, reset: Tensor
    ) -> tuple[Tensor, ...]:
        """[1, H, W, C] uint8, [1, P], [1, D], [1, S, K], [1, A], [1] bool to the outputs of the class's docstring."""
        keep = (~reset).double()
        embed: Tensor = self.encoder(image)
        action_in = self.rssm.action_in(previous_action.double() * keep[:, None])
        before = Latent(deter.double() * keep[:, None], stoch.double() * keep[:, None, None])
        deter = self.rssm.recur(before, action_in).float()
        post = self.rssm.post(deter.double(), self.rssm.project(self.seen(embed, measured).double()))
        latent = Latent(deter.double(), drawn_or_expected(post, None))
        mean, _ = self.policy(latent.feat)
        seen = Latent(deter, latent.stoch.float())
        imagined = Latent(deter, drawn_or_expected(self.rssm.prior(deter.double()), None).float())
        value = (self.critic.value(seen.feat),) if self.critic is not None else ()
        return (
            mean.clamp(-1.0, 1.0).float(),
            self.teacher.predict_reward(seen),
            *value,
            self.teacher.denormalise(self.readout(embed)),
            self.teacher.denormalise(self.teacher.decoder(seen.feat)),
            self.teacher.denormalise(self.teacher.decoder(imagined.feat)),
            embed,
            categorical_kl(post.float(), self.imagined.prior(deter)),
            *seen,
            reset & False,
        )


class _ImageAlone(nn.Module):
    """A step that is given nothing beside the image, without that input."""

    def __init__(self, step: StudentStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, image: Tensor, *carry: Tensor) -> tuple[Tensor, ...]:
        return self.step(image, torch.zeros(1, 0), *carry)  # type: ignore[no-any-return]


def export_graph(step: StudentStep, file: Path) -> None:
    """Writes the graph.

    Raises:
        UserError: what PyTorch's exporter is made of is not installed; it would say so at great length.
    """
    require_extra("exporting", *EXPORTER)
    graph: nn.Module = step
    inputs, names = step.initial(), list(INPUTS)
    if not step.proprioception.size:
        graph, inputs = _ImageAlone(step), (inputs[0], *inputs[2:])
        names.remove(OWN)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx"), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            inputs,
            str(file),
            input_names=names,
            output_names=list(step.outputs),
            opset_version=OPSET,
            dynamo=True,
            custom_translation_table={torch.ops.aten.silu.default: _silu()},
            external_data=False,
            optimize=True,
            verbose=False,
        )


def _silu() -> Callable[..., Any]:
    """SiLU without a sigmoid: onnxruntime up to 1.23 fuses that into an operator which knows no float64."""
    import onnxscript

    op: Any = onnxscript.opset18

    def silu(x: Any) -> Any:
        one = op.CastLike(op.Constant(value_float=1.0), x)
        return op.Div(x, op.Add(one, op.Exp(op.Neg(x))))

    return silu


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
