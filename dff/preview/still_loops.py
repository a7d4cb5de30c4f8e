"""Triangles filled pixel by pixel, the nearest in front, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled


@compiled
def draw(picture, nearest, screen, triangles, colours, edge):
    """Fill triangles with colours that are linear between their corners.

    Args:
        picture: (H, W, 3) float32, changed in place.
        nearest: (H, W) float64 nearness of what is drawn, likewise.
        screen: (n, 3) column, row and nearness of the vertices.
        triangles: (m, 3) int32.
        colours: (n, 3) float32.
        edge: Pixels may lie outside by this share of a triangle, so that none is missed between two.
    """
    height, width = nearest.shape
    for triangle in triangles:
        a, b, c = screen[triangle[0]], screen[triangle[1]], screen[triangle[2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if not abs(area) > 0:
            continue
        left, right = min(a[0], b[0], c[0]), max(a[0], b[0], c[0])
        top, bottom = min(a[1], b[1], c[1]), max(a[1], b[1], c[1])
        for y in range(max(0, int(np.ceil(top - 0.5))), min(height - 1, int(np.floor(bottom - 0.5))) + 1):
            for x in range(max(0, int(np.ceil(left - 0.5))), min(width - 1, int(np.floor(right - 0.5))) + 1):
                across, down = x + 0.5 - a[0], y + 0.5 - a[1]
                second = (across * (c[1] - a[1]) - down * (c[0] - a[0])) / area
                third = (down * (b[0] - a[0]) - across * (b[1] - a[1])) / area
                if second < -edge or third < -edge or second + third > 1 + edge:
                    continue
                first = 1 - second - third
                depth = first * a[2] + second * b[2] + third * c[2]
                if depth >= nearest[y, x]:
                    nearest[y, x] = depth
                    for i in range(3):
                        picture[y, x, i] = (
                            first * colours[triangle[0], i]
                            + second * colours[triangle[1], i]
                            + third * colours[triangle[2], i]
                        )
