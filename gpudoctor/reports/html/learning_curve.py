"""The result of `bench curve` as a page: the sentence, the curve, its table."""

from gpudoctor.bench.curves.report import summary_of
from gpudoctor.bench.curves.run import LearningCurve
from gpudoctor.bench.job import End
from gpudoctor.reports.html.chart import Axis, Curve, chart
from gpudoctor.reports.html.elements import Element, element
from gpudoctor.reports.html.page import page
from gpudoctor.reports.html.pieces import pairs, prose, section, table

_KINDS = {End.MEASURED: "ok", End.FAILED: "error", End.SKIPPED: "skipped"}


def as_html(curve: LearningCurve) -> str:
    """The whole page, with a final line break."""
    word = curve.end.value.capitalize()
    about = [
        ("Data", f"{curve.data}: {curve.available:,} images to learn from, {curve.test_images:,} to be tested on"),
        ("Net", curve.net),
        ("Device", curve.device),
        ("Seed", str(curve.task.seed)),
    ]
    told = curve.reason or (summary_of(curve) if curve.points else "")
    return page(
        f"gpudoctor bench curve: {word}",
        "bench curve",
        _KINDS[curve.end],
        word,
        element("p", *prose(told), class_="lede") if told else None,
        pairs(((name, value) for name, value in about if value), "machine"),
        _measured(curve) if curve.points else None,
        section("Note", element("p", *prose(curve.note))) if curve.note else None,
        ending=f"took {sum(point.seconds for point in curve.points):,.1f} s of training · exit code {curve.exit_code}",
    )


def _measured(curve: LearningCurve) -> Element:
    points = curve.points
    sizes = [float(point.images) for point in points]
    guessing = 1 / curve.classes
    picture = chart(
        "Share of the test set that is read, by the number of training images",
        summary_of(curve),
        Axis("training images (logarithmic)", lambda count: f"{count:,.0f}", sizes[0], sizes[-1], tuple(sizes), True),
        Axis("", lambda share: f"{share:.0%}", 0.0, 1.0),
        [
            Curve(
                "read, with its 95 % interval",
                tuple((float(point.images), point.accuracy) for point in points),
                marked=True,
                intervals=tuple((point.low, point.high) for point in points),
            )
        ],
        limit=("guessing", guessing),
    )
    rows = [
        (
            f"{point.images:,}",
            f"{point.passes:,}",
            f"{point.loss:.4f}",
            f"{point.accuracy:.1%}",
            f"{point.low:.1%} to {point.high:.1%}",
            f"{point.seconds:,.1f} s",
        )
        for point in points
    ]
    heads = ("Training images", "Passes", "Loss", "Accuracy", "95 % interval", "Took")
    return section(
        "How accuracy grows", picture, table("A row for each size of the training set", heads, rows, "numbers")
    )
