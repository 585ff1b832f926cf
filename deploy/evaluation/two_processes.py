"""Evaluations in two processes of their own: rendering and small networks would fight over one interpreter."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def map_in_two_processes(function: Callable[..., T], *arguments: Iterable[Any]) -> Generator[T, None, None]:
    """As `map`: results in order, each as soon as it and those before it are there.

    Args:
        function: of a module, so that another process can import it.
        arguments: one iterable for each of its parameters.

    Yields:
        What it returned. Calls that have not begun when the iterator is closed are not made.
    """
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(function, *arguments)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
