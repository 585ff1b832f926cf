"""Which seeds of environments are whose, so that no episode of training is ever one of an evaluation.

An episode follows from its seed, a whole number from 0 to 2^32 - 1, which its chunks and a crash's file tell. The
numbers are divided into two halves:

    0 to 2^31 - 1       evaluation     follows from the evaluation's seed and the episode's number alone
    2^31 to 2^32 - 1    training       from the generator of an actor's stream; also what `reset` draws by itself

Whoever gives `reset` a number of their own may give any.
"""

from __future__ import annotations

import zlib

import numpy as np

_HALF = 2**31
EVALUATION, TRAINING = range(_HALF), range(_HALF, 2 * _HALF)

_ENTROPY = 0xE7A1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator for one purpose in the episode with this seed."""
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.default_rng([seed, *words])


def training_seed(rng: np.random.Generator) -> int:
    """Draw the seed of an episode that is learned from."""
    return TRAINING[int(rng.integers(len(TRAINING)))]


def evaluation_seed(seed: int, index: int) -> int:
    """Return the seed of episode `index` of the evaluation with `seed`."""
    return EVALUATION[int(np.random.SeedSequence([_ENTROPY, seed, index]).generate_state(1)[0]) >> 1]
