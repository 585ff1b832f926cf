"""How familiar a picture is: how far the encoder's answer lies from what normal episodes have.

familiar.npz holds of normal episodes' embeddings [E] their mean [E] and what makes them uncorrelated and of one size
[E, E]. The mean square of a picture's embedding after both is about 1 for what is familiar (the Mahalanobis distance
of Lee et al., arXiv 1807.03888), and grows where something was never seen: a covered lens, swapped channels.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .refusals import BundleError

FAMILIAR = "familiar.npz"

_LEAST_VARIANCE = 0.01
"""Share of the mean variance that is added to each: directions that normal episodes hardly use do not count fully."""


class Familiar:
    """See the module's docstring."""

    def __init__(self, mean: NDArray[np.float32], whitening: NDArray[np.float32]) -> None:
        """Takes the mean [E] and the whitening [E, E]."""
        self._mean, self._whitening = mean, whitening

    @classmethod
    def of(cls, embeds: NDArray[np.float32]) -> Familiar:
        """What is familiar after embeddings [N, E]."""
        exact = embeds.astype(np.float64)
        mean = exact.mean(0)
        variances, axes = np.linalg.eigh(np.cov(exact.T))
        sizes = np.sqrt(np.maximum(variances, 0.0) + _LEAST_VARIANCE * variances.mean())
        return cls(mean.astype(np.float32), (axes / sizes).astype(np.float32))

    @classmethod
    def read(cls, bundle: Path) -> Familiar:
        """Of a bundle.

        Raises:
            BundleError: it cannot be read.
        """
        path = bundle / FAMILIAR
        try:
            with np.load(path, allow_pickle=False) as opened:
                return cls(opened["mean"], opened["whitening"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path}: cannot be read: {error}") from error

    def write(self, bundle: Path) -> None:
        """Into a bundle."""
        with (bundle / FAMILIAR).open("wb") as opened:
            np.savez_compressed(opened, mean=self._mean, whitening=self._whitening)

    def strangeness(self, embed: NDArray[np.float32]) -> NDArray[np.float32]:
        """[..., E] to [...]: about 1 for what is familiar."""
        square: NDArray[np.float32] = np.square((embed - self._mean) @ self._whitening)
        mean: NDArray[np.float32] = square.mean(-1)
        return mean
