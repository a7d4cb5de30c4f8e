"""Parabolas through the focus curves of single pixels, and what else curves say of them, row by row, compiled.

Moments are added up in double precision: where curves are steep, a neighbouring frame has a millionth of the weight.
"""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, copy_row, exp_of, inner, log_of

BLOCK_PX = 256
FITTED = 5
"""Maps of a parabola: vertex, curvature, height, residual, standard deviation of the vertex."""
CURVES = 8
"""Maps of what else a curve says; see `dff.depth.confidence`."""
_SUMS = 14
_LOGARITHMS = (4, 6)
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_MOST_NOISE, _MOST = np.float32(30), np.float32(80)
_NOWHERE = np.float32(np.nan)
_SINGULAR, _NOTHING = 5e-7, 1e-44
"""A determinant below this share of its terms, or below this, tells of two frames or one: the others have no weight."""


@compiled
def fits(volume, label, times, radius, search, power, bend, noise_logit, samples, start, found):
    """Weighted least-squares parabolas; `dff.depth.refine.fit_peak` has the formula.

    Args:
        volume: (N, H, W) float32 logits.
        label: (H, W) int64.
        times: (N,) float32 position of each frame.
        radius: Frames on either side that are fitted.
        search: Frames on either side of the label within which the highest is taken instead; 0 takes the label.
        power: Of the energies as weights, float32.
        bend: Of the curves, float32.
        noise_logit: float32.
        samples: Number of independent samples in an energy, float32.
        start: (H, W) int64 frame that is fitted around, changed in place.
        found: (FITTED, H, W) float32, changed in place.
    """
    width = volume.shape[2]
    logits = np.empty((2 * radius + 1, BLOCK_PX), np.float32)
    aways, insides = np.empty_like(logits), np.empty_like(logits)
    sums, parts = np.empty((_SUMS, BLOCK_PX), np.float64), np.empty((3, BLOCK_PX), np.float32)
    top, own, share = np.empty(BLOCK_PX, np.float32), np.empty(BLOCK_PX, np.float32), _TWO / samples
    for y in range(volume.shape[1]):
        for left in range(0, width, BLOCK_PX):
            columns = slice(left, min(left + BLOCK_PX, width))
            row, size = start[y, columns], columns.stop - left
            _begun(volume, y, left, label[y, columns], search, row)
            _gathered(volume, y, left, row, times, radius, logits, aways, insides, top, own)
            sums[:] = 0.0
            for j in range(2 * radius + 1):
                _weighed(logits[j], insides[j], top, power, bend, parts, size)
                _noised(logits[j], parts[0], parts[1], noise_logit, share, parts[2], size)
                _added(parts, aways[j], bend, sums, size)
            vertex, curvature, sigma = found[0, y, columns], found[1, y, columns], found[4, y, columns]
            _solved(sums, vertex, curvature, found[3, y, columns], sigma)
            height = found[2, y, columns]
            for x in range(size):
                vertex[x] += own[x]
                height[x] = top[x]


@inner
def _begun(volume, y, left, label, search, start):
    """The frame of the largest logit within `search` frames of the label; the first of equals."""
    last = len(volume) - 1
    for x in range(len(label)):
        chosen = min(max(label[x] - search, 0), last)
        best = volume[chosen, y, left + x]
        for step in range(1 - search, search + 1):
            frame = min(max(label[x] + step, 0), last)
            logit = volume[frame, y, left + x]
            if logit > best:
                best, chosen = logit, frame
        start[x] = chosen


@inner
def _gathered(volume, y, left, start, times, radius, logits, aways, insides, top, own):
    """Logits of the frames around, their times after the middle one's, whether they are there, and the largest."""
    last = len(volume) - 1
    for x in range(len(start)):
        middle, largest = start[x], np.float32(-np.inf)
        own[x] = times[middle]
        for j in range(2 * radius + 1):
            frame = middle + j - radius
            place = min(max(frame, 0), last)
            logit = volume[place, y, left + x]
            largest = max(largest, logit)
            logits[j, x], aways[j, x] = logit, times[place] - times[middle]
            insides[j, x] = _ONE if place == frame else _ZERO
        top[x] = largest


@inner
def _weighed(logit, inside, top, power, bend, parts, size):
    """Weight of a frame, and what its energy is stretched by."""
    weight, stretch = parts[0], parts[1]
    for x in range(size):
        weight[x] = exp_of((logit[x] - top[x]) * power) * inside[x]
    for x in range(size):
        stretch[x] = exp_of(min((top[x] - logit[x]) * bend, _MOST))


@inner
def _noised(logit, weight, stretch, noise_logit, share, noise, size):
    """Variance of what a frame adds."""
    for x in range(size):
        quiet = exp_of(-min(max(logit[x] - noise_logit, _ZERO), _MOST_NOISE))
        part = weight[x] * stretch[x]
        noise[x] = share * (_TWO - quiet) * quiet * part * part


@inner
def _added(parts, away, bend, sums, size):
    """Add a frame to the moments of time (0-4), of its products with the bent curve (5-7), of the square of that (8),
    and of the noise (9-13)."""
    weight, stretch, noise = parts[0], parts[1], parts[2]
    s0, s1, s2, s3, s4, b0, b1, b2, bb = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7], sums[8]
    n0, n1, n2, n3, n4 = sums[9], sums[10], sums[11], sums[12], sums[13]
    for x in range(size):
        t, w = np.float64(away[x]), np.float64(weight[x])
        s0[x] += w
        s1[x] += w * t
        s2[x] += w * t * t
    for x in range(size):
        t, w = np.float64(away[x]), np.float64(weight[x])
        cube = t * t * t
        s3[x] += w * cube
        s4[x] += w * cube * t
    for x in range(size):
        t, y = np.float64(away[x]), np.float64((_ONE - stretch[x]) / bend)
        product = np.float64(weight[x]) * y
        b0[x] += product
        b1[x] += product * t
        b2[x] += product * t * t
        bb[x] += product * y
    for x in range(size):
        t, n = np.float64(away[x]), np.float64(noise[x])
        n0[x] += n
        n1[x] += n * t
        n2[x] += n * t * t
    for x in range(size):
        t, n = np.float64(away[x]), np.float64(noise[x])
        cube = t * t * t
        n3[x] += n * cube
        n4[x] += n * cube * t


@inner
def _solved(sums, vertex, curvature, residual, sigma):
    """Vertex after the middle frame, curvature, residual and standard deviation of parabolas."""
    for x in range(len(vertex)):
        scale = 1.0 / sums[0, x]
        m1, m2, m3, m4 = sums[1, x] * scale, sums[2, x] * scale, sums[3, x] * scale, sums[4, x] * scale
        b0, b1, b2 = sums[5, x] * scale, sums[6, x] * scale, sums[7, x] * scale
        a11, a12, a22 = m2 - m1 * m1, m3 - m1 * m2, m4 - m2 * m2
        b1, b2 = b1 - m1 * b0, b2 - m2 * b0
        determinant = a11 * a22 - a12 * a12
        inverse = 1.0 / determinant if determinant > max(_SINGULAR * a11 * a22, _NOTHING) else np.nan
        slope = (b1 * a22 - b2 * a12) * inverse
        bent = (a11 * b2 - a12 * b1) * inverse
        flat = 0.5 / bent
        # The vertex is -slope / 2 bent; its derivatives weigh the samples as p0 + p1 x + p2 x².
        to_bent = slope * flat / bent
        p1 = (-flat * a22 - to_bent * a12) * inverse
        p2 = (to_bent * a11 + flat * a12) * inverse
        p0 = -p1 * m1 - p2 * m2
        variance = p0 * p0 * sums[9, x] + 2.0 * p0 * p1 * sums[10, x] + (p1 * p1 + 2.0 * p0 * p2) * sums[11, x]
        variance += 2.0 * p1 * p2 * sums[12, x] + p2 * p2 * sums[13, x]
        rest = sums[8, x] * scale - b0 * b0 - slope * b1 - bent * b2
        vertex[x] = -slope * flat
        curvature[x] = -bent
        residual[x] = np.sqrt(0.0 if rest < 0.0 else rest)
        sigma[x] = np.sqrt(0.0 if variance < 0.0 else variance) * scale


@compiled
def frames_at(times, start, position):
    """Turn positions into frame numbers between frames; beyond the ends the last step goes on.

    Args:
        times: (N,) float32 increasing.
        start: (H, W) int64 frames from which each is looked for.
        position: (H, W) float32, changed in place.
    """
    last = len(times) - 2
    for y in range(position.shape[0]):
        for x in range(position.shape[1]):
            here, low = position[y, x], min(start[y, x], last)
            while low > 0 and here <= times[low]:
                low -= 1
            while low < last and here > times[low + 1]:
                low += 1
            position[y, x] = np.float32(low) + (here - times[low]) / (times[low + 1] - times[low])


@compiled
def around(volume, label, away, noise_logit, found):
    """What all frames say of each pixel: largest logit away from the label, mean logit, and if there is room for them
    the logit at the label, and the mean of logits that are at least that of noise.

    Args:
        volume: (N, H, W) float32 logits.
        label: (H, W) int64.
        away: Frames from the label that are still near it.
        noise_logit: float32.
        found: (2 or 4, H, W) float32, changed in place.
    """
    for y in range(volume.shape[1]):
        for left in range(0, volume.shape[2], BLOCK_PX):
            columns = slice(left, min(left + BLOCK_PX, volume.shape[2]))
            _beside(volume, y, left, label[y, columns], away, found[0, y, columns], found[1, y, columns])
            if len(found) > 2:
                _above_noise(
                    volume, y, left, label[y, columns], noise_logit, found[2, y, columns], found[3, y, columns]
                )


@inner
def _above_noise(volume, y, left, label, noise_logit, peak, mean):
    """The logit at the label, and the mean of all that are at least that of noise."""
    size, count = len(label), np.float32(len(volume))
    mean[:] = _ZERO
    for x in range(size):
        peak[x] = volume[label[x], y, left + x]
    for k in range(len(volume)):
        row = volume[k, y, left : left + size]
        for x in range(size):
            mean[x] += max(row[x], noise_logit) / count


@compiled
def curves(spread, start, fitted, beside, count, radius, noise_logit, limits, least_drop, flattest, index, found):
    """What focus curves say beside their peak, and where that is one; `dff.depth.confidence` has the words.

    Args:
        spread: (H, W) float32 range of the labels around.
        start: (H, W) int64 frame that was fitted around.
        fitted: (FITTED, H, W) of the parabolas, with frame numbers for positions.
        beside: (2 or more, H, W) what `around` gave.
        count: Number of frames.
        radius: Frames on either side that were fitted.
        noise_logit: float32.
        limits: (CURVES, 2) float32 least and largest value of each.
        least_drop: float32 below which a curve says nothing.
        flattest: float32 curvature below which there is no peak.
        index: (H, W) float32, changed in place; NaN where there is no peak.
        found: (CURVES, H, W) float32, changed in place; finite.
    """
    height, width = start.shape
    for y in range(height):
        for left in range(0, width, BLOCK_PX):
            columns = slice(left, min(left + BLOCK_PX, width))
            size, row = columns.stop - left, index[y, columns]
            other, mean = beside[0, y, columns], beside[1, y, columns]
            _told(spread[y, columns], fitted, y, left, other, mean, noise_logit, np.float32(count - 1), found, size)
            begun, drop = start[y, columns], found[1, y, columns]
            _kept(begun, fitted[0, y, columns], fitted[1, y, columns], drop, radius, count, least_drop, flattest, row)
            for j in range(CURVES):
                _finished(found[j, y, columns], limits[j, 0], limits[j, 1], j in _LOGARITHMS)


@inner
def _beside(volume, y, left, label, away, other, mean):
    """Largest logit away from the label, and the mean logit of all frames."""
    size, share = len(label), np.float32(1 / len(volume))
    near = label.astype(np.int32)
    other[:], mean[:] = -np.inf, _ZERO
    for k in range(len(volume)):
        row = volume[k, y, left : left + size]
        for x in range(size):
            mean[x] += row[x] * share
            far = abs(near[x] - k) > away and row[x] > other[x]
            other[x] = row[x] if far else other[x]


@inner
def _told(spread, fitted, y, left, other, mean, noise_logit, last, found, size):
    """The maps of CURVES, without limits and logarithms."""
    columns = slice(left, left + size)
    index, top = fitted[0, y, columns], fitted[2, y, columns]
    margin, drop, above, changes = (
        found[0, y, columns],
        found[1, y, columns],
        found[2, y, columns],
        found[3, y, columns],
    )
    to_end = found[7, y, columns]
    for x in range(size):
        margin[x], drop[x], above[x] = top[x] - other[x], top[x] - mean[x], top[x] - noise_logit
    for x in range(size):
        changes[x], to_end[x] = log_of(_ONE + spread[x]), min(index[x], last - index[x])
    copy_row(fitted[1, y, columns], found[4, y, columns])
    copy_row(fitted[3, y, columns], found[5, y, columns])
    copy_row(fitted[4, y, columns], found[6, y, columns])


@inner
def _finished(row, low, high, logarithm):
    """Keep a map inside its limits, take its logarithm if wanted, and leave nothing unknown."""
    for x in range(len(row)):
        row[x] = min(max(row[x], low), high) if row[x] == row[x] else _NOWHERE
    if logarithm:
        for x in range(len(row)):
            row[x] = log_of(row[x]) if row[x] == row[x] else _ZERO
    else:
        for x in range(len(row)):
            row[x] = row[x] if row[x] == row[x] else _ZERO


@inner
def _kept(start, position, curvature, drop, radius, count, least_drop, flattest, index):
    """The index where the parabola has its peak in the window and inside the sweep, and the curve is not flat."""
    reach, last = np.float32(radius), np.float32(count - 1)
    for x in range(len(start)):
        here = position[x]
        near = abs(here - np.float32(start[x])) <= reach and here >= _ZERO and here <= last
        index[x] = here if near and curvature[x] > flattest and drop[x] > least_drop else _NOWHERE
