"""Triangles filled pixel by pixel, the nearest in front, compiled."""

from __future__ import annotations

import numpy as np

from dff.compiled import compiled


@compiled
def draw(picture, nearest, screen, triangles, colours, edge):
    """Fill triangles with colours that are linear between their corners.

    Args:
        picture: (H, W, 3) uint8, changed in place.
        nearest: (H, W) float64 nearness of what is drawn, likewise.
        screen: (n, 3) column, row and nearness of the vertices.
        triangles: (m, 3) int32.
        colours: (n, 3) float32.
        edge: Pixels may lie outside by this share of a triangle, so that none is missed between two.
    """
    height, width = nearest.shape
    for triangle in triangles:
        one, two, three = triangle[0], triangle[1], triangle[2]
        x, y = screen[one, 0], screen[one, 1]
        x2, y2, x3, y3 = screen[two, 0] - x, screen[two, 1] - y, screen[three, 0] - x, screen[three, 1] - y
        area = x2 * y3 - y2 * x3
        if not abs(area) > 0:
            continue
        first_row = max(0, int(np.ceil(y + min(0.0, y2, y3) - 0.5)))
        last_row = min(height - 1, int(np.floor(y + max(0.0, y2, y3) - 0.5)))
        first = max(0, int(np.ceil(x + min(0.0, x2, x3) - 0.5)))
        last = min(width - 1, int(np.floor(x + max(0.0, x2, x3) - 0.5)))
        if first > last or first_row > last_row:
            continue
        depth, depth2, depth3 = screen[one, 2], screen[two, 2], screen[three, 2]
        share = 1 / area
        for row in range(first_row, last_row + 1):
            down = row + 0.5 - y
            for column in range(first, last + 1):
                across = column + 0.5 - x
                v, w = (across * y3 - down * x3) * share, (down * x2 - across * y2) * share
                if v < -edge or w < -edge or v + w > 1 + edge:
                    continue
                u = 1 - v - w
                near = u * depth + v * depth2 + w * depth3
                if near >= nearest[row, column]:
                    nearest[row, column] = near
                    for i in range(3):
                        level = u * colours[one, i] + v * colours[two, i] + w * colours[three, i]
                        picture[row, column, i] = np.uint8(min(max(level + 0.5, 0.0), 255.0))
