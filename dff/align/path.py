"""The path of a stack: motions between neighbours, reconciled with longer links and with the trend of the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dff.align.motion import DEGREES, corner_shift, similarity_parameters, similarity_transform
from dff.align.pair import PairMotion
from dff.stack import FloatArray

SYSTEMATIC_PX = 0.02
"""Error of a link that its own scatter does not show,"""
SYSTEMATIC_SHARE = 0.3
"""and share of its residual that acts like one."""
TREND_STEPS = 2
"""Steps on either side that count most for the trend of a step."""
CERTAIN_PX = 0.3
"""Steps more certain than this count the same."""
STEADIEST_PX = 0.05
"""No stack is believed to follow its trend more closely."""
FEWEST_STEPS = 6
"""Steps without which nothing is known of how closely a stack follows its trend."""
LINK_TRUST, TREND_TRUST = 6.0, 2.0
"""Standard deviations at which a measured motion and the trend begin to be doubted."""
LOOSE_PX = 1e3
OPEN_PX = 100.0
"""Standard deviation beyond which links leave a step open."""
STILL_PX = 0.3
"""Corner motion over a whole stack that is not worth a resampling;"""
STILL_SIGMA = 3.0
"""nor is one within this many standard deviations,"""
CREEP_PX, LARGEST_CREEP_PX = 0.1, 1.0
"""nor one of less per frame up to this total: a blur that grows to one side looks like that much motion."""

Links = Mapping[tuple[int, int], PairMotion]


@dataclass(frozen=True)
class Path:
    """Motions of each frame but the first onto the one before."""

    steps: FloatArray
    """(N - 1, 3, 3) full-size maps."""
    correction: FloatArray
    """(N - 1, 4) what reconciling changed, as shift x, y, scale and rotation, px (at the corner)."""
    covariance: FloatArray
    """(4, N - 1, N - 1) of these parameters."""
    size: tuple[int, int]

    def chained(self, reference: int) -> FloatArray:
        """(N, 3, 3) maps of all frames onto the reference frame."""
        transforms = np.tile(np.eye(3), (len(self.steps) + 1, 1, 1))
        for k in range(reference, len(self.steps)):
            transforms[k + 1] = transforms[k] @ self.steps[k]
        for k in range(reference, 0, -1):
            transforms[k - 1] = transforms[k] @ np.linalg.inv(self.steps[k - 1])
        return transforms / transforms[:, 2:, 2:]

    def sigma_px(self, reference: int) -> FloatArray:
        """(N, 4) standard deviations of the parameters of each frame's motion onto the reference frame."""
        between = np.tri(len(self.steps) + 1, len(self.steps), -1)
        sums = between - between[reference]
        return np.sqrt(np.einsum("ni,pij,nj->np", sums, self.covariance, sums))

    def is_still(self, reference: int) -> bool:
        """Whether no frame moves more than is worth undoing or more than can be told from nothing."""
        chained = self.chained(reference)
        moved = np.array([corner_shift(transform, self.size) for transform in chained])
        parameters = np.abs([similarity_parameters(transform, self.size) for transform in chained])
        creep = np.abs(np.arange(len(moved)) - reference) * CREEP_PX
        worthless = moved <= np.clip(creep, STILL_PX, LARGEST_CREEP_PX)
        doubt = STILL_SIGMA * self.sigma_px(reference)
        unsure = (parameters <= doubt).all(1) & (moved <= np.linalg.norm(doubt, axis=1))
        return bool((worthless | unsure).all())


def reconcile(links: Links, count: int, size: tuple[int, int], model: str) -> Path:
    """The path that agrees best with all measured motions and with the trend of the stack.

    Robust least squares on the similarity parameters of a correction of each step. Rows: one a link, the sum of the
    steps it spans; one a step, which ought to be like the steps around it as far as the stack moves steadily. So a
    missing or uncertain step follows the trend, and a certain one is kept, be it a jump.

    Args:
        links: Measured motions of later frames onto earlier ones.
        count: Number N of frames.
        size: (H, W) of the frames.
        model: Richest model used; parameters that it lacks stay zero.
    """
    first = _first_guess(links, count, size)
    start: FloatArray = np.array([similarity_parameters(step, size) for step in first]).reshape(count - 1, 4)
    spans, gaps, sigmas = _link_rows(links, first, size, model)
    correction, covariance = np.zeros((count - 1, 4)), np.zeros((4, count - 1, count - 1))
    for p in range(min(4, DEGREES[model])):
        rows, values, sigma = (
            np.vstack([spans, np.eye(count - 1)]),
            np.r_[gaps[:, p], np.zeros(count - 1)],
            sigmas[:, p],
        )
        alone, variance = _robust_solve(rows, values, np.r_[sigma, np.full(count - 1, LOOSE_PX)])
        trend, spread = _trend(start[:, p] + alone, np.sqrt(np.diag(variance)))
        values[len(spans) :] = trend - start[:, p]
        correction[:, p], covariance[p] = _robust_solve(rows, values, np.r_[sigma, spread])
    steps = [step @ similarity_transform(change, size) for step, change in zip(first, correction)]
    return Path(np.array(steps).reshape(-1, 3, 3), correction, covariance, size)


def _first_guess(links: Links, count: int, size: tuple[int, int]) -> list[FloatArray]:
    """Neighbour links, shares of longer links where one is missing, the identity elsewhere."""
    steps: list[FloatArray | None] = [None] * (count - 1)
    for (earlier, later), motion in sorted(links.items(), key=lambda item: item[0][1] - item[0][0]):
        share = motion.transform
        if later - earlier > 1:
            share = similarity_transform(similarity_parameters(share, size) / (later - earlier), size)
        steps[earlier:later] = [share if step is None else step for step in steps[earlier:later]]
    return [np.eye(3) if step is None else step for step in steps]


def _link_rows(
    links: Links, steps: list[FloatArray], size: tuple[int, int], model: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Steps that each link spans, by how much the link differs from their product, and its standard deviations."""
    spans = np.zeros((len(links), len(steps)))
    gaps, sigmas = np.zeros((len(links), 4)), np.zeros((len(links), 4))
    for row, ((earlier, later), motion) in enumerate(links.items()):
        product = np.linalg.multi_dot([np.eye(3), np.eye(3), *steps[earlier:later]])
        spans[row, earlier:later] = 1
        gaps[row] = similarity_parameters(np.linalg.inv(product) @ motion.transform, size)
        sigmas[row] = _link_sigma(motion, model)
    return spans, gaps, sigmas


def _link_sigma(motion: PairMotion, model: str) -> FloatArray:
    """(4,) standard deviations of a link; what a simpler model than the one wanted cannot say is open."""
    sigma = np.hypot(motion.sigma_px, SYSTEMATIC_PX + SYSTEMATIC_SHARE * np.nan_to_num(motion.residual_px))
    sigma[DEGREES[motion.model] : DEGREES[model]] = LOOSE_PX
    return sigma


def _trend(values: FloatArray, noise: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What each step ought to be by the steps around it, and the standard deviation of that.

    The weighted median of the steps around it, as far as it exceeds their spread; steps that links leave open have no
    weight. A step that is certainly off the trend loosens it there.
    """
    certainty = np.where(noise < OPEN_PX, 1 / (noise**2 + CERTAIN_PX**2), 0.0)
    apart = np.subtract.outer(np.arange(len(values)), np.arange(len(values)))
    nearness = 1 / (1 + (apart / TREND_STEPS) ** 4)
    if (certainty > 0).sum() < FEWEST_STEPS:
        return values, np.full(len(values), LOOSE_PX)
    trend = np.array([_weighted_median(values, certainty * near) for near in nearness])
    seen = 1.4826 * _weighted_median(np.abs(values - trend), certainty)
    known = _weighted_median(noise, certainty)
    spread = max(STEADIEST_PX, float(np.sqrt(max(0.0, seen**2 - known**2))))
    trend *= trend**2 / (trend**2 + spread**2)
    doubt = (values - trend) / (TREND_TRUST * np.hypot(spread, noise))
    return trend, spread * np.sqrt(1 + doubt**2)


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _robust_solve(rows: FloatArray, values: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least squares with Cauchy weights, and the covariance of the solution."""
    precision = 1 / sigma**2
    solution: FloatArray = np.zeros(rows.shape[1])
    for _ in range(10):
        weighted = precision / (1 + precision * ((rows @ solution - values) / LINK_TRUST) ** 2)
        normal = (rows.T * weighted) @ rows + np.eye(rows.shape[1]) / LOOSE_PX**2
        solution = np.linalg.solve(normal, rows.T @ (weighted * values))
    return solution, np.linalg.inv(normal)
