"""Evaluations in two processes of their own: rendering and small networks would fight over one interpreter."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from deploy.process import child, signals

T = TypeVar("T")


def map_in_two_processes(function: Callable[..., T], *arguments: Iterable[Any]) -> Generator[T, None, None]:
    """As `map`: results in order, each as soon as it and those before it are there.

    Args:
        function: of a module, so that another process can import it.
        arguments: one iterable for each of its parameters.

    Yields:
        What it returned. When the iterator is closed, or a call has failed, the other calls are not made to their end.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=child.begin, initargs=(os.getpid(),)) as pool:
        try:
            with signals.kept_from_children():
                results = pool.map(function, *arguments)
            yield from results
        except BaseException:
            # Nobody waits for the others' results, which may take minutes.
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
