"""Work that goes on in another thread while the last of it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """A function of each item, in their order; the next one is begun before the last is used.

    Args:
        function: Called in another thread, once at a time.
        items: What it is called with.
    """
    with ThreadPoolExecutor(1) as worker:
        coming = None
        for item in items:
            following = worker.submit(function, item)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
