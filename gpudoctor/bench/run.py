"""Runs the benchmark: opens a device, checks the gradients on it, trains a net on it, and judges."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import numpy

from gpudoctor import __version__
from gpudoctor.bench import glyphs
from gpudoctor.bench.backends import (
    Backend,
    CannotRun,
    DoesNotTrain,
    cupy_versions,
    import_cupy,
    in_words,
    open_cupy,
    open_numpy,
)
from gpudoctor.bench.gradient_check import LIMIT, gradient_errors
from gpudoctor.bench.net import relu_net
from gpudoctor.bench.result import BenchResult, Status
from gpudoctor.bench.training import train

BACKENDS = ("auto", "cupy", "numpy")

TRAINING_IMAGES = 4000
TEST_IMAGES = 1000

# Guessing reads one in ten. On a CPU the seeds 0 to 19 were all past it within 4 epochs; the bound leaves room.
ACCURACY_NEEDED = 0.95
MOST_EPOCHS = 12

# The share of the untrained net's loss below which the loss counts as fallen.
LOSS_FALLEN = 0.5


def run_bench(backend: str = "auto", *, seed: int = 0, progress: Callable[[str], None] | None = None) -> BenchResult:
    """Shows whether a device trains: the smallest whole training there is, not a measure of the device's speed.

    backend: "auto" and "cupy" take the GPU through CuPy, and are skipped without one; "numpy" takes the CPU, which
    says nothing about a GPU. seed (0 or more) decides the data, the weights and the order; on the CPU it decides the
    losses and accuracies too. progress gets a line now and then.
    Raises ValueError for another backend or a negative seed. A sick machine raises nothing: it is in the result.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, not {seed}")
    began = time.perf_counter()
    result = BenchResult(Status.FAILED, "The benchmark did not finish.", backend, seed, versions=_own_versions())
    errors: tuple[type[Exception], ...] = ()
    try:
        opened = _open(result)
        errors = opened.errors
        _check_gradients(result, opened, progress or _say_nothing)
        _train(result, opened, progress or _say_nothing)
    except CannotRun as why:
        result.status, result.reason = Status.SKIPPED, str(why)
    except DoesNotTrain as why:
        result.status, result.reason = Status.FAILED, str(why)
    except MemoryError as error:
        result.status, result.reason = Status.SKIPPED, f"Not enough memory is free to train: {in_words(error)}"
    except errors as error:
        result.status, result.reason = Status.FAILED, f"The device failed in the middle of the run: {in_words(error)}"
    result.seconds = time.perf_counter() - began
    return result


def _open(result: BenchResult) -> Backend:
    if result.backend == "numpy":
        opened = open_numpy()
    else:
        cupy = import_cupy()
        result.versions.update(cupy_versions(cupy))
        opened = open_cupy(cupy)
    result.backend, result.device = opened.name, opened.device
    return opened


def _check_gradients(result: BenchResult, backend: Backend, say: Callable[[str], None]) -> None:
    compiling = "" if backend.name == "numpy" else " (the first run also compiles the kernels)"
    say(f"{backend.device}: checking the gradients{compiling}")
    result.gradient_errors, result.gradient_limit = gradient_errors(backend.xp), LIMIT
    wrong = [f"{name} ({error:.1e})" for name, error in result.gradient_errors.items() if not error < LIMIT]
    if wrong:
        raise DoesNotTrain(f"The gradients are wrong, by their relative error against differences: {', '.join(wrong)}.")
    say(f"gradients agree with finite differences to {result.gradient_error:.0e}")


def _train(result: BenchResult, backend: Backend, say: Callable[[str], None]) -> None:
    training = glyphs.draw(TRAINING_IMAGES, [result.seed, 0])
    test = glyphs.draw(TEST_IMAGES, [result.seed, 1])
    result.training_images, result.test_images = len(training.labels), len(test.labels)
    result.accuracy_needed = ACCURACY_NEEDED
    images, seconds = 0, 0.0
    # An overflow is judged by the loss that comes of it; NumPy's warning on the way there tells the reader nothing.
    with numpy.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for epoch in train(backend, relu_net(glyphs.SIZE, glyphs.CLASSES), training, test, seed=result.seed):
            say(f"epoch {epoch.number}: loss {epoch.loss:.3f}, reads {epoch.accuracy:.1%} of the test set")
            if epoch.number == 0:
                result.untrained_loss, result.untrained_accuracy = epoch.loss, epoch.accuracy
                to_fall_below = LOSS_FALLEN * epoch.loss
                continue
            result.losses.append(epoch.loss)
            result.accuracies.append(epoch.accuracy)
            images, seconds = images + epoch.images, seconds + epoch.seconds
            result.images_per_second = images / seconds
            learned = epoch.loss < to_fall_below and epoch.accuracy >= ACCURACY_NEEDED
            if learned or epoch.number == MOST_EPOCHS:
                break
    standing = f"it reads {epoch.accuracy:.1%} of images it never trained on, after {epoch.number} epochs"
    if not learned:
        raise DoesNotTrain(
            f"The net does not learn: {standing}; needed are {ACCURACY_NEEDED:.0%}, and a loss below "
            f"{to_fall_below:.2f}, which is {epoch.loss:.2f}."
        )
    result.status = Status.PASSED
    if backend.name == "numpy":
        result.reason = f"The CPU trains: {standing}. That says nothing about a GPU."
    else:
        result.reason = f"The GPU trains: {standing}."


def _own_versions() -> dict[str, str | None]:
    # Imported here because it may look for files, and only a run needs its answer.
    import distro

    return {
        "gpudoctor": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "os": distro.name(pretty=True) or None,
    }


def _say_nothing(line: str) -> None:
    """For a caller who wants no progress."""
