"""Work that goes on in other threads: the next item while the last is used, or several items at the same time."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """A function of each item, in their order; the next one is begun before the last is used.

    Where the libraries are held to one thread when this is called, nothing is begun before it is asked for.

    Args:
        function: Called in another thread, once at a time.
        items: What it is called with.
    """
    return in_turn(None, function, items, 0) if cv2.getNumThreads() == 1 else _begun_ahead(function, items)


def _begun_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    with ThreadPoolExecutor(1) as worker:
        coming = None
        for item in items:
            following = worker.submit(function, item)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()


def at_once(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result, None, None]:
    """A function of each item, in their order, of which several are worked on at the same time.

    Where it is left before the end, items that were not begun are dropped, and those that were are waited for.

    Args:
        function: Called in other threads, among which the threads of the libraries are divided.
        items: What it is called with.
        workers: How many items are worked on at the same time; as many more may wait to be used.
    """
    with crew(workers) as pool:
        yield from in_turn(pool, function, items, 2 * workers - 1)


def in_turn(
    pool: ThreadPoolExecutor | None, function: Callable[[Item], Result], items: Iterable[Item], waiting: int
) -> Generator[Result, None, None]:
    """A function of each item, in their order, worked on by a crew that other work may be given, too.

    Args:
        pool: Of `crew`; None works on each item when it is asked for.
        function: Called in other threads.
        items: What it is called with; may depend on what the crew has found before.
        waiting: Items that are begun, or wait to be used, beside the one that is asked for.
    """
    if pool is None:
        yield from map(function, items)
        return
    begun: deque[Future[Result]] = deque()
    for item in items:
        begun.append(pool.submit(function, item))
        if len(begun) > waiting:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


@contextmanager
def meanwhile(function: Callable[[], Result], *more: Callable[[], object]) -> Iterator[Future[Result]]:
    """What a function gives, called in another thread while the block is at work; the block ends after both.

    Args:
        function: Called first.
        more: Called afterwards, one after the other; nobody is told what they give, or that they fail.
    """
    with ThreadPoolExecutor(1) as worker:
        found = worker.submit(function)
        for each in more:
            worker.submit(each)
        yield found


@contextmanager
def crew(workers: int) -> Iterator[ThreadPoolExecutor | None]:
    """Threads that share the work, and the threads of the libraries; None where there is but one."""
    if workers == 1:
        yield None
        return
    with divided_threads(workers):
        pool = ThreadPoolExecutor(workers)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def divided_threads(workers: int) -> Iterator[None]:
    """Threads that are begun within find as many threads of the libraries as there are for each of some workers."""
    before = [(read(), set_count) for read, set_count in _libraries()]
    for threads, set_count in before:
        set_count(max(1, threads // workers))
    try:
        yield
    finally:
        for threads, set_count in before:
            set_count(threads)


def set_threads(threads: int) -> None:
    """Set how many threads each library uses that is loaded."""
    for _, set_count in _libraries():
        set_count(threads)


def _libraries() -> list[tuple[Callable[[], int], Callable[[int], None]]]:
    """What reads and what sets the number of threads; torch takes long to load, and only some work needs it."""
    torch = sys.modules.get("torch")
    loaded = hasattr(torch, "set_num_threads") and hasattr(torch, "get_num_threads")
    of_torch = [(torch.get_num_threads, torch.set_num_threads)] if torch and loaded else []
    return [(cv2.getNumThreads, cv2.setNumThreads), *of_torch]
