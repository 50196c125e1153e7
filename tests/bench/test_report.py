"""The result as text and as JSON."""

import json
import math

import pytest
from bench.test_judge import H100, JOB, judged, told

from gpudoctor import __version__
from gpudoctor.bench.judge import Observed
from gpudoctor.bench.measures import Counters
from gpudoctor.bench.report import as_text
from gpudoctor.bench.result import BenchResult, DeviceResult, PhaseResult, Status, finite
from gpudoctor.bench.run import conclude
from gpudoctor.bench.running.children import Heard
from gpudoctor.bench.running.worker import plain


def result_of(*devices, **changes):
    result = BenchResult("cupy", "default", 4, devices=list(devices), seconds=61.5)
    result.versions = {"gpudoctor": "1", "numpy": "2.4", "cupy": "14.2.0", "cuda_driver": None, "os": "Debian"}
    conclude(result)
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def words(result):
    return " ".join(as_text(result).split())


def test_the_verdict_comes_first_and_the_numbers_follow():
    result = result_of(judged(told()))
    text = as_text(result)
    assert text.startswith("PASSED  The GPU trains: it reads 98.0%")
    for part in (
        "NVIDIA H100",
        "1437 images",
        "seed 4",
        "CuPy 14.2.0",
        "Debian",
        "product fp32",
        "TFLOPS",
        "level default",
    ):
        assert part in words(result)
    assert "CUDA of the driver" not in text  # its version is not known, and nothing is made up
    assert [line.count("#") for line in text.splitlines() if "#" in line] == [32, 5, 1]
    assert max(map(len, text.splitlines())) <= 80


def test_as_json():
    told_json = json.loads(json.dumps(result_of(judged(told())).to_json(), allow_nan=False))
    assert (told_json["schema"], told_json["command"], told_json["gpudoctor"]) == (2, "bench", __version__)
    assert (told_json["status"], told_json["exit_code"], told_json["backend"]) == ("passed", 0, "cupy")
    (device,) = told_json["devices"]
    assert device["traits"] == json.loads(json.dumps(plain(H100)))
    assert [phase["phase"] for phase in device["phases"]][:4] == ["numerics", "training", "replay", "throughput"]
    assert told_json["versions"]["cuda_driver"] is None


def test_a_number_that_is_none_is_null_in_json():
    assert finite({"a": [math.nan, 1.0], "b": (math.inf, {"c": -math.inf})}) == {
        "a": [None, 1.0],
        "b": [None, {"c": None}],
    }
    device = DeviceResult("GPU", "cupy", phases=[PhaseResult("training", Status.FAILED, "", [], {"loss": math.nan})])
    json.dumps(result_of(device).to_json(), allow_nan=False)


def test_a_finding_is_said_once_and_names_its_explanation():
    observed = Observed(
        before=Counters("GPU-1", ecc_uncorrected=0), after=Counters("GPU-1", ecc_uncorrected=2), seconds=60
    )
    result = result_of(judged(told(), observed))
    assert result.exit_code == 2
    assert "gpudoctor explain bench.faults-counted" in words(result)
    assert words(result).count("2 new uncorrected memory errors") == 2  # the verdict, and its phase


def test_what_could_not_be_opened_is_said_once_and_is_no_pass():
    result = result_of(judged(Heard((), "it ended with exit code 4", "")))
    assert result.exit_code == 3
    assert words(result).count("it ended with exit code 4") == 1
    assert "this is not a pass" in words(result)


@pytest.mark.parametrize(
    ("statuses", "worst", "code"),
    [
        ((Status.PASSED, Status.PASSED), Status.PASSED, 0),
        ((Status.PASSED, Status.WARNED), Status.WARNED, 0),
        ((Status.PASSED, Status.SKIPPED), Status.SKIPPED, 3),
        ((Status.SKIPPED, Status.FAILED), Status.FAILED, 2),
    ],
)
def test_a_run_is_as_good_as_its_worst_gpu(statuses, worst, code):
    result = result_of(*(DeviceResult(f"GPU {place}", "cupy", status=one) for place, one in enumerate(statuses)))
    assert (result.status, result.exit_code) == (worst, code)


def test_nothing_at_all_is_no_pass():
    assert BenchResult("auto", "quick", 0).exit_code == 3
    assert JOB.phases
