"""One pass over the frames of a stack: what can be measured of their motions, and a thumbnail of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

import cv2
import numpy as np

from dff.ahead import crew, in_turn
from dff.align.motion import Bounds, corner_shift
from dff.align.pair import PairMotion, is_better_start, refine_pair, register_pair
from dff.align.pyramid import Plane, Pyramid, is_coded, luminance_pyramid
from dff.stack import FloatArray, FocalStack, Progress

LONG_GAPS = (2, 4)
"""Frames this far apart are registered too where the motion is slow."""
SLOW_PX = 2.0
"""Corner motion per frame below which patterns that stand still (noise, dust, compression) pull neighbours together;
over a longer gap they pull less."""
_READING_SHARE = 4
"""Registering a frame takes some times as long as reading and reducing it."""


@dataclass
class Survey:
    """What one pass over the frames leaves behind."""

    size: tuple[int, int]
    factor: int = 1
    """Reduction of the thumbnails."""
    codes: list[Plane] = field(default_factory=list)
    """A thumbnail of each frame's luminance as the frame has it,"""
    light: list[Plane] = field(default_factory=list)
    """and one in proportion to light."""
    texture: list[float] = field(default_factory=list)
    """Strength of the finest texture of each frame."""
    links: dict[tuple[int, int], PairMotion] = field(default_factory=dict)
    """Measured motions of later frames onto earlier ones, by (earlier, later)."""
    still_px: list[float] = field(default_factory=list)
    """Misregistration of each frame against the one before if nothing is moved; NaN first."""

    def chained(self, earlier: int, later: int) -> FloatArray | None:
        """The motion onto an earlier frame by way of the neighbours between; None where a link is missing."""
        transform = np.eye(3)
        for k in range(earlier, later):
            if (k, k + 1) not in self.links:
                return None
            transform = transform @ self.links[k, k + 1].transform
        return transform


def survey_stack(stack: FocalStack, model: str, bounds: Bounds, on_progress: Progress) -> Survey:
    """Motions between the frames of a stack, decoding each frame once and keeping a few of them, reduced.

    Pairs of frames are registered at the same time, on as many threads as OpenCV may use.

    Args:
        stack: The frames, in order along z.
        model: Richest motion model; "none" only measures what is misregistered.
        bounds: Largest believed motion between neighbours.
        on_progress: Called after each frame.
    """
    survey, workers = Survey(size=stack.shape[:2]), cv2.getNumThreads()
    with crew(workers) as pool:

        def seen(k: int) -> tuple[Pyramid, float]:
            pyramid = luminance_pyramid(stack.frames[k], stack.white, coded=is_coded(stack))
            _, deviation = cv2.meanStdDev(cv2.Laplacian(pyramid.levels[0], cv2.CV_32F))
            return pyramid, float(deviation.item()) ** 2

        def registered(pair: tuple[Pyramid | None, Pyramid]) -> PairMotion | None:
            return None if pair[0] is None else register_pair(pair[0], pair[1], model, bounds)

        def refined(pair: _Far) -> PairMotion | None:
            return refine_pair(pair.fixed, pair.moving, pair.start, model, levels=1)

        # Whole frames are large, so that few of them are read at the same time.
        frames = in_turn(pool, seen, range(len(stack)), 1 + workers // _READING_SHARE)
        pairs = _neighbours(_noted(survey, frames))
        motions = in_turn(pool, lambda pair: (pair, registered(pair)), pairs, 2 * workers)
        far = _linked(pool, survey, motions, model, bounds, lambda k: on_progress("align", k + 1, len(stack)))
        longer = [
            ((pair.earlier, pair.later), motion)
            for pair, motion in in_turn(pool, lambda pair: (pair, refined(pair)), far, 2 * workers)
            if motion is not None
        ]
    survey.links.update(longer)
    # Whoever was first: least squares adds them up in this order.
    survey.links = dict(sorted(survey.links.items(), key=lambda item: (item[0][1], np.ptp(item[0]) > 1, item[0][0])))
    return survey


@dataclass(frozen=True)
class _Far:
    """Two frames that are some apart, and how one is moved onto the other by way of those between."""

    earlier: int
    later: int
    fixed: Pyramid
    moving: Pyramid
    start: FloatArray


def _noted(survey: Survey, frames: Iterable[tuple[Pyramid, float]]) -> Iterator[Pyramid]:
    for pyramid, texture in frames:
        survey.factor = pyramid.factors[-1]
        survey.codes.append(pyramid.codes)
        survey.light.append(pyramid.thumbnail)
        survey.texture.append(texture)
        yield pyramid


def _neighbours(pyramids: Iterable[Pyramid]) -> Iterator[tuple[Pyramid | None, Pyramid]]:
    """Each frame with the one before, the first with none."""
    before = None
    for pyramid in pyramids:
        yield before, pyramid
        before = pyramid


def _linked(
    pool: ThreadPoolExecutor | None,
    survey: Survey,
    motions: Iterable[tuple[tuple[Pyramid | None, Pyramid], PairMotion | None]],
    model: str,
    bounds: Bounds,
    on_frame: Callable[[int], None],
) -> Iterator[_Far]:
    """Link every frame to one before; gives the pairs farther apart that are worth a link, too."""
    recent: deque[tuple[int, Pyramid]] = deque(maxlen=max(LONG_GAPS))
    for k, ((_, current), motion) in enumerate(motions):
        if model == "none":
            survey.still_px.append(float("nan") if motion is None else motion.residual_px)
        elif motion is not None:
            link = _link_back(pool, survey, recent, k, current, motion, model, bounds)
            survey.links.update([link] if link else [])
            yield from _worth_a_link(survey, recent, k, current)
        recent.append((k, current))
        on_frame(k)


def _link_back(
    pool: ThreadPoolExecutor | None,
    survey: Survey,
    recent: Sequence[tuple[int, Pyramid]],
    k: int,
    current: Pyramid,
    found: PairMotion,
    model: str,
    bounds: Bounds,
) -> tuple[tuple[int, int], PairMotion] | None:
    """The link of a frame to the one before, or, past frames that show nothing, to the nearest that has one.

    Args:
        pool: Who looks at several frames at the same time.
        found: The motion onto the frame before, as nothing but the two frames tell it.
    """
    last = [link.transform for link in list(survey.links.values())[-1:]]

    def link(frame: tuple[int, Pyramid]) -> tuple[tuple[int, int], PairMotion]:
        return (frame[0], k), register_pair(frame[1], current, model, bounds, last)

    *farther, (before, pyramid) = recent
    nearest = ((before, k), found)
    if last and is_better_start(pyramid, current, last[0], found):
        nearest = link((before, pyramid))
    every = chain([nearest], in_turn(pool, link, reversed(farther), 1))
    return next(((pair, motion) for pair, motion in every if np.isfinite(motion.sigma_px).all()), None)


def _worth_a_link(survey: Survey, recent: Sequence[tuple[int, Pyramid]], k: int, current: Pyramid) -> Iterator[_Far]:
    for earlier, pyramid in recent:
        start = survey.chained(earlier, k) if k - earlier in LONG_GAPS else None
        if start is not None and corner_shift(start, survey.size) <= SLOW_PX * (k - earlier):
            yield _Far(earlier, k, pyramid, current, start)
