"""The result as text and as JSON."""

import json
import math
import sys

import pytest

from gpudoctor import __version__
from gpudoctor.bench import run
from gpudoctor.bench.report import as_text
from gpudoctor.bench.result import BenchResult, Status
from gpudoctor.bench.run import run_bench


@pytest.fixture
def passed():
    return BenchResult(
        Status.PASSED,
        "The GPU trains: it reads 97.1% of images it never trained on, after 2 epochs.",
        "cupy",
        seed=4,
        device="NVIDIA H200 (GPU 0, 140 GiB, compute capability 9.0)",
        gradient_errors={"Conv": 1e-9, "ReLU net": 4.2e-8},
        gradient_limit=1e-5,
        untrained_loss=2.4,
        untrained_accuracy=0.1,
        losses=[1.2, 0.1],
        accuracies=[0.6, 0.971],
        accuracy_needed=0.95,
        training_images=4000,
        test_images=1000,
        images_per_second=123456.7,
        seconds=3.21,
        versions={"gpudoctor": "1", "numpy": "2.4", "cupy": "14.2.0", "cuda_driver": None, "os": "Debian"},
    )


def test_the_verdict_comes_first_and_the_numbers_follow(passed):
    text = as_text(passed)
    assert text.startswith("PASSED  The GPU trains: it reads 97.1%")
    for part in ("NVIDIA H200", "4.2e-08", "4000 images", "123,457 images", "seed 4", "CuPy 14.2.0", "Debian", "95%"):
        assert part in text
    assert "driver" not in text  # its version is not known, and nothing is made up
    bars = [line.count("#") for line in text.splitlines() if "#" in line]
    assert bars == [36, 18, 2]


def test_as_json(passed):
    told = json.loads(json.dumps(passed.to_json(), allow_nan=False))
    assert (told["schema"], told["command"], told["gpudoctor"]) == (1, "bench", __version__)
    assert (told["status"], told["exit_code"], told["backend"]) == ("passed", 0, "cupy")
    assert told["gradient_check"]["worst_error"] == 4.2e-8
    assert told["losses"] == [1.2, 0.1]
    assert (told["train_loss"], told["test_accuracy"], told["epochs"]) == (0.1, 0.971, 2)
    assert told["versions"]["cuda_driver"] is None


def test_a_loss_that_is_no_number_is_null_in_json_and_has_no_bar(passed):
    passed.losses[-1] = math.nan
    assert json.loads(json.dumps(passed.to_json(), allow_nan=False))["losses"] == [1.2, None]
    assert "nan" in as_text(passed)


def test_a_skipped_run_says_that_it_is_no_pass(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    text = as_text(run_bench())
    assert text.startswith("SKIPPED  CuPy is not installed")
    assert "not a pass" in text
    assert "epoch" not in text
    assert "PASSED" not in text


def test_a_failed_run_still_shows_how_far_it_came(monkeypatch):
    monkeypatch.setattr(run, "TRAINING_IMAGES", 100)
    monkeypatch.setattr(run, "TEST_IMAGES", 50)
    monkeypatch.setattr(run, "MOST_EPOCHS", 2)
    result = run_bench("numpy")
    text = as_text(result)
    assert text.startswith("FAILED  The net does not learn")
    assert f"{result.untrained_loss:.3f}" in text
    assert f"{result.losses[1]:.3f}" in text


@pytest.mark.parametrize("status", Status)
def test_no_line_is_wider_than_a_terminal(passed, status):
    passed.status = status
    passed.reason = "a reason of many words " * 12
    passed.device = "a device of many words " * 9
    text = as_text(passed)
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert text.endswith("\n")
