"""The shapes of nano's world, and some that have no name in it. All of it is our choice."""

import math
from collections.abc import Callable

from PIL import ImageDraw

from .scenes import OTHER

Colour = tuple[int, int, int]


def paint_shape(
    brush: ImageDraw.ImageDraw,
    shape: str,
    x: float,
    y: float,
    radius: float,
    turn: float,
    build: float,
    fill: Colour,
    grow: float,
) -> None:
    """One shape in one colour; `grow` widens a ring inwards too, by that share of its radius."""
    if shape in ("circle", "ring"):
        box = (x - radius, y - radius, x + radius, y + radius)
        if shape == "circle":
            brush.ellipse(box, fill=fill)
        else:
            hole = 0.5 + 0.14 * build - 2 * grow
            brush.ellipse(box, outline=fill, width=max(1, round(radius * (1 - hole))))
        return
    corners = _CORNERS[shape](build)
    cos, sin = radius * math.cos(turn), radius * math.sin(turn)
    brush.polygon([(x + cos * a - sin * b, y + sin * a + cos * b) for a, b in corners], fill=fill)


def _round_corners(count: int, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    """Corners around the centre, the first straight up, with radii in turn."""
    angles = [2 * math.pi * n / count - math.pi / 2 for n in range(count)]
    return [(radii[n % len(radii)] * math.cos(at), radii[n % len(radii)] * math.sin(at)) for n, at in enumerate(angles)]


def _cross_corners(build: float) -> list[tuple[float, float]]:
    arm = 0.24 + 0.12 * build
    corners = [(arm, -0.98), (arm, -arm), (0.98, -arm)]
    for _ in range(3):
        corners += [(-y, x) for x, y in corners[-3:]]
    return corners


def _frame(count: int, radius: float, hole: float, turn: float = 0.0) -> list[tuple[float, float]]:
    """Corners of a regular frame, turned: around the outside, then back around the hole, whose radius is a share."""
    angles = [2 * math.pi * n / count - math.pi / 2 + turn for n in range(count + 1)]
    around = [(radius * math.cos(at), radius * math.sin(at)) for at in angles]
    return around + [(hole * x, hole * y) for x, y in reversed(around)]


def _odd_corners(build: float) -> list[tuple[float, float]]:
    """One of some shapes that have no name here."""
    return _ODD_SHAPES[min(len(_ODD_SHAPES) - 1, int(build * len(_ODD_SHAPES)))]


_QUARTERS = [math.pi * (n / 16 - 0.25) for n in range(25)]  # angles of three quarters of a turn
_ODD_SHAPES: tuple[list[tuple[float, float]], ...] = (
    [(-0.95, -0.35), (0.95, -0.35), (0.95, 0.35), (-0.95, 0.35)],  # bars
    [(-0.35, -0.95), (0.35, -0.95), (0.35, 0.95), (-0.35, 0.95)],
    [(-0.9, -0.9), (-0.3, -0.9), (-0.3, 0.35), (0.85, 0.35), (0.85, 0.9), (-0.9, 0.9)],  # an L
    [(-0.9, -0.9), (0.9, -0.9), (0.9, -0.35), (0.3, -0.35), (0.3, 0.9), (-0.3, 0.9), (-0.3, -0.35), (-0.9, -0.35)],
    [(-0.95, -0.8), (0.0, -0.15), (0.95, -0.8), (0.95, 0.1), (0.0, 0.8), (-0.95, 0.1)],  # a chevron
    [(-0.95, -0.8), (0.0, -0.2), (0.95, -0.8), (0.95, 0.8), (0.0, 0.2), (-0.95, 0.8)],  # a bow tie
    [(-0.95, -0.3), (0.1, -0.3), (0.1, -0.85), (0.95, 0.0), (0.1, 0.85), (0.1, 0.3), (-0.95, 0.3)],  # an arrow
    [(0.95 * math.cos(math.pi * n / 12), 0.95 * math.sin(math.pi * n / 12) - 0.45) for n in range(13)],  # half a disc
    # hollow ones: were the ring alone hollow, a colour never shown on rings would not be known there
    _frame(4, 1.1, 0.55, turn=math.pi / 4),
    _frame(3, 1.05, 0.45),
    _frame(6, 1.0, 0.6),
    [(0.95 * math.cos(at), 0.95 * math.sin(at)) for at in _QUARTERS]  # a horseshoe
    + [(0.55 * math.cos(at), 0.55 * math.sin(at)) for at in reversed(_QUARTERS)],
)

# Corners in units of the radius, y down.
_CORNERS: dict[str, Callable[[float], list[tuple[float, float]]]] = {
    "square": lambda build: [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": lambda build: _round_corners(3, (1.06,)),
    "star": lambda build: _round_corners(10, (1.06, 0.38 + 0.1 * build)),
    "cross": _cross_corners,
    OTHER: _odd_corners,
}
