"""The path of a stack: motions between neighbours, reconciled with longer links and with how steadily it moves."""

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
STEADIEST_PX = 0.02
"""No stack is believed to move more steadily."""
FEWEST_STEPS = 6
"""Steps without which nothing is known of how steadily a stack moves."""
LINK_TRUST, STEADY_TRUST = 6.0, 2.0
"""Standard deviations at which a measured motion and the steadiness of the stack begin to be doubted."""
LOOSE_PX = 1e3
STILL_PX = 0.3
"""Corner motion over a whole stack that is not worth a resampling;"""
STILL_SIGMA = 3.0
"""nor is one within this many standard deviations,"""
CREEP_PX, LARGEST_CREEP_PX = 0.05, 1.0
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
        """(N,) standard deviation of the corners' motion onto the reference frame."""
        between = np.tri(len(self.steps) + 1, len(self.steps), -1)
        sums = between - between[reference]
        return np.sqrt(np.einsum("ni,pij,nj->n", sums, self.covariance, sums))

    def is_still(self, reference: int) -> bool:
        """Whether no frame moves more than is worth undoing or more than can be told from nothing."""
        moved = np.array([corner_shift(transform, self.size) for transform in self.chained(reference)])
        creep = np.abs(np.arange(len(moved)) - reference) * CREEP_PX
        worthless = np.clip(creep, STILL_PX, LARGEST_CREEP_PX)
        return bool((moved <= np.maximum(worthless, STILL_SIGMA * self.sigma_px(reference))).all())


def reconcile(links: Links, count: int, size: tuple[int, int], model: str) -> Path:
    """The path that agrees best with all measured motions and with its own steadiness.

    Robust least squares on the similarity parameters of a correction of each step (Cauchy weights). Rows: one a link,
    the sum of the steps it spans; first and second differences of neighbouring steps, as scattered as they are found,
    so that an uncertain or missing step follows its neighbours and a certain one is kept.

    Args:
        links: Measured motions of later frames onto earlier ones.
        count: Number N of frames.
        size: (H, W) of the frames.
        model: Richest model used; parameters that it lacks stay zero.
    """
    first = _first_guess(links, count, size)
    start: FloatArray = np.array([similarity_parameters(step, size) for step in first]).reshape(count - 1, 4)
    spans, gaps, sigmas = _link_rows(links, first, size)
    correction, covariance = np.zeros((count - 1, 4)), np.zeros((4, count - 1, count - 1))
    for p in range(min(4, DEGREES[model])):
        rows, values, sigma, trust = _steady_rows(links, start, p)
        correction[:, p], covariance[p] = _robust_solve(
            np.vstack([spans, rows]),
            np.r_[gaps[:, p], values],
            np.r_[sigmas[:, p], sigma],
            np.r_[np.full(len(spans), LINK_TRUST), trust],
        )
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
    links: Links, steps: list[FloatArray], size: tuple[int, int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Steps that each link spans, by how much the link differs from their product, and its standard deviations."""
    spans = np.zeros((len(links), len(steps)))
    gaps, sigmas = np.zeros((len(links), 4)), np.zeros((len(links), 4))
    for row, ((earlier, later), motion) in enumerate(links.items()):
        product = np.linalg.multi_dot([np.eye(3), np.eye(3), *steps[earlier:later]])
        spans[row, earlier:later] = 1
        gaps[row] = similarity_parameters(np.linalg.inv(product) @ motion.transform, size)
        sigmas[row] = _link_sigma(motion)
    return spans, gaps, sigmas


def _link_sigma(motion: PairMotion) -> FloatArray:
    return np.hypot(motion.sigma_px, SYSTEMATIC_PX + SYSTEMATIC_SHARE * np.nan_to_num(motion.residual_px))


def _steady_rows(links: Links, start: FloatArray, p: int) -> tuple[FloatArray, ...]:
    """First and second differences of parameter p, which ought to vanish as far as the stack moves steadily."""
    count = len(start)
    noise: FloatArray = np.full(count, LOOSE_PX)
    for k in range(count):
        if (k, k + 1) in links:
            noise[k] = min(LOOSE_PX, _link_sigma(links[k, k + 1])[p])
    both = [np.diff(np.eye(count), n=order, axis=0) for order in (1, 2)]
    sigma = [np.full(len(rows), _steadiness(rows, start[:, p], noise)) for rows in both]
    rows = np.vstack(both)
    return rows, -rows @ start[:, p], np.concatenate(sigma), np.full(len(rows), STEADY_TRUST)


def _steadiness(difference: FloatArray, values: FloatArray, noise: FloatArray) -> float:
    """Robust standard deviation of a difference of neighbouring steps beyond their measurement noise."""
    measured = np.abs(difference) @ noise < LOOSE_PX
    if measured.sum() < FEWEST_STEPS:
        return LOOSE_PX
    spread = 1.4826 * float(np.median(np.abs(difference[measured] @ values)))
    known = float(np.median(difference[measured] ** 2 @ noise**2))
    return max(STEADIEST_PX, np.sqrt(max(0.0, spread**2 - known)))


def _robust_solve(
    rows: FloatArray, values: FloatArray, sigma: FloatArray, trust: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Least squares with Cauchy weights of scale `trust` standard deviations, and the covariance of the solution."""
    precision = 1 / sigma**2
    solution: FloatArray = np.zeros(rows.shape[1])
    for _ in range(10):
        weighted = precision / (1 + precision * ((rows @ solution - values) / trust) ** 2)
        normal = (rows.T * weighted) @ rows + np.eye(rows.shape[1]) / LOOSE_PX**2
        solution = np.linalg.solve(normal, rows.T @ (weighted * values))
    return solution, np.linalg.inv(normal)
