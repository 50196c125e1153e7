"""Curves as inline SVG: drawn to be read at the width of a phone, each with its numbers in words beside it."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gpudoctor.reports.html.elements import Element, element

# The drawing's own units: it is as wide as its place, and on a phone 12 of them are still nearly 10 pixels.
_WIDTH, _HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 388, 12, 190

_TICKS = 4


class Curve(NamedTuple):
    """Points by rising x. `look`: "line" for what was measured, "reference" for what it is held against."""

    name: str
    points: tuple[tuple[float, float], ...]
    look: str = "line"
    marked: bool = False  # each point as a small circle
    intervals: tuple[tuple[float, float], ...] = ()  # low and high of each point, () none


class Axis(NamedTuple):
    """`write`: how a number on it reads. `ticks`: where they stand, () evenly."""

    label: str
    write: Callable[[float], str]
    low: float
    high: float
    ticks: tuple[float, ...] = ()
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at its beginning, 1 at its end."""
        low, high, at = (
            (math.log(number) for number in (self.low, self.high, value))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        return (at - low) / (high - low) if high > low else 0.5


def finite_points(values: Sequence[object], first: float = 0) -> tuple[tuple[float, float], ...]:
    """A point for each number, at first, first + 1, ... up to the first that is none or not finite: there it ends."""
    points = []
    for place, value in enumerate(values):
        if not isinstance(value, int | float) or not math.isfinite(value):
            break
        points.append((first + place, float(value)))
    return tuple(points)


def chart(
    title: str, said: str, x: Axis, y: Axis, curves: Sequence[Curve], *, limit: tuple[str, float] | None = None
) -> Element:
    """A figure. `said`: what is to be seen, for those who do not see it. `limit`: a level to compare with."""
    drawing = element(
        "svg",
        element("title", f"{title}. {said}"),
        *_grid(x, y),
        *_level(y, limit),
        *(part for curve in curves for part in _curve(curve, x, y)),
        class_="chart",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
    )
    keys = [(curve.look, curve.name) for curve in curves] + ([("limit", limit[0])] if limit is not None else [])
    return element("figure", element("figcaption", title), drawing, _key(keys) if len(keys) > 1 else None)


def spanning(values: Sequence[float]) -> tuple[float, ...]:
    """Round numbers at equal steps, the first at nought or below all values, the last above them."""
    high, low = max((*values, 0.0)), min((*values, 0.0))
    size = max(high - low, 1e-12)
    power = 10.0 ** math.floor(math.log10(size))
    step = next(power * part for part in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5) if size / (power * part) <= _TICKS + 1)
    first, last = math.floor(low / step), max(math.ceil(high / step), 1)
    return tuple(step * number for number in range(first, last + 1))


def _at(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    across, down = x.place(point[0]), 1 - min(max(y.place(point[1]), 0.0), 1.0)
    return round(_LEFT + across * (_RIGHT - _LEFT), 1), round(_TOP + down * (_BOTTOM - _TOP), 1)


def _grid(x: Axis, y: Axis) -> list[Element]:
    parts = []
    for tick in _ticks(y):
        _, at = _at(x, y, (x.high, tick))
        parts.append(element("path", class_="grid", d=f"M{_LEFT} {at}H{_RIGHT}"))
        parts.append(element("text", y.write(tick), x=_LEFT - 6, y=at + 4, text_anchor="end"))
    room = float(_RIGHT + 20)
    for tick in reversed(_ticks(x)):  # the last number first, then those that still have room
        at, _ = _at(x, y, (tick, y.low))
        parts.append(element("path", class_="grid", d=f"M{at} {_BOTTOM}v5"))
        text = x.write(tick)
        half = 3.5 * len(text)
        if at + half <= room:
            end = at + half > _WIDTH
            parts.append(
                element("text", text, x=_WIDTH if end else at, y=_BOTTOM + 18, text_anchor="end" if end else "middle")
            )
            room = at - half - 8
    parts.append(element("text", x.label, x=_RIGHT, y=_HEIGHT - 4, text_anchor="end"))
    return parts


def _ticks(axis: Axis) -> tuple[float, ...]:
    if axis.ticks:
        return axis.ticks
    return tuple(axis.low + (axis.high - axis.low) * step / _TICKS for step in range(_TICKS + 1))


def _level(y: Axis, limit: tuple[str, float] | None) -> list[Element]:
    if limit is None:
        return []
    at = round(_TOP + (1 - y.place(limit[1])) * (_BOTTOM - _TOP), 1)
    return [element("path", class_="limit", d=f"M{_LEFT} {at}H{_RIGHT}")]


def _curve(curve: Curve, x: Axis, y: Axis) -> list[Element]:
    places = [_at(x, y, point) for point in curve.points]
    parts = []
    for (across, _), low_high in zip(curve.points, curve.intervals, strict=False):
        (at, low), (_, high) = (_at(x, y, (across, end)) for end in low_high)
        parts.append(element("path", class_="interval", d=f"M{at} {high}V{low}m-4 0h8M{at - 4} {high}h8"))
    line = "L".join(f"{across} {down}" for across, down in places)
    if len(places) > 1:
        parts.append(element("path", class_=_class_of(curve.look), d=f"M{line}"))
    if curve.marked or len(places) == 1:
        parts += [element("circle", class_="point", cx=across, cy=down, r=3.2) for across, down in places]
    return parts


def _class_of(look: str) -> str:
    return "line" if look == "line" else f"line {look}"


def _key(keys: Sequence[tuple[str, str]]) -> Element:
    return element(
        "ul",
        *(
            element(
                "li",
                element(
                    "svg",
                    element("path", class_="limit" if look == "limit" else _class_of(look), d="M0 6H32"),
                    class_="chart",
                    viewBox="0 0 32 12",
                    aria_hidden="true",
                ),
                name,
            )
            for look, name in keys
        ),
        class_="key",
    )
