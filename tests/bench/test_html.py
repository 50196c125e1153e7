"""`bench --format html`, `bench curve --format html`: the verdict, the curves as pictures, the numbers beside them."""

import math
import re

import pytest
from bench.test_judge import H100, RATES, judged, told
from bench.test_report import result_of
from html_pages import require_sound, texts

from gpudoctor.bench.curves.curve import Point
from gpudoctor.bench.curves.run import LearningCurve, Task
from gpudoctor.bench.job import End
from gpudoctor.bench.judge import Observed
from gpudoctor.bench.measures import Counters, Sample
from gpudoctor.bench.result import BenchResult, DeviceResult, PhaseResult, Status
from gpudoctor.cli import run
from gpudoctor.reports.html import bench, learning_curve
from gpudoctor.reports.html.chart import Axis, Curve, chart, finite_points, spanning

HOSTILE = "<script>alert(1)</script>\x1b\udcff"


def page_of(result):
    return require_sound(bench.as_html(result))


def places(picture, look="line"):
    """The corners of a picture's line."""
    (path,) = [one.attrs["d"] for one in picture.query("path") if one.attrs.get("class") == look]
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path) if pair]


def test_the_verdict_comes_first_and_each_phase_has_its_row():
    page = page_of(result_of(judged(told())))
    assert texts(page, "h1") == ["Passed"]
    assert texts(page, ".lede")[0].startswith("The GPU trains: it reads 98.0%")
    assert texts(page, "h2") == ["NVIDIA H100 (GPU 0)"]
    assert texts(page, "section tbody th")[:4] == ["numerics", "training", "replay", "throughput"]
    assert "took 61.5 s \u00b7 exit code 0" in page.query("footer")[0].to_text()
    assert "CuPy 14.2.0" in page.query(".machine")[0].to_text()


def test_the_curves_stand_as_pictures_that_say_in_words_what_they_show():
    page = page_of(result_of(judged(told())))
    pictures = page.query("figure")
    assert texts(page, "figcaption") == [
        "Loss in fp32, beside float64 on the CPU",
        "Loss while it learns to read digits",
        "Share of 360 other digits that it reads",
    ]
    numerics, loss, accuracy = (one.query("svg.chart")[0] for one in pictures)
    assert all(one.attrs["role"] == "img" and one.query("title") for one in (numerics, loss, accuracy))
    assert len(places(numerics)) == len(places(numerics, "line reference")) == 30
    falling = [down for _, down in places(loss)]  # 2.5, 0.4, 0.1: downwards on the page
    assert falling == sorted(falling)
    rising = [down for _, down in places(accuracy)]
    assert rising == sorted(rising, reverse=True)
    assert "From 10.0% before training to 98.0% after 2 epochs." in accuracy.query("title")[0].to_text()
    assert texts(pictures[2], ".key li") == ["read rightly", "97%, which is needed to pass"]


def test_rates_stand_beside_their_yardsticks_and_readings_in_a_table():
    samples = [Sample(float(at) / 10, "GPU-1", 1980, 2619, 650.0, 61, 100, 0) for at in range(40)]
    page = page_of(result_of(judged(told(), Observed(samples=samples, seconds=4))))
    (rates,) = [one for one in page.query("table") if texts(one, "caption") == ["Rates of the phase throughput"]]
    assert texts(rates, "tbody th") == ["product fp32", "copy"]
    cells = texts(rates, "tbody td")
    assert f"{RATES[0].median:.3g} TFLOPS" in cells
    assert any(re.fullmatch(r"\d+% of [\d.,]+", cell) for cell in cells)
    assert rates.query("svg.bar")
    assert "Temperature, \u00b0C" in texts(page, "tbody th")


def test_a_finding_names_its_explanation():
    seen = Observed(before=Counters("GPU-1", ecc_uncorrected=0), after=Counters("GPU-1", ecc_uncorrected=2), seconds=60)
    page = page_of(result_of(judged(told(), seen)))
    (finding,) = page.query("article.finding")
    assert "2 new uncorrected memory errors" in texts(finding, "h3")[0]
    assert texts(finding, "pre.command") == ["gpudoctor explain bench.faults-counted"]


def test_what_did_not_run_is_no_pass():
    page = page_of(BenchResult("auto", "quick", 0, reason="There is no GPU."))
    assert texts(page, "h1") == ["Skipped"]
    assert "Nothing was shown, so this is not a pass." in texts(page, ".lede")[0]


def test_names_and_words_of_devices_stay_text():
    phase = PhaseResult("training", Status.FAILED, HOSTILE, [], {})
    device = DeviceResult(f"{HOSTILE} (GPU 0)", "cupy", home="GPU 0", status=Status.FAILED, phases=[phase])
    page = page_of(result_of(device, notes=[HOSTILE], reason=HOSTILE))
    shown = "<script>alert(1)</script>\\x1b\\udcff"
    assert texts(page, "h2")[0] == f"{shown} (GPU 0)"
    assert texts(page, ".lede") == [shown]
    assert H100.name not in page.to_text()


def test_a_loss_that_is_no_number_ends_its_curve_and_is_told():
    numbers = {
        **{"images": 10, "test_images": 5, "untrained_loss": 2.5, "untrained_accuracy": 0.1},
        **{"losses": [1.0, math.nan, 3.0], "accuracies": [0.2, 0.1, 0.1]},
        "rates": [{"what": "copy", "precision": "", "unit": "GB/s", "median": math.nan, "share": math.nan, "peak": 1}],
    }
    device = DeviceResult("GPU", "cupy", home="GPU 0", phases=[PhaseResult("training", Status.FAILED, "", [], numbers)])
    page = page_of(result_of(device))
    assert len(places(page.query("figure svg.chart")[0])) == 2
    assert "From epoch 2 on it is no number." in page.query("figure title")[0].to_text()
    assert "none GB/s" in texts(page, "tbody td")


CURVE = LearningCurve(
    Task("digits", None, (), 0),
    *("Digits <of> UCI", 10, 1437, 360, "8x8x1: fc10", "numpy", "CPU", {}),
    (Point(20, 450, 0.1, 0.6, 0.55, 0.65, 0.4), Point(200, 65, 0.05, 0.9, 0.86, 0.93, 2.0)),
    End.MEASURED,
)


def test_a_learning_curve_is_drawn_over_a_logarithmic_axis_with_its_intervals():
    page = require_sound(learning_curve.as_html(CURVE))
    assert texts(page, "h1") == ["Measured"]
    assert "from 60.0% to 90.0%" in texts(page, ".lede")[0]
    (left, low), (right, high) = places(page.query("figure svg.chart")[0])
    assert left < right
    assert low > high  # down the page is less
    assert len(page.query("figure .interval")) == 2
    assert texts(page, "tbody th") == ["20", "200"]
    assert "55.0% to 65.0%" in texts(page, "tbody td")


def test_a_curve_that_was_not_measured_says_why():
    page = require_sound(learning_curve.as_html(CURVE._replace(points=(), end=End.SKIPPED, reason=f"No {HOSTILE}.")))
    assert texts(page, "h1") == ["Skipped"]
    assert "No <script>" in texts(page, ".lede")[0]
    assert page.query("figure") == []


def test_the_commands_write_pages(tmp_path):
    path = tmp_path / "report.html"
    arguments = ["--backend", "numpy", "--format", "html", "--output", str(path)]
    assert run(["bench", "curve", "--sizes", "20", *arguments]) == 0
    assert texts(require_sound(path.read_text()), "h2") == ["How accuracy grows"]


@pytest.mark.parametrize("values", [(0.0,), (0.3,), (2.6, 1.0), (7.0,), (1e30,), (-2.0, 3.0), (1e-9,)])
def test_an_axis_spans_all_values_with_round_numbers(values):
    ticks = spanning(values)
    assert ticks[0] <= min(0, *values, 0)
    assert ticks[-1] >= max(values)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] == 0 or min(values) < 0


def test_an_axis_of_one_place_puts_it_in_the_middle():
    axis = Axis("images", str, 20, 20, (20,), logarithmic=True)
    picture = chart("One", "One point.", axis, Axis("", str, 0, 1), [Curve("read", ((20, 0.5),))])
    assert axis.place(20) == 0.5
    assert picture.tag == "figure"


def test_points_end_where_numbers_do():
    assert finite_points([1, 2.0, None, 4]) == ((0, 1.0), (1, 2.0))
    assert finite_points([math.inf]) == ()
