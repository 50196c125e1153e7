"""The phase between GPUs, on a stand-in for a machine with several: what arrives is compared, and the sum, too."""

import sys
from types import ModuleType

import numpy
import pytest

from gpudoctor.bench.devices.cupy_device import import_cupy, open_cupy
from gpudoctor.bench.devices.device import CannotRun, NumpyDevice
from gpudoctor.bench.job import Job, Level, Phase
from gpudoctor.bench.measuring import timing
from gpudoctor.bench.measuring.timing import Protocol
from gpudoctor.bench.phases import between_gpus
from gpudoctor.bench.result import Status
from gpudoctor.bench.verdicts.rates import judge_rates

SIZE = 5000


class Machine:
    """Some GPUs that share the stand-in's memory, and what is wrong between them."""

    def __init__(self, gpu, count, errors):
        self.gpu, self.count, self.errors = gpu, count, errors
        self.current, self.enabled, self.copies, self.entered = 0, set(), [], []
        self.apart = set()  # pairs without access to each other
        self.spoil = lambda source, target, arrived: None
        self.spoil_sum = lambda index, arrived: None

    def numbers_at(self, pointer, size):
        return self.gpu.memory_at(pointer, 4 * size).view("float32")

    def memcpyPeerAsync(self, dst, dst_device, src, src_device, size, stream):
        assert self.current == src_device
        self.gpu.memory_at(dst, size)[:] = self.gpu.memory_at(src, size)
        self.copies.append((src_device, dst_device))
        self.spoil(src_device, dst_device, self.gpu.memory_at(dst, size))

    def deviceCanAccessPeer(self, device, peer):
        return int(frozenset((device, peer)) not in self.apart)

    def deviceEnablePeerAccess(self, peer):
        pair = (self.current, peer)
        if pair in self.enabled:
            raise self.errors.CUDARuntimeError("cudaErrorPeerAccessAlreadyEnabled", 704)
        self.enabled.add(pair)

    def nccl(self):
        """A module cupy.cuda.nccl that adds up at the end of a group, as NCCL does."""
        machine, asked = self, []

        class NcclCommunicator:
            destroyed = 0

            def __init__(self, index):
                self.index = index

            @staticmethod
            def initAll(devices):
                return [NcclCommunicator(index) for index in devices]

            def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
                assert (datatype, op, machine.current) == (7, 0, self.index)
                asked.append((self.index, sendbuf, recvbuf, count))

            def destroy(self):
                NcclCommunicator.destroyed += 1

        def groupEnd():
            assert len(asked) == machine.count
            total = sum(machine.numbers_at(sent, count).copy() for _, sent, _, count in asked)
            for index, _, received, count in asked:
                machine.numbers_at(received, count)[:] = total
                machine.spoil_sum(index, machine.numbers_at(received, count))
            asked.clear()

        module = ModuleType("cupy.cuda.nccl")
        module.available, module.NCCL_FLOAT32, module.NCCL_SUM = True, 7, 0
        module.NcclCommunicator, module.groupStart, module.groupEnd = NcclCommunicator, lambda: None, groupEnd
        return module


@pytest.fixture
def machine(install_cupy, monkeypatch, errors_like_cupy):
    """machine(3) opens the first of three GPUs: (device, Machine)."""
    monkeypatch.setattr(between_gpus, "_COPIED", SIZE)
    monkeypatch.setattr(between_gpus, "Protocol", lambda *numbers: Protocol(0.0, 2, 0.0))

    def build(count, *, nccl=True):
        machine = Machine(install_cupy(), count, errors_like_cupy)

        class Context:
            def __init__(self, index):
                self.index = index

            def __enter__(self):
                self.before, machine.current = machine.current, self.index
                machine.entered.append(self.index)

            def __exit__(self, *error):
                machine.current = self.before

            def synchronize(self):
                pass

        class Stream:
            ptr = 5

            def __init__(self, *, non_blocking):
                assert non_blocking

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

        cuda = sys.modules["cupy"].cuda
        cuda.Device, cuda.Stream = Context, Stream
        cuda.runtime.getDeviceCount = lambda: count
        for name in ("memcpyPeerAsync", "deviceCanAccessPeer", "deviceEnablePeerAccess"):
            setattr(cuda.runtime, name, getattr(machine, name))
        module = machine.nccl()
        module.available = nccl
        monkeypatch.setitem(sys.modules, "cupy.cuda", ModuleType("cupy.cuda"))
        monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", module)
        machine.module = module
        return open_cupy(import_cupy()), machine

    return build


def measured(device, **kwargs):
    said = []
    job = Job("cupy", (Phase.BETWEEN_GPUS,), Level.DEFAULT, 0, **kwargs)
    return between_gpus.measure_between_gpus(device, job, said.append), said


def test_every_pair_and_the_sum_over_all_are_timed_and_right(machine):
    device, seen = machine(3)
    seen.apart = {frozenset((0, 2))}
    rates, _ = measured(device)
    assert [rate.what for rate in rates] == ["peer copy"] * 6 + ["all-reduce"]
    assert all(rate.error == 0.0 and rate.median > 0 and rate.unit == "GB/s" for rate in rates)
    assert set(seen.copies) == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}
    assert [("directly" in rate.detail) for rate in rates[:6]] == [True, False, True, True, False, True]
    assert seen.enabled == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert seen.module.NcclCommunicator.destroyed == 3
    assert judge_rates(rates, device.traits).status is not Status.FAILED


def test_the_rate_of_an_all_reduce_is_what_each_link_carries(machine, monkeypatch):
    device, _ = machine(4)
    monkeypatch.setattr(timing.statistics, "median", lambda groups: 1e-3)
    rates, _ = measured(device)
    assert rates[-1].median == pytest.approx(2 * 3 / 4 * SIZE * 4 / 1e9 / 1e-3)


@pytest.mark.parametrize("wrong", ["bit", "nothing", "stale"])
def test_a_copy_that_does_not_arrive_as_it_was_sent_is_wrong(machine, wrong):
    device, seen = machine(2)
    before = {}

    def spoil(source, target, arrived):
        if (source, target) != (1, 0):
            before["other"] = arrived.copy()
        elif wrong == "bit":
            arrived[4321] ^= 16
        elif wrong == "nothing":
            arrived[:] = 0xFF
        else:
            arrived[:] = before["other"]

    seen.spoil = spoil
    rates, _ = measured(device)
    assert rates[0].error == 0.0
    assert rates[1].error > 0
    assert "GPU 1 to GPU 0" in rates[1].detail
    judged = judge_rates(rates, device.traits)
    assert judged.status is Status.FAILED
    assert judged.judgements[0].id == "bench.numerics-wrong"


@pytest.mark.parametrize("value", [numpy.nan, 0.5])
def test_one_wrong_number_in_the_sum_of_one_gpu_is_wrong(machine, value):
    device, seen = machine(2)

    def spoil(index, arrived):
        if index == 1:
            arrived[77] = value

    seen.spoil_sum = spoil
    rates, _ = measured(device)
    assert rates[-1].error == pytest.approx(1 / (2 * SIZE))
    assert judge_rates(rates, device.traits).status is Status.FAILED


def test_without_nccl_the_copies_are_measured_and_the_sum_is_said_to_be_missing(machine):
    device, _ = machine(2, nccl=False)
    rates, said = measured(device)
    assert [rate.what for rate in rates] == ["peer copy"] * 2
    assert any("NCCL is not installed" in line for line in said)


def test_one_gpu_has_no_other_to_be_measured_with(machine):
    device, _ = machine(1)
    for one in (device, NumpyDevice()):
        with pytest.raises(CannotRun, match="one GPU"):
            measured(one)


def test_nothing_is_timed_beside_somebody_else(machine):
    device, seen = machine(2)
    assert measured(device, busy=True)[0] == []
    assert seen.copies == []


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 16])
def test_every_gpu_sends_and_receives_and_large_machines_are_done_in_bounded_time(count):
    pairs = between_gpus.pairs_of(count)
    assert {source for source, _ in pairs} == {target for _, target in pairs} == set(range(count))
    assert all(source != target for source, target in pairs)
    assert len(pairs) == len(set(pairs)) <= max(12, 2 * count)
