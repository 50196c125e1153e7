"""The child that watches GPUs through NVML while others compute on them: a line of JSON for each thing it sees.

`{"counters": ...}` for each GPU, before all samples and after them (`measures.Counters`); `{"sample": ...}` for each
GPU every tenth of a second (`measures.Sample`); `{"error": [uuid, text]}` once for each sickness of a GPU;
`{"failure": text}` when NVML cannot be asked at all. It ends on SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeVar

import pynvml

from gpudoctor.bench.measures import Counters, Sample
from gpudoctor.probes.nvml_calls import NOT_AVAILABLE, call, first_of, memory_of, message_of
from gpudoctor.probes.restraint import leave_driver_unloaded

T = TypeVar("T")

# After so many seconds there is a sample a second: a burn of a day must not fill the memory of who reads this.
_DENSE = 600.0
_SPARSE_INTERVAL = 1.0


class _Watched(NamedTuple):
    """A GPU, or a MIG instance and the GPU that it is a part of: clocks and counters are the whole GPU's."""

    uuid: str
    handle: Any  # of what was asked for
    whole: Any  # of the GPU


class _Told:
    """Prints what is seen, each sickness of a GPU only once."""

    def __init__(self, descriptor: int) -> None:
        self._stream = open(descriptor, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
        self._known: set[tuple[str, str]] = set()

    def tell(self, kind: str, what: object) -> None:
        self._stream.write(json.dumps({kind: what}) + "\n")
        self._stream.flush()

    def error(self, uuid: str, text: str) -> None:
        if (uuid, text) not in self._known:
            self._known.add((uuid, text))
            self.tell("error", [uuid, text])

    def ask(self, uuid: str, question: Callable[[], T]) -> T | None:
        """The answer. None where this GPU, driver or user does not have it, and where it fails, which is told."""
        try:
            return question()
        except pynvml.NVMLError as error:
            if error.value not in NOT_AVAILABLE:
                self.error(uuid, message_of(error.value))
            return None


def main() -> NoReturn:
    """Watch what standard input names, `{"uuids": [...], "interval": 0.1}`, until SIGTERM; then end the process."""
    # What libraries print becomes standard error, as in gpudoctor.probes.
    descriptor = os.dup(1)
    os.dup2(2, 1)
    # Blocked, so that the order to end waits until it is asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    told = _Told(descriptor)
    order = json.loads(sys.stdin.read())
    leave_driver_unloaded()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        told.tell("failure", f"NVML cannot be started: {message_of(error.value)}")
    else:
        gpus = list(_found(order["uuids"], told))
        if gpus:
            _watch(gpus, order["interval"], told)
        else:
            told.tell("failure", "NVML can watch none of these GPUs")
    # Not sys.exit: what a sick driver's library does at the end of a process can hang.
    os._exit(0)


def _found(uuids: list[str], told: _Told) -> Iterator[_Watched]:
    for uuid in uuids:
        handle = told.ask(uuid, partial(call, "nvmlDeviceGetHandleByUUID", uuid))
        whole = handle
        if handle is not None and uuid.startswith("MIG-"):
            whole = told.ask(uuid, partial(call, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle))
        if whole is not None:
            yield _Watched(uuid, handle, whole)


def _watch(gpus: list[_Watched], interval: float, told: _Told) -> None:
    for gpu in gpus:
        told.tell("counters", _counters(gpu, told)._asdict())
    began = due = time.monotonic()
    while True:
        for gpu in gpus:
            told.tell("sample", _sample(gpu, told)._asdict())
        now = time.monotonic()
        due = max(now, due + (interval if now - began < _DENSE else max(interval, _SPARSE_INTERVAL)))
        if signal.sigtimedwait([signal.SIGTERM], due - now):
            break
    for gpu in gpus:
        told.tell("counters", _counters(gpu, told)._asdict())


def _sample(gpu: _Watched, told: _Told) -> Sample:
    def ask(question: Callable[[], T]) -> T | None:
        return told.ask(gpu.uuid, question)

    temperature = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
    reasons = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
    return Sample(
        time.monotonic(),
        gpu.uuid,
        ask(lambda: call("nvmlDeviceGetClockInfo", gpu.whole, pynvml.NVML_CLOCK_SM)),
        ask(lambda: call("nvmlDeviceGetClockInfo", gpu.whole, pynvml.NVML_CLOCK_MEM)),
        ask(lambda: call("nvmlDeviceGetPowerUsage", gpu.whole) / 1000),
        ask(lambda: first_of(temperature, gpu.whole, pynvml.NVML_TEMPERATURE_GPU)),
        ask(lambda: call("nvmlDeviceGetUtilizationRates", gpu.whole).gpu),
        ask(lambda: first_of(reasons, gpu.whole)),
    )


def _counters(gpu: _Watched, told: _Told) -> Counters:
    def ask(function: str, *arguments: Any) -> Any:
        return told.ask(gpu.uuid, partial(call, function, gpu.whole, *arguments))

    volatile = pynvml.NVML_VOLATILE_ECC
    remapped = ask("nvmlDeviceGetRemappedRows")
    limit = ask("nvmlDeviceGetEnforcedPowerLimit")
    memory = told.ask(gpu.uuid, lambda: memory_of(gpu.handle))
    return Counters(
        gpu.uuid,
        ecc_uncorrected=ask("nvmlDeviceGetTotalEccErrors", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, volatile),
        ecc_corrected=ask("nvmlDeviceGetTotalEccErrors", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, volatile),
        remapped_rows=None if remapped is None else remapped[0] + remapped[1],
        pcie_replays=ask("nvmlDeviceGetPcieReplayCounter"),
        nvlink_errors=_nvlink_errors(gpu, told),
        processes=_processes(gpu, told),
        power_limit_w=None if limit is None else limit / 1000,
        pcie_generation=ask("nvmlDeviceGetCurrPcieLinkGeneration"),
        pcie_generation_max=ask("nvmlDeviceGetMaxPcieLinkGeneration"),
        pcie_width=ask("nvmlDeviceGetCurrPcieLinkWidth"),
        pcie_width_max=ask("nvmlDeviceGetMaxPcieLinkWidth"),
        max_sm_mhz=ask("nvmlDeviceGetMaxClockInfo", pynvml.NVML_CLOCK_SM),
        total_memory_bytes=memory[0] if memory else None,
        free_memory_bytes=memory[3] if memory else None,
    )


def _processes(gpu: _Watched, told: _Told) -> int | None:
    """How many compute on it, also through MPS. A container sees its own alone, or none."""
    found: set[int] = set()
    known = False
    for kind in ("Compute", "MPSCompute"):
        versions = (f"nvmlDeviceGet{kind}RunningProcesses_v3", f"nvmlDeviceGet{kind}RunningProcesses_v2")
        processes = told.ask(gpu.uuid, partial(first_of, versions, gpu.handle))
        known = known or processes is not None
        found |= {process.pid for process in processes or ()}
    return len(found) if known else None


def _nvlink_errors(gpu: _Watched, told: _Told) -> int | None:
    counters = ("NVML_NVLINK_ERROR_DL_CRC_FLIT", "NVML_NVLINK_ERROR_DL_CRC_DATA", "NVML_NVLINK_ERROR_DL_REPLAY")
    total = None
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            if not call("nvmlDeviceGetNvLinkState", gpu.whole, link):
                continue
        except pynvml.NVMLError:  # past its last link; a GPU without any says so at once
            break
        for counter in counters:
            number = getattr(pynvml, counter)
            count = told.ask(gpu.uuid, partial(call, "nvmlDeviceGetNvLinkErrorCounter", gpu.whole, link, number))
            total = total if count is None else (total or 0) + count
    return total
