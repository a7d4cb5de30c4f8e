"""What planes over windows of several sizes tell of each other, row by row, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled, log_of

_ONE, _HALF = np.float32(1), np.float32(0.5)


@compiled
def remains(index, smooth, height, weight, pull, product):
    """What a surface leaves of the indices of single pixels as they would see it, times their weight.

    Single pixels see it where the energy of their window has its centre: off the pixel by the window's variance times
    the gradient of the logit. Gradients are central differences, 0 at the border.

    Args:
        index: (H, W) float32.
        smooth: (H, W) float32 the surface.
        height: (H, W) float32 largest logits.
        weight: (H, W) float32.
        pull: float32 variance of the window, px².
        product: (H, W) float32, changed in place.
    """
    rows, width = index.shape
    for y in range(rows):
        # Both neighbours of a row at the border are the same.
        up, down = (y - 1, y + 1) if 0 < y < rows - 1 else (y, y)
        above, below, here, row = smooth[up], smooth[down], smooth[y], product[y]
        top, bottom, logit, own, share = height[up], height[down], height[y], index[y], weight[y]
        for x in range(1, width - 1):
            to_x = min(max(pull * _HALF * (logit[x + 1] - logit[x - 1]), -_ONE), _ONE)
            to_y = min(max(pull * _HALF * (bottom[x] - top[x]), -_ONE), _ONE)
            seen = here[x] + to_x * _HALF * (here[x + 1] - here[x - 1]) + to_y * _HALF * (below[x] - above[x])
            row[x] = share[x] * (own[x] - seen)
        for x in (0, width - 1):
            to_y = min(max(pull * _HALF * (bottom[x] - top[x]), -_ONE), _ONE)
            row[x] = share[x] * (own[x] - here[x] - to_y * _HALF * (below[x] - above[x]))


@compiled
def tell(values, index, limits, distances, off):
    """Logarithms of the distances between planes, and how far single pixels are off the middle one.

    Args:
        values: (5, H, W) float32 of the narrow plane, sharpened, of the middle one, sharpened, and of the wide one.
        index: (H, W) float32 of single pixels.
        limits: (3,) float32 least and largest distance, largest distance of single pixels.
        distances: (4, H, W) float32, changed in place.
        off: (H, W) float32 squared distances of single pixels, changed in place.
    """
    least, most, farthest = limits[0], limits[1], limits[2]
    for y in range(index.shape[0]):
        narrow, sharp, middle, sharper, wide = values[0, y], values[1, y], values[2, y], values[3, y], values[4, y]
        one, two, three, four = distances[0, y], distances[1, y], distances[2, y], distances[3, y]
        own, square = index[y], off[y]
        for x in range(index.shape[1]):
            one[x] = log_of(min(max(abs(sharp[x] - narrow[x]), least), most))
            two[x] = log_of(min(max(abs(sharper[x] - middle[x]), least), most))
            three[x] = log_of(min(max(abs(narrow[x] - middle[x]), least), most))
            four[x] = log_of(min(max(abs(middle[x] - wide[x]), least), most))
            away = min(max(own[x] - middle[x], -farthest), farthest)
            square[x] = away * away


@compiled
def noise(mean, floor, least, variance):
    """Mean variance (H, W) of the pixels in a window, from noise alone, of (H, W) their mean inverse variance.

    Args:
        mean: (H, W) float32.
        floor: float32 variance that no noise explains, and that is part of their weight.
        least: float32 that it is at least.
        variance: (H, W) float32, changed in place.
    """
    for y in range(mean.shape[0]):
        source, row = mean[y], variance[y]
        for x in range(mean.shape[1]):
            row[x] = max(_ONE / max(source[x], least) - floor, least)


@compiled
def half_logs(source, least, result):
    """Half the logarithm of (H, W) numbers that are at least so large, into (H, W)."""
    for y in range(source.shape[0]):
        row, target = source[y], result[y]
        for x in range(source.shape[1]):
            target[x] = _HALF * log_of(max(row[x], least))
