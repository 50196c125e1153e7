"""The benchmark with PyTorch: what its child is given, what it says where it cannot run, and what a real one computes.

The slow tests install PyTorch for the CPU, which shares no code with our nodes: that both agree proves both.
"""

import ctypes
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest

from gpudoctor.bench.datasets.digits import digits_split
from gpudoctor.bench.devices.device import CannotRun
from gpudoctor.bench.devices.precision import precisions_of
from gpudoctor.bench.job import LEFT_OUT, Event, Job, Level, Phase
from gpudoctor.bench.judge import Observed, conclude_device, judge_device
from gpudoctor.bench.measuring.materials import numerics_materials, reference_run
from gpudoctor.bench.measuring.timing import Protocol
from gpudoctor.bench.measuring.timing import time_calls as our_time_calls
from gpudoctor.bench.nodes import Dropout
from gpudoctor.bench.planning.plan import benchmark_batch
from gpudoctor.bench.pytorch import backend as torch_backend
from gpudoctor.bench.pytorch import child as torch_child
from gpudoctor.bench.pytorch import memory as torch_memory
from gpudoctor.bench.pytorch import rates as torch_rates
from gpudoctor.bench.pytorch import timing as torch_timing
from gpudoctor.bench.pytorch.backend import layers_of, materials_file, python_with_torch, torch_launch
from gpudoctor.bench.pytorch.device import DoesNotTrain, TorchDevice, open_torch, uuid_of
from gpudoctor.bench.pytorch.device import precisions_of as precisions_in_words
from gpudoctor.bench.pytorch.learning import largest
from gpudoctor.bench.result import Status
from gpudoctor.bench.running.children import Heard
from gpudoctor.bench.words import mebibytes
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.knowledge import load_table
from gpudoctor.python.installers import index_of

TORCH = "2.13.0+cpu"
JOB = Job("torch", (Phase.NUMERICS, Phase.TRAINING, Phase.REPLAY, Phase.THROUGHPUT), Level.DEFAULT, seed=0)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")


def heard_from(python, materials, *, job=JOB, on_gpu=False, before="", cwd=None, environment=()):
    """What the child says; `before`: Python text that it runs first."""
    launch = torch_launch(str(python), str(materials), on_gpu=on_gpu)
    interpreter, flag, code, *rest = launch.argv
    done = subprocess.run(
        [interpreter, flag, before + code, *rest],
        input=job.to_json() + "\n",
        env={**launch.environment, **dict(environment)},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Heard(tuple(Event.from_json(line) for line in done.stdout.splitlines()), "", done.stderr)


def judged(heard, job=JOB):
    return {phase.name: phase for phase in judge_device(job, heard, Observed()).phases}


def arrays_like_torch():
    """As much of PyTorch as reading the materials takes."""
    return SimpleNamespace(
        float32="float32",
        float64="float64",
        int64="int64",
        frombuffer=lambda content, dtype, count, offset: numpy.frombuffer(content, dtype, count, offset),
    )


def test_the_child_reads_the_materials_that_were_written(monkeypatch):
    losses, gradient = numpy.array([2.5, 1 / 3]), numpy.array([1 / 7, -1e-300, 0.0])
    monkeypatch.setattr(torch_backend, "reference_run", lambda materials: (losses, gradient))
    job = JOB._replace(phases=(Phase.NUMERICS, Phase.TRAINING))
    with materials_file(job) as path:
        assert os.stat(path).st_mode & 0o777 == 0o644  # somebody else's Python reads it
        tasks = torch_child.read_materials(arrays_like_torch(), path)
    assert not os.path.exists(path)
    assert set(tasks) == {"numerics", "training"}
    materials = numerics_materials(job.seed)
    numerics = tasks["numerics"]
    assert numerics["losses"] == losses.tolist()
    assert numpy.array_equal(numerics["gradient"], gradient)
    assert numpy.array_equal(numerics["images"], numpy.concatenate(materials.images))
    assert numpy.array_equal(numerics["labels"], numpy.concatenate(materials.labels))
    parameters = [one for own in materials.parameters for one in own]
    # float32 holds them exactly: what starts from these starts where the reference did.
    assert all(numpy.array_equal(*pair) for pair in zip(numerics["parameters"], parameters, strict=True))
    assert numpy.array_equal(tasks["training"]["test_images"], digits_split(job.seed)[1].images)


def test_the_loss_of_the_reference_falls_enough_to_be_called_learning():
    losses, _ = reference_run(numerics_materials(5))
    assert losses[-5:].mean() < 0.75 * losses[0]


def test_a_node_that_the_child_does_not_know_is_refused():
    with pytest.raises(ValueError, match="Dropout"):
        layers_of((Dropout(0.5),))


FAULTS = {
    "raise ModuleNotFoundError('x', name='torch')": "PyTorch is not installed for {python}.",
    "import nowhere_to_be_found": "PyTorch of {python} needs a module that is missing: nowhere_to_be_found.",
    "raise ImportError('libcudnn.so.9: cannot open')": "cannot be imported: ImportError: libcudnn.so.9: cannot open",
    "raise SystemExit('no licence')": "cannot be imported: SystemExit: no licence",
    "": "What {python} imports as torch is not PyTorch.",
    "__version__ = '1.12.1+cu113'": "PyTorch 1.12.1+cu113 is too old for this benchmark: 1.13 or later is needed.",
    "__version__ = '2.9.0'\nclass version: cuda = None": "PyTorch 2.9.0 of {python} is not built for CUDA.",
    "__version__ = '2.9.0'\nclass version: cuda = '12.8'\nclass cuda:\n  def init(): raise RuntimeError('No GPUs')": (
        "PyTorch finds no GPU that works: RuntimeError: No GPUs"
    ),
}


@pytest.mark.parametrize("body", FAULTS)
def test_what_is_missing_is_said_in_a_sentence_and_is_never_green(tmp_path, body):
    (tmp_path / "torch.py").write_text(body, encoding="utf-8")
    heard = heard_from(sys.executable, "no file", on_gpu=True, environment={"PYTHONPATH": str(tmp_path)}.items())
    assert [event.kind for event in heard.events] == ["opened", *["ended"] * len(JOB.phases), "finished"]
    assert FAULTS[body].format(python=sys.executable) in heard.events[0].reason
    device = judge_device(JOB, heard, Observed())
    conclude_device(device, JOB, heard)
    assert device.status is Status.SKIPPED
    assert device.reason == heard.events[0].reason


def test_nothing_is_imported_from_the_folder_in_which_it_runs(tmp_path):
    for name in ("json", "torch", "ctypes"):
        (tmp_path / f"{name}.py").write_text("open('taken', 'w').close()", encoding="utf-8")
    heard_from(sys.executable, "no file", cwd=tmp_path, environment=[("PYTHONPATH", "/nowhere")])
    assert not (tmp_path / "taken").exists()


def test_a_python_that_is_gone_is_said_in_a_sentence(tmp_path):
    with pytest.raises(CannotRun, match=r"bin/python cannot be run: No such file"):
        torch_launch(str(tmp_path / "bin/python"), "materials")


@root_only
def test_root_runs_it_as_the_owner_and_keeps_secrets_to_itself(tmp_path, monkeypatch):
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    for place in (python, python.parent, python.parent.parent):
        os.chown(place, 65534, 65534)
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cuda")
    launch = torch_launch(str(python), "materials")
    assert launch.account is not None
    assert launch.account.user == 65534
    assert "SECRET_TOKEN" not in launch.environment
    assert launch.environment["LD_LIBRARY_PATH"] == "/opt/cuda"
    os.chown(python.parent, 1, 1)
    with pytest.raises(CannotRun, match="root does not run it"):
        torch_launch(str(python), "materials")


def environment(prefix, *distributions):
    installed = tuple(
        Distribution(name, "1.0", (), f"{prefix}/{name}", f"{prefix}/lib", "pip") for name in distributions
    )
    rest = ("3.11", "venv", ("PATH",), True, (), installed, (), 1, (), False, "", "", "", 0, "x86_64")
    return PythonEnvironment(prefix, f"{prefix}/bin/python", *rest)


def test_the_first_environment_with_torch_is_taken():
    found = PythonEnvironments(
        (environment("/a", "cupy-cuda12x"), environment("/b", "torch"), environment("/c", "torch"))
    )
    assert python_with_torch(found) == "/b/bin/python"
    with pytest.raises(CannotRun, match="No Python environment with PyTorch was found"):
        python_with_torch(PythonEnvironments(found.environments[:1]))
    named = found.environments[0]._replace(found_by=("--python",))
    with pytest.raises(CannotRun, match=r"^/a has no PyTorch\.$"):
        python_with_torch(PythonEnvironments((named,)))


class TensorLikeTorch(numpy.ndarray):
    """A matrix with the methods that the first product uses."""

    device = SimpleNamespace(type="cuda", index=0)

    def t(self):
        return self.T

    def to(self, *where):
        return self

    def cpu(self):
        return self

    def double(self):
        return self.view(numpy.ndarray).astype("float64")


class Gpu:
    """torch.cuda, torch.version and libcuda of a machine with one GPU."""

    def __init__(self, *, wrong=False, error=None):
        def product(left, right):
            if error:
                raise error
            result = numpy.matmul(left.view(numpy.ndarray), right.view(numpy.ndarray)) + wrong
            return result.view(TensorLikeTorch)

        TensorLikeTorch.__matmul__ = product
        properties = SimpleNamespace(
            name="NVIDIA H100", major=9, minor=0, total_memory=80 << 30, multi_processor_count=132
        )
        self.torch = SimpleNamespace(
            __version__="2.9.1+cu128",
            version=SimpleNamespace(cuda="12.8"),
            backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91002)),
            cuda=SimpleNamespace(init=int, device_count=lambda: 1, get_device_properties=lambda index: properties),
            device=lambda kind, index: SimpleNamespace(type=kind, index=index),
            float32=None,
            arange=lambda count: numpy.arange(count, dtype="float64").view(TensorLikeTorch),
            equal=numpy.array_equal,
        )

    def cuDeviceGet(self, device, ordinal):
        return 0

    def cuDeviceGetUuid(self, uuid, device):
        uuid[:] = bytes(range(16))
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):
        told = {13: 1980000, 33: 7, 34: 0, 50: 0, 36: 2619000, 37: 5120, 38: 50 << 20}
        if attribute not in told:
            return 1
        value._obj.value = told[attribute]
        return 0

    def cuDriverGetVersion(self, value):
        value._obj.value = 13010
        return 0


def open_on(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", gpu.torch)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: gpu)
    return open_torch("cuda")


def test_a_gpu_is_described_in_the_same_words_whichever_version_of_torch_it_is(monkeypatch):
    device = open_on(Gpu(), monkeypatch)
    assert device.text == "NVIDIA H100 (GPU 0, 80 GiB, compute capability 9.0)"
    assert device.precisions == ("fp32", "tf32", "fp16", "bf16")
    assert device.traits["uuid"] == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert device.traits["pci_address"] == "0000:07:00.0"
    assert (device.traits["sm_count"], device.traits["boost_khz"], device.traits["l2_bytes"]) == (
        132,
        1980000,
        50 << 20,
    )
    assert device.versions["cuda_driver"] == "13.1"
    assert device.versions["torch_cuda"] == "12.8"
    assert device.versions["cudnn"] == "9.10.2"


def test_a_gpu_whose_first_product_is_wrong_does_not_train(monkeypatch):
    with pytest.raises(DoesNotTrain, match="computes wrongly"):
        open_on(Gpu(wrong=True), monkeypatch)


def test_a_gpu_that_this_torch_is_not_built_for_is_no_failure_of_the_gpu(monkeypatch):
    error = RuntimeError("CUDA error: no kernel image is available for execution on the device")
    with pytest.raises(Exception, match="could not multiply there: RuntimeError: CUDA error: no kernel") as raised:
        open_on(Gpu(error=error), monkeypatch)
    assert type(raised.value).__name__ == "CannotRun"


def test_the_uuid_of_a_slice_is_the_name_that_it_was_given_by():
    assert uuid_of(bytes(16), "MIG-5a") == "MIG-5a"
    assert uuid_of(b"", "GPU-5a") == "GPU-5a"
    assert uuid_of(b"", "0") == ""


# The child cannot import our rules, so it has them a second time: these hold the two together.


def test_both_write_sizes_in_the_same_words():
    for count in (1 << 14, 16 << 20, 1 << 30, 143_771 << 20):
        assert torch_memory.mib(count) == mebibytes(count)
    assert mebibytes(1 << 30) == "1,024 MiB"  # what saved results have


def test_both_know_the_same_precisions():
    small = load_table("gpu_peaks")["without_tensor_cores"]
    for capability in itertools.product(range(5, 13), range(10)):
        for name in (*(f"NVIDIA {name} SUPER" for name in small), "NVIDIA T4", "NVIDIA A100"):
            ours = tuple(precision.value for precision in precisions_of(capability, name))
            assert precisions_in_words(capability, name) == ours


def with_free_memory(free):
    cuda = SimpleNamespace(empty_cache=int, mem_get_info=lambda: (free, 80 << 30))
    return TorchDevice(SimpleNamespace(cuda=cuda), None, "GPU 0", "", {"l2_bytes": 0}, {}, ())


def test_both_take_the_same_batch():
    for free, image in itertools.product((2 << 30, 8 << 30, 80 << 30), (100_000, 1_000_000, 7_654_321)):
        ours = benchmark_batch(image, free)
        if ours:
            assert torch_memory.batch_that_fits(with_free_memory(free), image, {"images": 4096}) == ours
        else:
            with pytest.raises(MemoryError, match="too little for a batch"):
                torch_memory.batch_that_fits(with_free_memory(free), image, {"images": 4096})


def test_both_time_alike():
    def clock(work, calls):  # of a GPU that gets faster: the first groups would be too short
        clock.calls += calls
        return calls * (1e-3 if clock.calls < 40 else 2e-4)

    protocol = Protocol(0.0, 5, 0.02)
    timings = []
    for time_calls, how in ((our_time_calls, protocol), (torch_timing.time_calls, protocol._asdict())):
        clock.calls = 0
        timings.append((time_calls(clock, int, how), clock.calls))
    (ours, our_calls), (theirs, their_calls) = timings
    assert (theirs.median, theirs.best, theirs.worst) == (ours.median, ours.best, ours.worst)
    assert their_calls == our_calls


@pytest.mark.parametrize("told", [math.nan, math.inf, -1.0])
def test_a_clock_that_tells_no_time_is_a_failure(told):
    with pytest.raises(DoesNotTrain, match="clock"):
        torch_timing.time_calls(lambda work, calls: told, int, {"warm_up": 0.0, "groups": 2, "group": 0.01})


def test_out_of_memory_halves_the_batch_twice_and_says_so():
    tried, said = [], []

    def work(count):
        tried.append(count)
        if count > limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return {"batch": count}

    limit = 256
    assert torch_memory.halving(with_free_memory(0), 1024, work, said.append) == {"batch": 256}
    assert tried == [1024, 512, 256]
    assert said == ["out of memory with 1,024 images: trying 512", "out of memory with 512 images: trying 256"]
    limit = 100
    with pytest.raises(RuntimeError, match="out of memory"):
        torch_memory.halving(with_free_memory(0), 1024, work, said.append)
    assert tried[3:] == [1024, 512, 256]


def rates_told(monkeypatch, refused):
    """What the throughput phase measures and says where these convolutions and trainings end in an error."""

    def measure(what):
        def measured(device, precision, rates, task, say):
            if (what, precision) in refused:
                raise refused[what, precision]
            return {"what": what, "precision": precision}

        return measured

    for what in ("convolution", "training"):
        monkeypatch.setattr(torch_rates, what, measure(what))
    monkeypatch.setattr(torch_rates, "_product", lambda device, precision, task, say: {"what": "product"})
    monkeypatch.setattr(torch_rates, "_copy", lambda device, task, say: {"what": "copy"})
    monkeypatch.setattr(torch_rates, "_link", lambda device, task, say: [])
    said = []
    task = {"busy": False, "in_short": False, "product": 1024, "copied": 1 << 20, "sent": 1 << 20}
    device = with_free_memory(8 << 30)._replace(precisions=("fp32", "fp16"))
    rates = torch_rates.measure_throughput(device, task, said.append)
    return [(rate["what"], rate["precision"]) for rate in rates if "precision" in rate], said


def test_a_rate_that_memory_does_not_suffice_for_is_left_out_and_the_others_stay(monkeypatch):
    refused = {
        ("convolution", "fp32"): MemoryError("600 MiB of memory are free, too little for a batch worth timing"),
        ("training", "fp16"): RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    }
    rates, said = rates_told(monkeypatch, refused)
    assert rates == [("convolution", "fp16"), ("training", "fp32")]
    assert said == [
        f"{LEFT_OUT}convolution in fp32: not enough memory is free "
        "(MemoryError: 600 MiB of memory are free, too little for a batch worth timing)",
        f"{LEFT_OUT}training in fp16: not enough memory is free "
        "(RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB)",
    ]


def test_what_fails_for_another_reason_than_memory_is_not_left_out(monkeypatch):
    with pytest.raises(RuntimeError, match="launch failure"):
        rates_told(monkeypatch, {("training", "fp32"): RuntimeError("CUDA error: unspecified launch failure")})


@pytest.mark.parametrize(
    ("error", "end", "reason", "lost"),
    [
        (RuntimeError("CUDA error: unspecified launch failure"), "failed", "in the middle of the run", True),
        (RuntimeError("CUDA out of memory."), "skipped", "Not enough memory is free", False),
        (RuntimeError("x does not have a deterministic implementation"), "skipped", "does not offer it", False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "failed", "in the middle of the run", True),
        (AttributeError("module 'torch' has no attribute 'autocast'"), "skipped", "does not fit this PyTorch", False),
        (torch_child.DoesNotTrain("The loss became nan."), "failed", "The loss became nan.", False),
    ],
)
def test_how_a_phase_ends(monkeypatch, error, end, reason, lost):
    def measure(device, task, say):
        raise error

    monkeypatch.setitem(torch_child.MEASURES, "numerics", measure)
    ended = torch_child.run_phase(with_free_memory(0), "numerics", {}, print)
    assert ended["end"] == end
    assert reason in ended["reason"]
    assert ended.get("data", {}).get("lost", False) is lost


def test_the_largest_of_numbers_with_a_nan_is_nan():
    assert math.isnan(largest([math.nan, 1.0]))
    assert math.isnan(largest([1.0, math.nan]))
    assert largest([1.0, 3.0, 2.0]) == 3.0


@pytest.fixture(scope="module")
def python_with_real_torch(tmp_path_factory):
    """A venv with PyTorch for the CPU and nothing else: no NumPy, no gpudoctor."""
    prefix = tmp_path_factory.mktemp("torch") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(prefix)], check=True)
    words = (f"torch=={TORCH}", "--extra-index-url", index_of(TORCH))
    python = prefix / "bin/python"
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install torch {TORCH} here: {done.stderr.strip().splitlines()[-1:]}")
    return python


@pytest.fixture(scope="module")
def materials():
    with materials_file(JOB, on_gpu=False) as path:
        yield Path(path)


@pytest.mark.slow
def test_a_real_torch_agrees_with_our_nodes_and_trains(python_with_real_torch, materials):
    heard = heard_from(python_with_real_torch, materials)
    phases = judged(heard)
    for name in ("numerics", "training", "replay"):
        assert phases[name].status is Status.PASSED, phases[name].reason
    curves = {curve["precision"]: curve for curve in phases["numerics"].numbers["curves"]}
    assert set(curves) == {"fp32", "fp16", "bf16"}
    # Ten times sharper than what a GPU is allowed.
    assert curves["fp32"]["loss_error"] < 1e-6
    assert curves["fp32"]["gradient_error"] < 1e-6
    assert phases["training"].numbers["accuracies"][-1] >= 0.97
    assert phases["replay"].numbers["replays"][0]["residual"] < 2e-7
    rates = {(rate["what"], rate["precision"]): rate for rate in phases["throughput"].numbers["rates"]}
    assert {"product", "copy", "to device", "to host", "convolution", "training"} == {what for what, _ in rates}
    assert rates["product", "fp32"]["error"] < 1e-5
    assert rates["convolution", "fp32"]["error"] < 1e-5
    assert all(rate["median"] > 0 for rate in rates.values())


WRAPPED = """
import torch
calls, whole = 0, torch.nn.functional.{what}
def broken(*words, **named):
    global calls
    calls += 1
    y = whole(*words, **named)
    {fault}
    return y
torch.nn.functional.{what} = broken
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "fault", "phase"),
    [
        ("conv2d", "y = y * 1.0001", "numerics"),
        ("linear", "y = y * (1 + 1e-4 * (torch.arange(y.shape[1]) == 3))", "numerics"),
        ("conv2d", "y = y * float('nan') if calls == 20 else y", "numerics"),
        ("silu", "y = y * 0", "numerics"),
        ("conv2d", "y = y + 1e-6 * (calls == 70)", "replay"),
        ("linear", "y = y * (1 + 1e-4 * (y.dtype == torch.float32) * (y.shape[0] == 32))", "replay"),
        ("max_pool2d", "y = y * 0", "training"),
    ],
)
def test_a_fault_of_a_real_torch_is_found(python_with_real_torch, materials, what, fault, phase):
    job = JOB._replace(phases=(Phase(phase),))
    before = WRAPPED.format(what=what, fault=fault)
    result = judged(heard_from(python_with_real_torch, materials, job=job, before=before), job)[phase]
    assert result.status is Status.FAILED, result.reason


@pytest.mark.slow
def test_a_training_for_which_a_real_torch_has_no_memory_is_left_out(python_with_real_torch, materials):
    job = JOB._replace(phases=(Phase.THROUGHPUT,))
    before = WRAPPED.format(what="max_pool2d", fault="raise RuntimeError('CUDA out of memory. 9 GiB')")
    result = judged(heard_from(python_with_real_torch, materials, job=job, before=before), job)["throughput"]
    whats = {rate["what"] for rate in result.numbers["rates"]}
    assert whats == {"product", "copy", "to device", "to host", "convolution"}
    assert result.numbers["left_out"][0].startswith("training in fp32: not enough memory is free")


@pytest.mark.slow
def test_without_a_driver_a_real_torch_is_skipped(python_with_real_torch, materials):
    heard = heard_from(python_with_real_torch, materials, on_gpu=True)
    assert "is not built for CUDA" in heard.events[0].reason
    assert json.loads(heard.events[0].to_json())["end"] == "skipped"
