"""The child that watches GPUs: NVIDIA's real pynvml over a stub library that changes, fails and hangs meanwhile."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from imaginary_machines import Environment, Settings, a100, machine

from gpudoctor.bench.job import Job, Level
from gpudoctor.bench.measures import Counters, Sample
from gpudoctor.bench.running.children import Moment, Worker, run_children
from gpudoctor.bench.running.lines import listen
from gpudoctor.bench.running.sampler import (
    Sampler,
    busy_reason,
    count_xids,
    first_look,
    start_sampler,
    stop_sampler,
    summarise,
)
from gpudoctor.host import Completed
from gpudoctor.testing import MachineTree

pytest_plugins = ["native_libraries"]

FIRST = "GPU-11111111-2222-3333-4444-555555555550"
SECOND = "GPU-11111111-2222-3333-4444-555555555551"
INTERVAL = 0.02


def watched(index: int, **changes: object) -> Settings:
    """An A100 that tells what a sampler asks for."""
    more: Settings = {
        "sm_clock": 1410,
        "sm_clock_max": 1410,
        "memory_clock": 1593,
        "utilisation": 0,
        "power_limit": 400000,
        "pcie_replays": 3,
        "ecc_corrected_volatile": 2,
        "nvlink_errors": "1 0 4",  # three links, each count of CRC in control and in data, and of replays
        "processes": 0,
    }
    return a100(index, **{**more, **changes})


class Machine:
    """A machine of the stub library that changes while it is watched."""

    def __init__(self, environment: Environment) -> None:
        self._environment, self._file, self.samplers = environment, Path(), []

    def watch(
        self, *gpus: Settings, uuids: tuple[str, ...] = (FIRST,), patience: float = 20.0, **whole: Any
    ) -> Sampler:
        variables = self._environment(machine(gpus, live=1, **whole))
        self._file = Path(variables["FAKE_GPU_FILE"])
        self.samplers.append(start_sampler(uuids, variables, interval=INTERVAL, patience=patience))
        return self.samplers[-1]

    def becomes(self, *gpus: Settings) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(machine(gpus, live=1))
        new.replace(self._file)


@pytest.fixture
def sick(environment: Environment) -> Iterator[Machine]:
    machine = Machine(environment)
    yield machine
    for sampler in machine.samplers:
        stop_sampler(sampler)


def wait_until(sampler: Sampler, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert sampler.speaker is not None, sampler.failure
        assert time.monotonic() < until
        listen([sampler.speaker], 0.05)
        sampler.take_in()


def test_readings_and_counters_of_two_gpus_before_meanwhile_and_after(sick: Machine) -> None:
    began = time.monotonic()
    sampler = sick.watch(watched(0), watched(1, temperature=40), uuids=(FIRST, SECOND))
    wait_until(sampler, lambda: all(len(samples) >= 2 for samples in sampler.samples.values()))
    busy = watched(0, sm_clock=1200, power=399000, temperature=81, utilisation=100, clocks_event_reasons=0x44)
    sick.becomes(busy | {"pcie_replays": 9, "ecc_uncorrected_volatile": 1, "remapped_rows": "0 2 1 0"}, watched(1))
    wait_until(sampler, lambda: sampler.samples[FIRST][-1].sm_mhz == 1200)
    stop_sampler(sampler)
    assert (sampler.failure, sampler.errors, sampler.speaker) == ("", {}, None)
    first, last = sampler.samples[FIRST][0], sampler.samples[FIRST][-1]
    assert first[1:] == (FIRST, 1410, 1593, 62.5, 34, 0, 1)
    assert last[1:] == (FIRST, 1200, 1593, 399.0, 81, 100, 0x44)
    assert began < first.at < last.at < time.monotonic()
    assert sampler.samples[SECOND][0].temperature_c == 40
    assert sampler.before[FIRST] == Counters(
        FIRST,
        ecc_uncorrected=0,
        ecc_corrected=2,
        remapped_rows=1,
        pcie_replays=3,
        nvlink_errors=15,
        xids=None,
        processes=0,
        power_limit_w=400.0,
        pcie_generation=4,
        pcie_generation_max=4,
        pcie_width=16,
        pcie_width_max=16,
        max_sm_mhz=1410,
        total_memory_bytes=81920 << 20,
        free_memory_bytes=(81920 - 640 - 1024) << 20,
    )
    after = sampler.after[FIRST]
    assert (after.pcie_replays, after.ecc_uncorrected, after.remapped_rows) == (9, 1, 2)
    assert sampler.after.keys() == {FIRST, SECOND}


def test_what_a_gpu_does_not_have_is_none_and_no_error(sick: Machine) -> None:
    sampler = sick.watch({"name": "NVIDIA GeForce GTX 750", "uuid": FIRST})
    wait_until(sampler, lambda: bool(sampler.samples[FIRST]))
    stop_sampler(sampler)
    assert sampler.samples[FIRST][0][1:] == (FIRST, None, None, None, None, None, None)
    assert sampler.before[FIRST] == Counters(FIRST)
    assert (sampler.errors, sampler.failure) == ({}, "")


def test_a_gpu_that_is_lost_meanwhile_is_told_once_and_the_other_is_watched_on(sick: Machine) -> None:
    sampler = sick.watch(watched(0), watched(1), uuids=(FIRST, SECOND))
    wait_until(sampler, lambda: bool(sampler.samples[SECOND]))
    sick.becomes(watched(0, every="!15"), watched(1, temperature=50))
    wait_until(sampler, lambda: sampler.samples[SECOND][-1].temperature_c == 50)
    stop_sampler(sampler)
    assert sampler.errors == {FIRST: ["GPU is lost"]}
    assert sampler.failure == ""


def test_nvml_that_cannot_start_is_a_sentence(sick: Machine) -> None:
    sampler = sick.watch(watched(0), nvmlInit=18)
    first_look(sampler)
    assert sampler.failure == "NVML cannot be started: Driver/library version mismatch"
    assert sampler.samples == {FIRST: []}


def test_a_gpu_that_nvml_does_not_know(sick: Machine) -> None:
    sampler = sick.watch(watched(0), uuids=("GPU-none",))
    first_look(sampler)
    assert sampler.failure == "NVML can watch none of these GPUs"
    assert sampler.errors["GPU-none"]


def test_a_mig_instance_is_watched_by_its_own_uuid(sick: Machine) -> None:
    sampler = sick.watch(watched(0, mig_uuid="MIG-1"), uuids=("MIG-1",))
    wait_until(sampler, lambda: bool(sampler.samples["MIG-1"]))
    assert sampler.samples["MIG-1"][0].sm_mhz == 1410
    assert sampler.before["MIG-1"].free_memory_bytes


@pytest.mark.parametrize(
    ("when", "whole", "change", "said"),
    [
        ("at once", {"nvmlInit": "hang-ignoring-sigterm"}, {}, "NVML did not answer for 0 s"),
        ("at once", {"nvmlInit": "segfault"}, {}, "the child that asks NVML gave up: ended by signal SIGSEGV"),
        ("meanwhile", {}, {"power": "hang"}, "NVML did not answer for 0 s"),
        ("meanwhile", {}, {"power": "segfault"}, "the child that asks NVML gave up: ended by signal SIGSEGV"),
    ],
)
def test_the_run_goes_on_when_nvml_hangs_or_crashes(
    sick: Machine, when: str, whole: Settings, change: Settings, said: str
) -> None:
    sampler = sick.watch(watched(0), **whole)
    if when == "meanwhile":
        wait_until(sampler, lambda: len(sampler.samples[FIRST]) >= 2)
    sampler.patience = 0.3
    code = """if True:
        import time
        print('{"kind": "began", "phase": "training"}', flush=True)
        time.sleep(0.7)
        print('{"kind": "finished"}', flush=True)
    """
    worker = Worker(
        "GPU 0", [sys.executable, "-I", "-S", "-c", code], os.environ, Job("toy", (), Level.QUICK, 0), 20, FIRST
    )
    seen: list[Moment] = []

    def watch(moments: tuple[Moment, ...]) -> None:
        seen.extend(moments)
        if change and len(seen) == 1:
            sick.becomes(watched(0, **change))

    assert run_children([worker], sampler=sampler, watch=watch)["GPU 0"].failure == ""
    assert sampler.failure == said
    assert sampler.speaker is None
    assert any(moment.sample for moment in seen) == (when == "meanwhile")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('rubbish', flush=True); time.sleep(60)", "said what is no sample: 'rubbish'"),
        ('print(\'{"sample": {"uuid": "other"}}\', flush=True); time.sleep(60)', "said what is no sample"),
        ("print('{}', flush=True); time.sleep(60)", "said what is no sample: '{}'"),
        ("sys.exit('no module named pynvml')", "ended with exit code 1: no module named pynvml"),
    ],
)
def test_a_child_that_talks_rubbish_or_cannot_start_is_given_up(code: str, said: str) -> None:
    argv = [sys.executable, "-I", "-S", "-c", f"import sys, time; {code}"]
    sampler = start_sampler([FIRST], argv=argv)
    first_look(sampler)
    assert said in sampler.failure
    assert sampler.speaker is None


def test_a_child_that_will_not_end_is_ended() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); time.sleep(60)"
    sampler = start_sampler([FIRST], argv=[sys.executable, "-I", "-S", "-c", code], patience=0.3)
    stop_sampler(sampler)
    assert sampler.failure
    assert sampler.speaker is None


@pytest.mark.parametrize(
    ("utilisation", "busy"), [(0, ""), (5, ""), (6, "it was at 6 % of utilisation before the run")]
)
def test_a_gpu_that_somebody_computes_on_is_busy(sick: Machine, utilisation: int, busy: str) -> None:
    sampler = sick.watch(watched(0, utilisation=utilisation))
    first_look(sampler, 0.2)
    assert busy_reason(sampler.before[FIRST], sampler.samples[FIRST]) == busy


def test_the_load_that_a_driver_reports_when_it_is_woken_is_not_taken_for_work(sick: Machine) -> None:
    sampler = sick.watch(watched(0, utilisation=99))
    wait_until(sampler, lambda: bool(sampler.samples[FIRST]))
    sick.becomes(watched(0))
    first_look(sampler, 5.0)
    assert busy_reason(sampler.before[FIRST], sampler.samples[FIRST]) == ""


@pytest.mark.parametrize(
    ("counters", "busy"),
    [
        (None, ""),
        (Counters(FIRST, processes=0, free_memory_bytes=1 << 30), ""),
        (Counters(FIRST, processes=1), "1 other process computes on it"),
        (Counters(FIRST, processes=2), "2 other processes compute on it"),
        (Counters(FIRST, free_memory_bytes=(1 << 30) - 1), "only 1023 MiB of its memory are free"),
    ],
)
def test_processes_and_full_memory_make_a_gpu_busy(counters: Counters | None, busy: str) -> None:
    assert busy_reason(counters, []) == busy


def test_processes_that_compute_are_counted(sick: Machine) -> None:
    sampler = sick.watch(watched(0, processes=2))
    wait_until(sampler, lambda: bool(sampler.before))
    assert sampler.before[FIRST].processes == 2


def test_a_summary_counts_only_what_was_sampled_between_two_moments() -> None:
    samples = [
        Sample(1.0, FIRST, 345, 405, 60.0, 30, 0, 1),
        Sample(2.0, FIRST, 1980, 2619, 500.0, 60, 100, 0x4),
        Sample(3.0, FIRST, 1905, 2619, None, 66, 100, 0x44 | 1 << 40),
        Sample(4.0, FIRST, None, 2619, 700.0, 70, 100, None),
        Sample(5.0, FIRST, 345, 405, 60.0, 30, 0, 1),
    ]
    summary = summarise(samples, 2.0, 4.0)
    assert summary["samples"] == 3
    assert summary["sm_mhz"] == {"min": 1905, "median": 1942.5, "max": 1980}
    assert summary["power_w"] == {"min": 500.0, "median": 600.0, "max": 700.0}
    assert summary["temperature_c"] == {"min": 60, "median": 66, "max": 70}
    assert summary["reasons"] == {
        "software power cap": 1.0,
        "hardware thermal slowdown": 0.5,
        "reason 0x10000000000": 0.5,
    }


def test_a_summary_of_nothing_says_nothing() -> None:
    assert summarise([], 0.0, 1.0) == {
        "samples": 0,
        **dict.fromkeys(("sm_mhz", "memory_mhz", "power_w", "temperature_c", "utilisation", "reasons")),
    }


LOG = """[ 1.0] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.10
[ 2.0] NVRM: Xid (PCI:0000:07:00): 31, pid=1234, name=python, Ch 00000008
[ 3.0] NVRM: Xid (PCI:0000:0A:00): 79, GPU has fallen off the bus.
[ 4.0] NVRM: Xid (PCI:0000:07:00): 13, Graphics Exception
[ 5.0] NVRM: Xid (PCI:0007:00): 8, an old driver's way
[ 6.0] NVRM: Xid (PCI:0000:0C:00 GPU-I:05): 94, pid=7194, Contained: SM (0x1)
[ 7.0] NVRM: Xid (0000:0c:00): 14, an older driver's way
[ 8.0] nvidia-nvswitch0: SXid (PCI:0000:0d:00.0): 20034, Fatal, Link 30 LTSSM Fault Up
[ 9.0] NVRM: Xid (PCI:0000:0d:00): what has no number is none
"""


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("0000:07:00.0", 3),
        ("0000:0a:00.0", 1),
        ("0000:0b:00.0", 0),
        ("0001:07:00.0", 1),
        ("0000:0C:00.0", 2),
        ("0000:0d:00.0", 0),
    ],
)
def test_xids_are_counted_for_each_gpu(tmp_path: Path, address: str, number: int) -> None:
    commands = {("dmesg",): Completed(("dmesg",), 0, LOG, "")}
    (tmp_path / "etc").mkdir()
    assert count_xids(MachineTree(str(tmp_path), commands=commands), address) == number


def test_xids_of_a_log_that_nobody_may_read_are_unknown(tmp_path: Path) -> None:
    commands = {("dmesg",): Completed(("dmesg",), 1, "", "dmesg: read kernel buffer failed: Operation not permitted")}
    (tmp_path / "etc").mkdir()
    assert count_xids(MachineTree(str(tmp_path), commands=commands), "0000:07:00.0") is None
