"""`gpudoctor bench curve`: accuracy over the number of training images, as a table, a plot, JSON and a picture."""

import json
import math
import pickle
import re
import sys
from itertools import pairwise

import numpy
import pytest

from gpudoctor.bench.curves import curve as curves
from gpudoctor.bench.curves import run as curve_run
from gpudoctor.bench.curves.curve import (
    Point,
    architecture_for,
    default_sizes,
    measure_curve,
    read_data,
    wilson_interval,
)
from gpudoctor.bench.curves.report import as_picture, plotted
from gpudoctor.bench.curves.run import LearningCurve, Task
from gpudoctor.bench.devices.cupy_device import import_cupy, open_cupy
from gpudoctor.bench.job import End, Event
from gpudoctor.bench.running.children import Heard
from gpudoctor.cli import BadUsage
from gpudoctor.cli.bench_curve import bench_curve

TINY = "8x8: fc16 fc10"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(curves, "STEPS", 60)


def points(*shares, images=(50, 100, 200, 400, 800, 1437)):
    return tuple(
        Point(count, 4, 0.1, share, *wilson_interval(share, 360), 0.5)
        for count, share in zip(images, shares, strict=False)
    )


def a_curve(told):
    task = Task("digits", None, tuple(point.images for point in told), 0)
    return LearningCurve(task, "UCI digits", 10, 1437, 360, TINY, "numpy", "CPU", points=told, end=End.MEASURED)


def cifar_folder(folder):
    """Ten classes that are told apart by the height of a red bar."""
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        labels = numpy.arange(20) % 10
        pixels = numpy.random.default_rng(len(name)).integers(0, 40, (20, 3072)).astype(numpy.uint8)
        for picture, label in zip(pixels, labels, strict=True):
            picture[96 * label : 96 * (label + 1)] += 200
        (folder / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels.tolist()}, protocol=2))
    names = [f"class {label}".encode() for label in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return folder


def test_more_images_are_read_better(quick, capsys):
    assert bench_curve(net=TINY, sizes="1000,20,20", backend="numpy", format="json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["status"], told["backend"], told["data"]["test_images"]) == ("measured", "numpy", 360)
    few, many = told["points"]
    assert (few["images"], many["images"]) == (20, 1000)
    assert few["accuracy"] + 0.1 < many["accuracy"]
    assert many["low"] < many["accuracy"] < many["high"]
    assert few["passes"] * math.ceil(20 / 32) >= 60
    assert many["passes"] == 4
    assert "1,000 images: loss" in err


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(quick, capsys):
    def told(seed):
        bench_curve(net=TINY, sizes="50", backend="numpy", format="json", seed=seed)
        return json.loads(capsys.readouterr().out)["points"][0]["loss"]

    assert told(1) == told(1) != told(2)


def test_the_report_fits_the_terminal_and_says_the_numbers(quick, capsys, tmp_path):
    out = tmp_path / "curve.txt"
    assert bench_curve(net=TINY, sizes="40,400,1200", backend="numpy", output=str(out)) == 0
    text = out.read_text()
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert re.search(r"^From 40 to 1,200 training images", text)
    assert "8x8x1: fc16 fc10" in text
    assert text.count("\n    1,200") == 1
    assert capsys.readouterr().out == ""


def test_the_plot_puts_points_where_they_belong():
    lines = plotted(points(0.5, 0.6, 0.7, 0.8, 0.9, 1.0, images=(10, 100, 1000, 10_000, 100_000, 1_000_000)))
    area = [line[7:] for line in lines[1:17]]
    rows = [number for number, line in enumerate(area) if "o" in line]
    columns = [area[row].index("o") for row in rows][::-1]
    assert rows == [0, 3, 6, 9, 12, 15]
    steps = [there - here for here, there in pairwise(columns)]
    assert columns[0] == 0
    assert set(steps) <= {13, 14}  # every power of ten is as far from the next
    assert [line[:6].strip() for line in lines[1:17] if "%" in line] == ["100%", "90%", "80%", "70%", "60%", "50%"]
    assert lines[18].split() == ["10", "100", "1,000", "10,000", "100,000", "1,000,000"]
    assert max(map(len, lines)) <= 80


def test_the_plot_leaves_out_numbers_that_have_no_room_and_draws_a_single_point():
    lines = plotted(points(0.91, 0.92, 0.93, images=(1000, 1001, 5000)))
    assert lines[18].split() == ["1,000", "5,000"]
    lines = plotted(points(0.0, images=(77,)))
    assert sum(line.count("o") for line in lines[1:17]) == 1
    assert lines[18].split() == ["77"]


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 0.9894, 1.0), (0.0, 0.0, 0.0106), (0.95, 0.9223, 0.9682)])
def test_the_interval_is_wilsons(share, low, high):
    # At 0 and 1 it is z^2 / (n + z^2) wide; the third from statsmodels' proportion_confint(342, 360, method="wilson").
    assert wilson_interval(share, 360) == pytest.approx((low, high), abs=1e-4)


def test_sizes_double_up_to_all_images():
    assert default_sizes(1437, 6400) == (50, 100, 200, 400, 800, 1437)
    assert default_sizes(50_000, 6400) == (50, 100, 200, 400, 800, 1600, 3200, 6400)
    assert default_sizes(20, 6400) == (20,)
    assert default_sizes(50, 6400) == (50,)


def test_a_cifar_folder_is_learned(quick, capsys, tmp_path):
    data = str(cifar_folder(tmp_path))
    assert bench_curve(data=data, net="conv4-4/4p0 fc10", backend="numpy", format="json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [point["images"] for point in told["points"]] == [50, 100]
    assert told["points"][-1]["accuracy"] > 0.5
    assert told["net"] == "32x32x3: conv4-4/4p0 fc10"
    assert told["data"]["name"].startswith("CIFAR-10 in ")


def test_the_usual_net_fits_digits_and_larger_pictures(tmp_path):
    digits, cifar = read_data("digits", 0), read_data(str(cifar_folder(tmp_path)), 0)
    assert str(architecture_for(digits, None).image) == "8x8x1"
    for split in (digits, cifar):
        architecture = architecture_for(split, None)
        assert architecture.output.values == 10
    assert architecture_for(cifar, "lenet").image == curves.image_shape(cifar)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": "10,x"}, "--sizes 10,x: 'x' is no number of images; 50,100,1000 would be"),
        ({"sizes": "0"}, "'0' is no number"),
        ({"sizes": "-5"}, "'-5' is no number"),
        ({"sizes": ""}, "'' is no number"),
        ({"sizes": "50,1438"}, "there are only 1,437 images to learn from, not 1,438"),
        ({"data": "/nowhere"}, "--data /nowhere: neither `digits` nor a folder"),
        ({"data": "."}, r"batches.meta is missing: the folder must be the unpacked cifar-10-batches-py"),
        ({"net": "32x32x3: fc10"}, "The net is for images 32x32x3, and those of UCI handwritten digits are 8x8x1"),
        ({"net": "fc16 fc11"}, "The net gives 11 scores, and UCI handwritten digits has 10 classes: .* fc10"),
        ({"net": "lenett"}, "There is no preset 'lenett'"),
        ({"backend": "torch"}, "--backend torch: a curve is measured with auto, cupy, numpy"),
        ({"seed": -1}, "--seed -1"),
        ({"plot": "curve.pdf"}, "a picture ends in .png or .svg"),
        ({"plot": "/nowhere/curve.png"}, "/nowhere is no folder that can be written to"),
    ],
)
def test_bad_usage_is_one_sentence(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadUsage, match=words) as raised:
        bench_curve(**{"backend": "numpy", **options})
    assert "\n" not in str(raised.value)


def test_a_picture_without_matplotlib_names_the_extra_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BadUsage, match=r"a picture is drawn by matplotlib, which the extra gpudoctor\[plot\] brings"):
        bench_curve(backend="numpy", plot=str(tmp_path / "curve.svg"))


def test_pictures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    told = a_curve(points(0.8, 0.9, 0.95, 1.0))
    assert as_picture(told, "png").startswith(b"\x89PNG\r\n\x1a\n")
    svg = as_picture(told, "svg")
    assert b"<svg" in svg
    assert svg == as_picture(told, "svg")
    assert as_picture(a_curve(points(1.0)), "svg") != svg


def test_a_training_that_leaves_the_numbers_fails_and_keeps_the_points_before(quick, capsys, monkeypatch):
    right = curves.learn

    def sick(*args, **options):
        wrong = len(args[2].labels) > 50
        return right(*args, **{**options, "rate": 1e12 if wrong else options["rate"]})

    monkeypatch.setattr(curves, "learn", sick)
    assert bench_curve(net=TINY, sizes="50,100", backend="numpy") == 2
    text = capsys.readouterr().out
    assert text.startswith("FAILED  The loss became ")
    assert "After learning from 50 images it reads" in text


def test_a_gpu_measures_the_same_curve(gpu, quick):
    split = read_data("digits", 0)
    sizes, said = (40,), []
    (told,) = measure_curve(gpu, architecture_for(split, TINY), split, sizes, seed=0, say=said.append)
    assert told.images == 40
    assert told.accuracy > 0.3
    assert said


def test_a_gpu_that_dies_is_a_failure(install_cupy):
    install_cupy(dies_at=200)
    events = []
    task = Task("digits", TINY, (50,), 0)
    curve_run.run_task(open_cupy(import_cupy()), task, read_data("digits", 0), events.append)
    assert [event.kind for event in events if event.kind != "note"] == ["ended"]
    assert (events[-1].end, "The device failed in the middle of the run" in events[-1].reason) == ("failed", True)


@pytest.fixture
def broken_cupy(tmp_path, monkeypatch):
    """A CuPy that does not import, where the child finds it."""
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text("raise ImportError('libnvrtc.so.13 is not there')")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_without_a_gpu_a_curve_of_the_gpu_is_skipped_and_a_curve_of_anything_is_the_cpus(broken_cupy, quick, capsys):
    assert bench_curve(net=TINY, sizes="50", backend="cupy") == 3
    text = capsys.readouterr().out
    assert text.startswith("SKIPPED  CuPy is installed but cannot be imported")
    assert "test accuracy" not in text
    assert bench_curve(net=TINY, sizes="50", backend="auto") == 0
    out, err = capsys.readouterr()
    assert "No GPU was used: CuPy is installed but cannot be imported" in out
    assert "no GPU is used" in err


def test_a_child_tells_every_point_and_what_it_says_meanwhile(monkeypatch):
    ours = "import gpudoctor.bench.curves.run as run; from gpudoctor.bench.devices.device import NumpyDevice; "
    monkeypatch.setattr(curve_run, "_CHILD", ours + "run.open_device = lambda *_: NumpyDevice(); run.main({!r})")
    split, said = read_data("digits", 0), []
    task = Task("digits", "8x8: fc10", (20, 40), 0)
    told = curve_run.run_curve(task, split, "cupy", said.append)
    assert (told.end, told.reason) == (End.MEASURED, "")
    here = curve_run.run_curve(task, split, "numpy", said.append)
    assert [point[:6] for point in told.points] == [point[:6] for point in here.points]
    assert told.device == here.device
    assert any(line.startswith("40 images: loss ") for line in said)


def heard(*events, failure=""):
    return lambda workers, **options: {workers[0].name: Heard(events, failure, "")}


OPENED = Event("opened", data={"text": "Test GPU", "versions": {"cupy": "14.2.0"}})
MEASURED = Event("note", "curve", data={"point": points(0.9)[0]._asdict()})


@pytest.mark.parametrize(
    ("said", "end", "reason"),
    [
        (heard(OPENED, MEASURED, Event("ended", "curve", "measured"), Event("finished")), "measured", ""),
        (heard(OPENED, MEASURED, failure="it hung in curve"), "failed", "did not finish: it hung in curve."),
        (heard(OPENED, Event("ended", "curve", "measured")), "failed", "it did not say what it measured"),
        (heard(failure="it was ended by signal SIGSEGV"), "failed", "SIGSEGV"),
        (heard(OPENED, Event("ended", "curve", "failed", "The loss became nan.")), "failed", "The loss became nan."),
        (heard(OPENED, Event("ended", "curve", "skipped", "Not enough memory.")), "skipped", "Not enough memory."),
    ],
)
def test_a_child_that_does_not_say_everything_is_never_green(monkeypatch, said, end, reason):
    monkeypatch.setattr(curve_run, "run_children", said)
    split = read_data("digits", 0)
    told = curve_run.run_curve(Task("digits", TINY, (50,), 0), split, "cupy", lambda line: None)
    assert (told.end.value, told.exit_code == 0) == (end, end == "measured")
    assert reason in told.reason
