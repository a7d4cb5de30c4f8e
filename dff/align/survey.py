"""One pass over the frames of a stack: what can be measured of their motions, and a thumbnail of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from dff.align.local import misregistration
from dff.align.motion import Bounds, corner_shift
from dff.align.pair import PairMotion, refine_pair, register_pair
from dff.align.pyramid import Plane, Pyramid, is_coded, luminance_pyramid
from dff.stack import FloatArray, FocalStack, Progress

LONG_GAPS = (2, 4)
"""Frames this far apart are registered too where the motion is slow."""
SLOW_PX = 2.0
"""Corner motion per frame below which patterns that stand still (noise, dust, compression) pull neighbours together;
over a longer gap they pull less."""


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
    """Motions between the frames of a stack, decoding each frame once and keeping five of them, reduced.

    Args:
        stack: The frames, in order along z.
        model: Richest motion model; "none" only measures what is misregistered.
        bounds: Largest believed motion between neighbours.
        on_progress: Called after each frame.
    """
    survey = Survey(size=stack.shape[:2])
    recent: deque[tuple[int, Pyramid]] = deque(maxlen=max(LONG_GAPS))
    for k in range(len(stack)):
        current = luminance_pyramid(stack.frames[k], stack.white, coded=is_coded(stack))
        _note(survey, current)
        if model == "none":
            before = [misregistration(recent[-1][1], current, np.eye(3))] if recent else [float("nan")]
            survey.still_px += before
        else:
            _link_back(survey, recent, k, current, model, bounds)
            _link_far(survey, recent, k, current, model)
        recent.append((k, current))
        on_progress("align", k + 1, len(stack))
    return survey


def _note(survey: Survey, pyramid: Pyramid) -> None:
    survey.factor = pyramid.factors[-1]
    survey.codes.append(pyramid.codes)
    survey.light.append(pyramid.thumbnail)
    survey.texture.append(float(cv2.Laplacian(pyramid.levels[0], cv2.CV_32F).var()))


def _link_back(
    survey: Survey, recent: Sequence[tuple[int, Pyramid]], k: int, current: Pyramid, model: str, bounds: Bounds
) -> None:
    """Link a frame to the one before, or, past frames that show nothing, to the nearest that it can be linked to."""
    last = list(survey.links.values())[-1:]
    for earlier, pyramid in reversed(recent):
        motion = register_pair(pyramid, current, model, bounds, [link.transform for link in last])
        if np.isfinite(motion.sigma_px).all():
            survey.links[earlier, k] = motion
            return


def _link_far(survey: Survey, recent: Sequence[tuple[int, Pyramid]], k: int, current: Pyramid, model: str) -> None:
    for earlier, pyramid in recent:
        start = survey.chained(earlier, k) if k - earlier in LONG_GAPS else None
        if start is None or corner_shift(start, survey.size) > SLOW_PX * (k - earlier):
            continue
        motion = refine_pair(pyramid, current, start, model, levels=1)
        if motion is not None:
            survey.links[earlier, k] = motion
