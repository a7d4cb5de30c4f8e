"""Work in other threads: order, errors, how the threads of the libraries are divided, and tiles for all workers."""

from __future__ import annotations

import threading

import cv2
import pytest
import torch

from dff.ahead import ahead, at_once, divided_threads, set_threads
from dff.pipeline.tiling import LANES, Tiling, spans


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    """However long each takes."""
    left = threading.Event()

    def work(k: int) -> int:
        if k == 0 and workers > 1:
            assert left.wait(10)
        left.set()
        return k * k

    assert list(at_once(work, range(20), workers)) == [k * k for k in range(20)]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_next_item_is_begun_before_the_last_is_used_where_there_are_threads(threads: int) -> None:
    """A process held to one thread takes no second core from the others of a batch."""
    before, by = cv2.getNumThreads(), set[int]()
    set_threads(threads)
    try:
        results = ahead(lambda k: by.add(threading.get_ident()) or k, range(5))
        with divided_threads(2):
            assert list(results) == list(range(5))
    finally:
        set_threads(before)
    assert (threading.get_ident() in by) == (threads == 1)
    assert len(by) == 1


def test_an_error_comes_in_its_turn_and_ends_the_work() -> None:
    """Nothing runs any more when it arrives, and most of the rest was never begun."""
    begun: list[int] = []

    def work(k: int) -> int:
        begun.append(k)
        if k == 3:
            raise ValueError("three")
        return k

    results = at_once(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(begun) < 10


def test_threads_of_the_libraries_are_divided_among_workers() -> None:
    """Threads that are begun meanwhile have their share; afterwards all is as it was."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(4)
    cv2.setNumThreads(4)
    try:
        assert set(at_once(lambda _: (torch.get_num_threads(), cv2.getNumThreads()), range(4), 2)) == {(2, 2)}
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (4, 4)
        with divided_threads(8):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@pytest.mark.parametrize("size", [(512, 512), (2000, 3000), (333, 4001)])
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_tiles_fit_into_the_budget_and_are_done_sooner_by_more_workers(size: tuple[int, int], threads: int) -> None:
    """All tiles that are worked on at the same time, halos included; they begin where others would."""
    budget_px = 600_000
    tiling = Tiling.soonest(size, budget_px, 56, threads)
    assert tiling.workers <= threads
    assert tiling.workers * tiling.area_px <= budget_px
    assert (tiling.rows % 4, tiling.columns % LANES) == (0, 0)
    largest = max(
        (min(size[0], bottom + 56) - max(0, top - 56)) * (min(size[1], right + 64) - max(0, left - 64))
        for top, bottom in spans(size[0], tiling.rows)
        for left, right in spans(size[1], tiling.columns)
    )
    assert largest <= tiling.area_px
    if threads > 1:
        assert tiling.cost_px < Tiling.soonest(size, budget_px, 56).cost_px
