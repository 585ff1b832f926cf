"""What a loop's updates told, summed up where they were made, and what became of those that were not finite.

Shapes: M metrics. All of it stays on the device until somebody asks, and comes in one transfer then.
"""

import torch
from torch import Tensor

MOST_IN_A_ROW = 4
"""Updates in a row that may be skipped as not finite; with one more the learner says that it cannot go on."""

Metrics = dict[str, Tensor]


class NotFiniteError(RuntimeError):
    """The learner computes what is not finite, again and again, or its weights are not; the message says what."""


class Tally:
    """Sums over one loop's updates."""

    def __init__(self, who: str, device: torch.device) -> None:
        """Begins with nothing.

        Args:
            who: whose updates these are, for messages.
            device: where they are made.
        """
        self._who, self._device = who, device
        self._names: tuple[str, ...] = ()
        # Since the last report: sums [M] over the updates that counted, and how many these were. Of the run until now:
        # updates, skipped ones, skipped in a row at its end. Of the last skipped one: what was not finite [M].
        self._sums = self._faults = torch.zeros(0, device=device)
        self._counts = torch.zeros(4, dtype=torch.int64, device=device)

    def begin(self, updates: int) -> None:
        """Goes on counting updates from here."""
        self._counts.zero_()
        self._counts[1] = updates

    def add(self, metrics: Metrics, refused: Tensor) -> None:
        """Takes in one update.

        Args:
            metrics: scalars, the same ones each time.
            refused: scalar, not 0 where the update was skipped; it does not count in the means then.
        """
        if not self._names:
            self._names = tuple(metrics)
            self._sums = torch.zeros(len(metrics), device=self._device)
            self._faults = torch.zeros_like(self._sums)
        assert self._names == tuple(metrics), (self._names, tuple(metrics))
        values = torch.stack([x.detach().float() for x in metrics.values()])
        skipped = refused != 0
        self._sums += torch.where(skipped, 0.0, values)
        self._faults.copy_(torch.where(skipped, (~torch.isfinite(values)).float(), self._faults))
        counted, updates, in_all, in_a_row = self._counts.unbind()
        counted += ~skipped
        updates += 1
        in_all += skipped
        in_a_row.copy_((in_a_row + 1) * skipped)

    def take(self) -> Tensor:
        """All that is held, as one vector that later updates leave alone; sums begin anew."""
        held = torch.cat((self._counts.double(), self._sums.double(), self._faults.double()))
        self._sums.zero_()
        self._counts[0] = 0
        return held

    def means(self, held: Tensor) -> dict[str, float]:
        """The mean of each metric over the updates that counted, and `skipped`, how many of the run did not.

        Args:
            held: of `take`; it is waited for here.

        Raises:
            NotFiniteError: the last updates were all skipped, more of them than `MOST_IN_A_ROW`.
        """
        counted, updates, in_all, in_a_row, *values = held.tolist()
        sums, faults = values[: len(self._names)], values[len(self._names) :]
        if in_a_row > MOST_IN_A_ROW:
            wrong = [name for name, fault in zip(self._names, faults, strict=True) if fault]
            losses = [name for name in wrong if name.startswith("loss_")] or wrong
            raise NotFiniteError(
                f"{self._who}: {', '.join(losses)} not finite since update {updates - in_a_row + 1:.0f}; "
                f"{in_a_row:.0f} updates in a row were skipped, the last good one is update {updates - in_a_row:.0f}"
            )
        if not counted:
            return {"skipped": in_all} if updates else {}
        return {name: total / counted for name, total in zip(self._names, sums, strict=True)} | {"skipped": in_all}
