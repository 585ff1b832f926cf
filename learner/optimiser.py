"""Adam with clipped gradients; the one place where optimisers live."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Optimiser:
    """Adam over the trainable parameters of one module.

    The step size and the counts are on the parameters' device, so that a step can be captured as part of a CUDA graph.
    A step whose loss or gradients are not finite moves nothing: Adam's fused step looks at `refused` itself, as it does
    for torch's gradient scaler, and nothing waits for the device to say so.

    Attributes:
        refused: scalar float32, 1 where the gradients of the last `backward` are not to be stepped along, else 0.
    """

    def __init__(
        self, module: nn.Module, learning_rate: float, gradient_norm: float, refused: Tensor | None = None
    ) -> None:
        """Makes the optimiser.

        Args:
            module: whose parameters are moved, but for those that are frozen now.
            learning_rate: Adam's step size.
            gradient_norm: to which gradients are clipped.
            refused: shared by the optimisers of one update, and set to 0 before each by whoever owns it: where one of
                them has refused, those after it refuse, too. None: its own.
        """
        self.parameters = [x for x in module.parameters() if x.requires_grad]
        self.gradient_norm = gradient_norm
        device = self.parameters[0].device
        self.learning_rate = torch.full((), learning_rate, device=device)
        self._shared = refused is not None
        self.refused = torch.zeros((), device=device) if refused is None else refused
        self.adam = torch.optim.Adam(
            self.parameters, lr=learning_rate, eps=1e-6, fused=True, capturable=device.type == "cuda"
        )
        self.adam.param_groups[0]["lr"] = self.learning_rate
        self.adam.found_inf = self.refused  # type: ignore[attr-defined]

    def backward(self, loss: Tensor) -> Tensor:
        """Fresh gradients of a scalar loss, clipped; returns their norm before clipping.

        A loss that depends on no parameter (every scale is 0) has gradients of zero.
        """
        assert loss.ndim == 0, loss.shape
        self.adam.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
        else:
            for parameter in self.parameters:
                parameter.grad = torch.zeros_like(parameter)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.gradient_norm)
        wrong = ~(torch.isfinite(loss.detach()) & torch.isfinite(norm))
        self.refused.copy_(wrong | (self.refused != 0) if self._shared else wrong)
        return norm

    def load(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Goes on with Adam's state, by the numbers of the parameters."""
        self.adam.load_state_dict({"state": moments, "param_groups": self.adam.state_dict()["param_groups"]})
        self.adam.param_groups[0]["lr"] = self.learning_rate  # torch has put a copy of it there

    def step(self) -> None:
        """Moves the parameters, unless that is refused."""
        self.adam.step()
