"""Runs the benchmark: chooses what to run on, lets a child of each GPU measure, and gathers the verdicts."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import NamedTuple

import numpy

from gpudoctor import __version__
from gpudoctor.bench.baseline import Baseline, judge_against_baseline, require_comparable
from gpudoctor.bench.devices.device import Device
from gpudoctor.bench.job import Event, Job, Level
from gpudoctor.bench.judge import Observed, conclude_device, judge_device, phases_of
from gpudoctor.bench.result import BenchResult, DeviceResult, Status
from gpudoctor.bench.running.children import Heard
from gpudoctor.bench.running.worker import run_job, run_on

BACKENDS = ("auto", "cupy", "torch", "numpy")


class Wanted(NamedTuple):
    """What the user asked for."""

    backend: str = "auto"
    level: Level = Level.DEFAULT
    burn_seconds: float = 0.0
    seed: int = 0
    all_gpus: bool = False
    gpus: tuple[str, ...] = ()  # numbers or UUIDs
    python: str | None = None  # whose torch is tested, None: the first that is found
    baseline: Baseline | None = None  # what the rates are held against


Say = Callable[[str], None]


def run_bench(wanted: Wanted, say: Say) -> BenchResult:
    """Shows whether each chosen device trains, how fast, and how healthy it comes out of it.

    `say` gets a line now and then. Raises ValueError for a backend or a seed that cannot be. A sick machine raises
    nothing: it is in the result.
    Raises NoSuchGpu for a wanted GPU that is not to be had, BadSource for a baseline of another machine.
    """
    if wanted.backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {wanted.backend!r}")
    if wanted.seed < 0:
        raise ValueError(f"seed must be 0 or more, not {wanted.seed}")
    began = time.perf_counter()
    result = BenchResult(wanted.backend, wanted.level.value, wanted.seed, versions=_own_versions())
    result.began = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if wanted.backend == "numpy":
        job = Job("numpy", phases_of(wanted.level, "numpy"), wanted.level, wanted.seed, wanted.burn_seconds)
        if wanted.baseline is not None:
            require_comparable(wanted.baseline, level=wanted.level.value, backend="numpy", names=())
        heard = hear_here(job, say=say)
        device = judge_device(job, heard, Observed())
        if wanted.baseline is not None:
            device.phases.append(judge_against_baseline(device, wanted.level.value, wanted.baseline))
        conclude_device(device, job, heard)
        result.devices.append(device)
    else:
        from gpudoctor.bench.running.on_gpus import run_on_gpus  # here: the CPU needs no children

        run_on_gpus(wanted, result)
    conclude(result)
    result.seconds = time.perf_counter() - began
    return result


def conclude(result: BenchResult) -> None:
    """The verdict on the run, from those on its devices: the worst, and a device that did not run is no pass."""
    if not result.devices:
        return
    worst = max(result.devices, key=lambda device: _RANK[device.status])
    result.status, result.reason = worst.status, worst.reason
    result.backend = worst.backend if len({device.backend for device in result.devices}) == 1 else result.backend
    if len(result.devices) > 1:
        result.reason = f"{_counted(result.devices)} {worst.text}: {worst.reason}" if worst.text else worst.reason
    between = result.between_gpus
    if between is not None and _RANK[between.status] > _RANK[result.status] and between.status is not Status.SKIPPED:
        result.status, result.reason = between.status, between.reason


_RANK = {
    Status.PASSED: 0,
    Status.WARNED: 1,
    Status.NOT_MEASURED: 2,
    Status.SKIPPED: 3,
    Status.FAILED: 4,
}


def _counted(devices: list[DeviceResult]) -> str:
    passed = sum(device.status in (Status.PASSED, Status.WARNED) for device in devices)
    return f"{passed} of {len(devices)} GPUs train."


def hear_here(job: Job, device: Device | None = None, say: Say | None = None) -> Heard:
    """Run a job in this process: for the CPU, and for a device of a test."""
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if event.kind == "note" and say is not None:
            say(event.reason)

    if device is None:
        run_job(job, emit)
    else:
        run_on(device, {}, job, emit)
    return Heard(tuple(events), "", "")


def _own_versions() -> dict[str, str | None]:
    # Imported here because it may look for files, and only a run needs its answer.
    import distro

    return {
        "gpudoctor": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "os": distro.name(pretty=True) or None,
        "kernel": platform.release(),
    }
