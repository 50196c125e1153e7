"""The benchmark on GPUs: a child for each, all at once, under the eyes of NVML; then what lies between them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NamedTuple

from gpudoctor.bench.baseline import Baseline, judge_against_baseline, require_comparable
from gpudoctor.bench.devices.device import CannotRun
from gpudoctor.bench.job import Job, Phase
from gpudoctor.bench.judge import Observed, conclude_device, judge_device, phases_of, traits_from
from gpudoctor.bench.measures import Rate, Replayed
from gpudoctor.bench.result import BenchResult, DeviceResult, PhaseResult, Status
from gpudoctor.bench.run import Wanted
from gpudoctor.bench.running.children import Worker, gpu_environment, run_children, worker_argv
from gpudoctor.bench.running.gpus import Choice, Gpu, chosen_gpus
from gpudoctor.bench.running.progress import progress_shown
from gpudoctor.bench.running.sampler import Sampler, busy_reason, count_xids, first_look, start_sampler, stop_sampler
from gpudoctor.bench.running.worker import expected_seconds
from gpudoctor.bench.verdicts.peers import Peer, judge_peers
from gpudoctor.children import collect, probe_answer, start_probe
from gpudoctor.host import ProbeAnswer
from gpudoctor.machine import LiveHost

# Seconds for a whole child: what it should take, five times over, and the compiling of its kernels.
_SLOWEST = 5.0
_COMPILING = 180.0
_PROBE_PATIENCE = 15.0

_ANY = Gpu("", None, "", "", None, None)  # whichever CUDA takes first, where NVML does not tell


class _Start(NamedTuple):
    """How the children of a backend are started."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    worker: Mapping[str, object]  # more arguments of Worker


def run_on_gpus(wanted: Wanted, result: BenchResult) -> None:
    """Put what the benchmark finds on the chosen GPUs into the result.

    Raises NoSuchGpu for a wanted GPU that cannot be taken, BadSource for a baseline of other GPUs. Whatever else is
    wrong is in the result.
    """
    try:
        backend, interpreter = _backend(wanted)
        if interpreter:
            result.notes.append(f"This is the PyTorch of {interpreter}.")
        choice = _choice(wanted, result)
        if wanted.baseline is not None:
            models = [gpu.model for gpu in choice.gpus if gpu.model]
            require_comparable(wanted.baseline, level=wanted.level.value, backend=backend, names=models)
        result.backend = backend
        result.notes += choice.notes
        template = Job(backend, phases_of(wanted.level, backend), wanted.level, wanted.seed, wanted.burn_seconds)
        with _started(interpreter, template) as start:
            _run(choice.gpus, template, start, result, wanted.baseline)
    except CannotRun as why:
        result.status, result.reason = Status.SKIPPED, str(why)


def _backend(wanted: Wanted) -> tuple[str, str]:
    """The backend, and for "torch" the interpreter that has it. Raises CannotRun where there is no PyTorch."""
    if wanted.backend == "torch" or (wanted.backend == "auto" and wanted.python is not None):
        return "torch", _python_with_torch(wanted.python)
    # CuPy is not imported here: that is for the child alone.
    if wanted.backend == "cupy" or find_spec("cupy") is not None:
        return "cupy", ""
    try:
        return "torch", _python_with_torch(None)
    except CannotRun:
        return "cupy", ""  # its child says how to install it


def _python_with_torch(python: str | None) -> str:
    from gpudoctor.bench.pytorch.backend import python_with_torch  # here: CuPy needs none of it
    from gpudoctor.facts.python_environments import PythonEnvironments
    from gpudoctor.registry import Facts

    host = LiveHost(60.0, 10.0)
    if python is not None:
        host.pythons = (python,)
    return python_with_torch(Facts(host).get(PythonEnvironments))


def _choice(wanted: Wanted, result: BenchResult) -> Choice:
    (ended,) = collect([start_probe("nvml")], time.monotonic() + _PROBE_PATIENCE)
    probed = probe_answer(ended)
    driver = probed.answer.get("driver_version") if probed.answer else None
    result.versions["driver"] = driver if isinstance(driver, str) else None
    try:
        return chosen_gpus(probed, wanted=wanted.gpus, all_gpus=wanted.all_gpus)
    except CannotRun as why:
        if wanted.gpus or _lists_gpus(probed):
            raise
        # CUDA may know better, as on boards without NVML; and where it does not, its own words say more.
        return Choice((_ANY,), (str(why),))


def _lists_gpus(probed: ProbeAnswer) -> bool:
    return bool(probed.answer and probed.answer.get("gpus"))


@contextmanager
def _started(interpreter: str, job: Job) -> Iterator[_Start]:
    if not interpreter:
        yield _Start(worker_argv(), os.environ, {})
        return
    from gpudoctor.bench.pytorch.backend import materials_file, torch_launch  # here: CuPy needs none of it

    with materials_file(job) as path:
        launch = torch_launch(interpreter, path)
        yield _Start(launch.argv, launch.environment, {"account": launch.account})


def _run(gpus: Sequence[Gpu], template: Job, start: _Start, result: BenchResult, baseline: Baseline | None) -> None:
    well = [gpu for gpu in gpus if not gpu.sickness]
    host = LiveHost(3600.0, 10.0)
    xids = {gpu.uuid: count_xids(host, gpu.pci_address) if gpu.pci_address else None for gpu in well}
    sampler = start_sampler([gpu.uuid for gpu in well if gpu.uuid])
    began = time.monotonic()
    try:
        first_look(sampler)
        busy = {gpu.uuid: busy_reason(sampler.before.get(gpu.uuid), sampler.samples.get(gpu.uuid, ())) for gpu in well}
        jobs = {gpu.name: template._replace(busy=bool(busy[gpu.uuid])) for gpu in well}
        workers = [_worker(gpu, jobs[gpu.name], start) for gpu in well]
        with progress_shown([worker.name for worker in workers]) as show:
            heard = run_children(workers, watch=show, sampler=sampler)
        if len(well) > 1 and template.backend == "cupy":
            result.between_gpus = _between(well, template, start, sampler, any(busy.values()))
    finally:
        stop_sampler(sampler)
    if sampler.failure and any(gpu.uuid for gpu in well):
        result.notes.append(f"Clocks, temperatures and counters were not all seen: {sampler.failure}.")
    fresh = LiveHost(60.0, 10.0)
    for gpu in gpus:
        if gpu.sickness:
            reason = f"{gpu.name} cannot be tested: {gpu.sickness}."
            result.devices.append(DeviceResult(gpu.name, template.backend, status=Status.FAILED, reason=reason))
            continue
        observed = _observed(gpu, sampler, xids[gpu.uuid], fresh, busy[gpu.uuid], time.monotonic() - began)
        device = judge_device(jobs[gpu.name], heard[gpu.name], observed)
        if heard[gpu.name].note:
            result.notes.append(f"{gpu.name}: {heard[gpu.name].note}.")
        if gpu.number is not None:
            # To its child, which sees no other, every GPU is number 0.
            device.text = device.text.replace(f"({device.home}, ", f"({gpu.name}, ")
        device.text = device.text or (f"{gpu.model} ({gpu.name})" if gpu.model else gpu.name)
        device.versions.setdefault("driver", result.versions.get("driver"))
        if gpu.uuid and device.traits is not None:
            # NVML's word, and of a MIG instance its own: CUDA names the whole GPU.
            device.traits["uuid"] = gpu.uuid
        result.devices.append(device)
    compare(result, baseline)
    for gpu, device in zip(gpus, result.devices, strict=True):
        if not gpu.sickness:
            conclude_device(device, jobs[gpu.name], heard[gpu.name])


def _worker(gpu: Gpu, job: Job, start: _Start) -> Worker:
    environment = gpu_environment(gpu.uuid, start.environment) if gpu.uuid else dict(start.environment)
    plan = tuple((phase.value, expected_seconds(phase, job)) for phase in job.phases)
    # A burn takes the time that it was given; the rest may take its time.
    fixed = job.burn_seconds if Phase.BURN in job.phases else 0.0
    seconds = fixed + _COMPILING + _SLOWEST * (sum(seconds for _, seconds in plan) - fixed)
    return Worker(gpu.name, start.argv, environment, job, seconds, gpu.uuid, plan, **start.worker)  # type: ignore[arg-type]


def _between(gpus: Sequence[Gpu], template: Job, start: _Start, sampler: Sampler, busy: bool) -> PhaseResult:
    """Copies and reductions between GPUs, in one child that sees them all."""
    job = template._replace(phases=(Phase.BETWEEN_GPUS,), busy=busy)
    together = Gpu(",".join(gpu.uuid for gpu in gpus), None, "", "", None, None)
    worker = _worker(together, job, start)._replace(name="between GPUs", uuid="")
    with progress_shown([worker.name]) as show:
        heard = run_children([worker], watch=show, sampler=sampler)[worker.name]
    words = "other processes compute on them" if busy else ""
    device = judge_device(job, heard, Observed(busy=words))
    return next(phase for phase in device.phases if phase.name == Phase.BETWEEN_GPUS.value)


def _observed(gpu: Gpu, sampler: Sampler, xids: int | None, host: LiveHost, busy: str, seconds: float) -> Observed:
    before, after = sampler.before.get(gpu.uuid), sampler.after.get(gpu.uuid)
    errors = sampler.errors.get(gpu.uuid, [])
    return Observed(
        sampler.samples.get(gpu.uuid, ()),
        before and before._replace(xids=xids),
        after and after._replace(xids=count_xids(host, gpu.pci_address)),
        "; ".join([*errors, *([sampler.failure] if sampler.failure else [])]),
        seconds,
        busy,
    )


def compare(result: BenchResult, baseline: Baseline | None) -> None:
    """Hold the GPUs against each other and against the baseline."""
    if baseline is not None:
        for device in result.devices:
            if device.traits is not None:
                device.phases.append(judge_against_baseline(device, result.level, baseline))
    peers = {str(place): _peer(device) for place, device in enumerate(result.devices) if device.traits is not None}
    for place, phase in judge_peers(peers).items():
        result.devices[int(place)].phases.append(phase)


def _peer(device: DeviceResult) -> Peer:
    traits = traits_from(device.traits)
    assert traits is not None  # only devices that have some are compared
    speed, replay = device.phase(Phase.THROUGHPUT.value), device.phase(Phase.REPLAY.value)
    known = Rate._fields
    # What was timed beside somebody else's work is no yardstick for the others.
    rows = speed.numbers.get("rates", ()) if speed and speed.status is not Status.NOT_MEASURED else ()
    rates = [Rate(**{name: row[name] for name in known}) for row in rows]
    replays = [Replayed(**row) for row in replay.numbers.get("replays", ())] if replay else []
    return Peer(device.text, traits, rates, replays)
