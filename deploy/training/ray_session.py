"""Ray for one run: a private one on this machine, or the cluster that this driver was submitted to."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.errors import UserError

OBJECT_STORE_BYTES = 256 * 2**20
"""Of a local Ray: only weights and checkpoints pass through it."""


@contextmanager
def ray_session(mode: str) -> Iterator[None]:
    """Starts a Ray of our own (mode local) or joins the cluster around us (mode cluster), and leaves it at the end.

    Ray's servers listen on every interface, so a local one is closed by a token of its own. Ray reads that setting
    when it is first imported, which therefore happens here and nowhere before.
    """
    if mode == "local" and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave CUDA_VISIBLE_DEVICES of actors alone
    import ray

    if mode == "cluster":
        try:
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise UserError(
                "--mode cluster finds no Ray cluster here: submit the command to one, or use local"
            ) from error
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
        )
    try:
        yield
    finally:
        ray.shutdown()


def draining_nodes() -> frozenset[str]:
    """Ids of the nodes that Ray has been told will go soon (a spot node's notice, a drained Kubernetes pod).

    There is no public call for it; Ray Train watches for preemption by the same one.
    """
    import ray._private.state

    return frozenset(ray._private.state.state.get_draining_nodes())
