"""A learning curve as a table with a plot of characters, as JSON, and as a picture file."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from gpudoctor import __version__
from gpudoctor.bench.curves.curve import Point
from gpudoctor.bench.curves.run import LearningCurve
from gpudoctor.bench.devices.device import CannotRun
from gpudoctor.reports.text import wrapped

SCHEMA = 1
PICTURES = ("png", "svg")

_Column = Callable[[float], int]  # from a number of images to a place across the plot

_LEFT = 7  # columns of the plot that its vertical axis takes
_ACROSS, _DOWN = 68, 16  # characters inside the axes


def as_text(curve: LearningCurve) -> str:
    """80 columns, without colour, plain ASCII but for the names in it."""
    lines: list[str] = []
    if curve.reason:
        lines += [*wrapped(f"{curve.end.value.upper()}  {curve.reason}", "", hanging="  "), ""]
    if curve.points:
        lines += [
            *wrapped(summary_of(curve), "", hanging=""),
            "",
            *_table(curve.points),
            "",
            *plotted(curve.points),
            "",
        ]
    about = {
        "Data": f"{curve.data}: {curve.available:,} images to learn from, {curve.test_images:,} to be tested on",
        "Net": curve.net,
        "Device": curve.device,
        "Seed": str(curve.task.seed),
    }
    for label, value in about.items():
        lines += wrapped(value, f"{label:<9}", hanging=" " * 9) if value else []
    lines += ["", *wrapped(curve.note, "", hanging="")] if curve.note else []
    return "\n".join(lines) + "\n"


def as_json(curve: LearningCurve) -> str:
    """The same as data. A loss that is no number cannot be in it: such a training has no point."""
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "status": curve.end.value,
        "reason": curve.reason,
        "note": curve.note,
        "data": {
            "name": curve.data,
            "classes": curve.classes,
            "training_images": curve.available,
            "test_images": curve.test_images,
        },
        "net": curve.net,
        "backend": curve.backend,
        "device": curve.device,
        "versions": curve.versions,
        "seed": curve.task.seed,
        "points": [point._asdict() for point in curve.points],
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def plotted(points: tuple[Point, ...]) -> list[str]:
    """The accuracy over the number of images, that on a logarithmic axis: o is measured, dots join what was."""
    low = math.floor(min(point.accuracy for point in points) * 10) / 10
    low = min(low, 0.9)  # the axis covers a tenth at least
    first, last = math.log(points[0].images), math.log(points[-1].images)

    def column(images: float) -> int:
        return round((math.log(images) - first) / (last - first) * (_ACROSS - 1)) if last > first else _ACROSS // 2

    def row(accuracy: float) -> int:
        return round((1.0 - accuracy) / (1.0 - low) * (_DOWN - 1))

    area = [[" "] * _ACROSS for _ in range(_DOWN)]
    for here, there in pairwise(points):
        left, right = column(here.images), column(there.images)
        for between in range(left + 1, right):
            share = (between - left) / (right - left)
            area[row(here.accuracy + share * (there.accuracy - here.accuracy))][between] = "."
    for point in points:
        area[row(point.accuracy)][column(point.images)] = "o"

    labels = {round(tick * (_DOWN - 1) / 5): 1.0 - tick / 5 * (1.0 - low) for tick in range(6)}
    lines = ["test accuracy"]
    for number, characters in enumerate(area):
        label = f"{labels[number]:.0%} +" if number in labels else "|"
        lines.append(f"{label:>{_LEFT}}{''.join(characters)}".rstrip())
    lines.append(f"{'+':>{_LEFT}}{''.join(_ticks(points, column, '+', '-'))}")
    lines.append(f"{'':{_LEFT}}{''.join(_numbers(points, column))}".rstrip())
    lines.append(f"{'training images (logarithmic)':>{_LEFT + _ACROSS}}")
    return lines


def require_matplotlib() -> None:
    """Raises CannotRun, with the way out, where matplotlib is not installed or does not import."""
    try:
        import matplotlib.figure  # noqa: F401 - here: half a second that only a picture needs
    except ImportError as error:
        raise CannotRun(
            f"a picture is drawn by matplotlib, which the extra gpudoctor[plot] brings ({error}); "
            "the table and the plot of characters need nothing"
        ) from error


def as_picture(curve: LearningCurve, kind: str) -> bytes:
    """The curve as a file of that kind, "png" or "svg", drawn by matplotlib."""
    from matplotlib import rc_context  # here as above
    from matplotlib.figure import Figure

    images = [point.images for point in curve.points]
    shares = [100 * point.accuracy for point in curve.points]
    spread = [
        [100 * (point.accuracy - point.low) for point in curve.points],
        [100 * (point.high - point.accuracy) for point in curve.points],
    ]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(images, shares, yerr=spread, marker="o", capsize=3, label="read, and its 95 % interval")
    axes.axhline(100 / curve.classes, linestyle=":", color="grey", label="guessing")
    axes.set_xscale("log")
    axes.set_xticks(images, [f"{count:,}" for count in images])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="training images", ylabel="test accuracy in %", ylim=(0, 102), title=curve.data.replace("$", r"\$"))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right")
    file = io.BytesIO()
    # The same curve gives the same file: no date, and no random names in it.
    with rc_context({"svg.hashsalt": "gpudoctor"}):
        figure.savefig(file, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()


def summary_of(curve: LearningCurve) -> str:
    """The curve in a sentence. There is at least one point."""
    first, last = curve.points[0], curve.points[-1]
    if len(curve.points) == 1:
        text = f"After learning from {last.images:,} images it reads {last.accuracy:.1%} of the test set"
    else:
        text = (
            f"From {first.images:,} to {last.images:,} training images the share of the test set that is read goes "
            f"from {first.accuracy:.1%} to {last.accuracy:.1%}"
        )
    return f"{text}; guessing reads {1 / curve.classes:.0%}."


def _table(points: tuple[Point, ...]) -> list[str]:
    lines = [f"{'images':>9}  {'passes':>6}  {'loss':>7}  {'accuracy':>8}  {'95 % interval':>16}  {'seconds':>7}"]
    for point in points:
        interval = f"{point.low:.1%} to {point.high:.1%}"
        lines.append(
            f"{point.images:>9,}  {point.passes:>6}  {point.loss:>7.4f}  {point.accuracy:>8.1%}  {interval:>16}  "
            f"{point.seconds:>7.1f}"
        )
    return lines


def _ticks(points: tuple[Point, ...], column: _Column, tick: str, line: str) -> list[str]:
    characters = [line] * _ACROSS
    for point in points:
        characters[column(point.images)] = tick
    return characters


def _numbers(points: tuple[Point, ...], column: _Column) -> list[str]:
    """The numbers under the axis, each centred under its tick; the last one first, then those that still have room."""
    characters = [" "] * (_ACROSS + 2)
    for point in (points[-1], *points[:-1]):
        text = f"{point.images:,}"
        start = min(max(0, column(point.images) - len(text) // 2), _ACROSS + 2 - len(text))
        if all(character == " " for character in characters[max(0, start - 1) : start + len(text) + 1]):
            characters[start : start + len(text)] = text
    return characters
