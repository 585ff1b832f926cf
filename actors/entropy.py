"""Where an actor's random numbers come from: run, actor and incarnation, and what they are for."""

import zlib

import numpy as np

STREAM, FIRST_CHUNK, POLICY = range(3)
"""What they are for: a stream's episode seeds, drivers and random actions; the length of its first chunk; what the
policy draws."""


def entropy(seed: int, actor_id: str, incarnation: int, *purpose: int) -> np.random.SeedSequence:
    """A source of its own for each purpose; no two are alike.

    Args:
        seed: of the run.
        actor_id: of the actor.
        incarnation: how often an actor of this id had been started before.
        purpose: one of the above, and the stream's number where there are several.
    """
    # Any id gives a number; built-in hash() would give another one in each process.
    return np.random.SeedSequence([seed, zlib.crc32(actor_id.encode()), incarnation], spawn_key=purpose)
