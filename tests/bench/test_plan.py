"""Plans of nets, against published figures and against the memory that our own nets take, and their command."""

import json
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
from live_machines import debian
from probe_children import run_python

from gpudoctor.bench.devices.device import WithProduct
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.net import backward, forward, initial_parameters, momentum_step, zeros_like
from gpudoctor.bench.nodes import SoftmaxCrossEntropy, convolution
from gpudoctor.bench.planning.architecture import net_of
from gpudoctor.bench.planning.layers import Shape
from gpudoctor.bench.planning.plan import RESERVE, Keeping, Plan, benchmark_batch, largest_batch, plan_of
from gpudoctor.bench.planning.presets import PRESETS, net_named
from gpudoctor.bench.planning.text import read_architecture
from gpudoctor.cli import BadUsage
from gpudoctor.cli.bench_plan import bench_plan, read_size
from gpudoctor.host import ProbeAnswer
from gpudoctor.machine import RootHost

GIB = 1 << 30


def preset(name: str) -> Plan:
    return plan_of(net_named(name).architecture)


def test_vgg16_has_its_published_parameters_and_arithmetic() -> None:
    plan = preset("vgg16")
    assert plan.total.parameters == 138_357_544
    assert plan.total.macs == 15_470_264_320
    learned = [layer.cost.parameters for layer in plan.layers if layer.cost.parameters]
    # Of the CS231n notes, which leave the biases out.
    weights = [1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 1_179_648, *[2_359_296] * 5]
    weights += [102_760_448, 16_777_216, 4_096_000]
    outputs = [64, 64, 128, 128, *[256] * 3, *[512] * 6, 4096, 4096, 1000]
    assert learned == [own + biases for own, biases in zip(weights, outputs, strict=True)]


def test_vgg16_takes_the_memory_of_the_rows_of_cs231n_which_add_up_to_15_million_numbers() -> None:
    plan = preset("vgg16")
    rounded = [3.2e6, 3.2e6, 800e3, 1.6e6, 1.6e6, 400e3, *[800e3] * 3, 200e3, *[400e3] * 3, 100e3, *[100e3] * 3, 25e3]
    rows = [layer.cost.outputs for layer in plan.layers]
    assert rows[:-3] == pytest.approx(rounded, rel=0.01)
    assert rows[-3:] == [4096, 4096, 1000]
    assert plan.forward_numbers() == sum(rows) + 224 * 224 * 3 == 15_237_608
    assert plan.forward_bytes(Precision.FP32) == 4 * 15_237_608


def test_outputs_of_vgg16_with_activations_apart_are_those_that_torchsummary_counts() -> None:
    # "Forward/backward pass size (MB): 218.59", of every module's output and its gradient, in units of 2**20.
    with_dropout = PRESETS["vgg16"].text.replace("fc4096", "fc4096 dropout")
    total = plan_of(read_architecture(with_dropout)).total
    assert round(2 * 4 * (total.outputs + total.activated) / 2**20, 2) == 218.59


def test_lenet_has_its_published_layers() -> None:
    plan = preset("lenet")
    assert [layer.cost.parameters for layer in plan.layers] == [156, 0, 2416, 0, 48_120, 10_164, 850]
    assert [layer.output for layer in plan.layers[:5]] == [
        Shape(28, 28, 6),
        Shape(14, 14, 6),
        Shape(10, 10, 16),
        Shape(5, 5, 16),
        Shape(1, 1, 120),
    ]
    assert plan.total.parameters == 61_706


@pytest.mark.parametrize(
    ("name", "parameters", "gigamacs"),
    [("alexnet", 61_100_840, 0.714), ("resnet-like", 11_689_512 - 9_600 + 4_800, 1.814), ("resnet20-like", 0, 0.0408)],
)
def test_other_presets_have_the_published_figures(name: str, parameters: int, gigamacs: float) -> None:
    total = preset(name).total
    assert total.macs / 1e9 == pytest.approx(gigamacs, rel=2e-3)
    # ResNet-20: the paper says 0.27 M. ResNet-18 has two numbers for each of its 4800 channels where we have a bias.
    assert total.parameters == parameters or (not parameters and round(total.parameters / 1e6, 2) == 0.27)


def test_arithmetic_of_a_training_step_leaves_out_the_gradient_of_the_images() -> None:
    plan = plan_of(read_architecture("32x32x8: [conv64]*2 pool [conv128]*2 pool [conv256]*2 pool fc256 fc10"))
    assert plan.flop == pytest.approx(314e6, rel=0.002)
    first = 2 * 9 * 8 * 64 * 32 * 32
    assert plan.training_flop == 3 * plan.flop - first
    block = plan_of(read_architecture("8x8x4: res8/2 fc2"))
    assert block.first_macs == 4 * 4 * 8 * (9 * 4 + 4)


class AllPatchesAtOnce(WithProduct):
    """NumPy under another name: a convolution unfolds all images at once, as on a GPU, not a few for a CPU's cache."""

    __name__ = "not numpy"


@pytest.mark.parametrize(
    ("text", "batch"),
    [
        ("16x16x3: conv16 conv16 pool conv32 pool fc64 fc10", 16),
        ("16x16x3: conv16 silu conv16 silu avgpool dropout fc64 silu dropout fc10", 16),
        ("16x16x3: conv16 [res16]*2 res32/2 gap fc10", 8),
        ("32x32x3: conv5-32/2 pool3/2 fc10", 16),
        ("32x32x1: conv5-6p0 avgpool conv5-16p0 avgpool conv5-120p0 fc84 fc10", 16),
        ("1x1x784: fc1024 fc10", 64),
    ],
)
def test_a_step_of_our_own_nets_takes_the_memory_that_is_planned(
    text: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "KEPT_PATCHES", 0)  # those of a batch worth planning are too large to be kept
    architecture = read_architecture(text)
    net, plan = net_of(architecture), plan_of(architecture)
    rng = numpy.random.default_rng(0)
    labels = rng.integers(0, 10, batch)
    end = SoftmaxCrossEntropy()
    xp = AllPatchesAtOnce(numpy, numpy.matmul)
    tracemalloc.start()
    try:
        images = rng.standard_normal((batch, *architecture.image)).astype("float32")
        parameters = initial_parameters(net, numpy, rng, "float32")
        velocities = zeros_like(numpy, parameters)
        tracemalloc.reset_peak()
        went = forward(net, xp, images, parameters, step=0)
        _, kept = end.forward(xp, went.scores, labels)
        back = backward(net, xp, went, end.backward(xp, kept))
        momentum_step(parameters, velocities, back.parameters, rate=0.01, momentum=0.9)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.7 < peak / plan.batch_bytes(batch, Precision.FP32, Keeping.OWN_UNFOLDED) < 1.3


@pytest.mark.parametrize("precision", list(Precision))
def test_largest_batch_fits_and_one_more_does_not(precision: Precision) -> None:
    plan = preset("vgg16")
    batch = largest_batch(plan, 24 * GIB, precision)
    assert plan.batch_bytes(batch, precision) + RESERVE <= 24 * GIB < plan.batch_bytes(batch + 1, precision) + RESERVE
    assert largest_batch(plan, plan.batch_bytes(1, precision) + RESERVE, precision) == 1
    assert largest_batch(plan, plan.batch_bytes(1, precision) + RESERVE - 1, precision) == 0


def test_parameters_take_float32_beside_their_copy_in_16_bits() -> None:
    plan = preset("lenet")
    assert plan.fixed_bytes(Precision.FP32) == plan.fixed_bytes(Precision.TF32) == 12 * 61_706
    assert plan.fixed_bytes(Precision.BF16) == 14 * 61_706
    assert plan.fixed_bytes(Precision.FP64) == 24 * 61_706


def test_batch_of_the_benchmark_is_a_power_of_two_in_half_of_the_free_memory() -> None:
    image = 3 << 20
    assert benchmark_batch(image, 2 * (RESERVE + 100 * image)) == 64
    assert benchmark_batch(image, 2 * (RESERVE + 128 * image)) == 128
    assert benchmark_batch(image, 2 * (RESERVE + 32 * image)) == 32
    assert benchmark_batch(image, 2 * (RESERVE + 32 * image) - 2) == 0
    assert benchmark_batch(image, 1 << 30) == 0
    assert benchmark_batch(image, 1 << 50) == 4096


@pytest.mark.parametrize("name", PRESETS)
def test_text_has_a_line_for_each_layer_and_80_columns(name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert bench_plan(name, memory="24GiB", batch=100_000_000, precision="bf16") == 2
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert max(map(len, lines)) <= 80
    table = lines[lines.index("") + 3 :]
    assert [line.split()[0] for line in table[: len(preset(name).layers) + 1]] == [
        "images",
        *(layer.words.split()[0] for layer in preset(name).layers),
    ]


def test_text_of_vgg16_says_what_is_counted_and_why_it_is_not_93_mb(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert bench_plan("vgg16", memory="24GiB") == 0
    text = " ".join(capfdbinary.readouterr().out.decode().split())
    for words in (
        "Parameters 138,357,544",
        "15.5 GMAC",
        "61.0 MB forward (15,237,608 numbers in fp32), 136 MB with backward",
        "172 fit into the 24.0 GiB of --memory",
        "Counted: forward, the image and the output of every layer",
        "CS231n notes put the forward total at 24 M numbers, about 93 MB an image, but the rows",
    ):
        assert words in text


Printed = Callable[..., Any]


@pytest.fixture
def planned(tmp_path: Path) -> Printed:
    """planned(net, **options): the JSON that `bench plan` writes, and its exit code."""

    def run(net: str, **options: Any) -> Mapping[str, Any]:
        file = tmp_path / "plan.json"
        code = bench_plan(net, format="json", output=str(file), **options)
        document: Mapping[str, Any] = json.loads(file.read_text())
        assert document["exit_code"] == code
        return document

    return run


def test_json_has_the_plan_as_numbers(planned: Printed) -> None:
    document = planned("8x8: conv16 pool fc10", memory="4GiB", batch=64)
    assert (document["schema"], document["command"], document["preset"]) == (1, "bench plan", "")
    assert document["net"] == "8x8x1: conv16 pool fc10"
    assert document["layers"][0] == {
        "layer": "conv16",
        "output": [8, 8, 16],
        "parameters": 160,
        "macs": 9216,
        "forward_bytes": 4096,
        "training_bytes": 2 * 4096 + 1024,
    }
    assert document["parameters"] == 160 + 2570
    assert document["training_bytes"] == 256 + sum(layer["training_bytes"] for layer in document["layers"])
    assert document["batch_bytes"] == document["fixed_bytes"] + 64 * document["training_bytes"]
    assert document["fits"] is True
    assert document["memories"] == [
        {
            "gpu": "",
            "total_bytes": 4 * GIB,
            "free_bytes": 4 * GIB,
            "largest_batch": (4 * GIB - RESERVE - document["fixed_bytes"]) // document["training_bytes"],
        }
    ]


@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"precision": "fp16"}])
def test_memory_too_small_for_one_image_is_exit_code_2(planned: Printed, options: dict[str, Any]) -> None:
    document = planned("vgg16", memory="1.5GiB", **options)
    assert (document["exit_code"], document["fits"], document["memories"][0]["largest_batch"]) == (2, False, 0)


def test_batch_that_does_not_fit_is_exit_code_2(planned: Printed) -> None:
    most = planned("vgg16", memory="24GiB")["memories"][0]["largest_batch"]
    assert planned("vgg16", memory="24GiB", batch=most)["exit_code"] == 0
    assert planned("vgg16", memory="24GiB", batch=most + 1)["exit_code"] == 2


class Told(RootHost):
    """A driver whose NVML lists these GPUs, by total and free bytes; None: it does not tell."""

    def __init__(self, *gpus: tuple[int, int | None], code: int = 0) -> None:
        super().__init__("/")
        self.gpus, self.code = gpus, code

    def probe(self, names: Any) -> Mapping[str, ProbeAnswer]:
        gpus = [
            {
                "index": number,
                "return_code": 0,
                "name": "NVIDIA GeForce RTX 4090",
                "memory_total_bytes": total,
                "memory_free_bytes": free,
                "field_errors": {},
            }
            for number, (total, free) in enumerate(self.gpus)
        ]
        nvml = {"return_code": self.code, "return_name": "NVML_ERROR_X", "gpus": gpus, "field_errors": {}}
        return {name: ProbeAnswer(nvml if name == "nvml" else {}, "") for name in names}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """machine((total, free), ...): the GPUs of the machine on which `bench plan` runs."""

    def build(*gpus: tuple[int, int | None], code: int = 0) -> None:
        host = debian(tmp_path / "machine", gpus=len(gpus), probes=Told(*gpus, code=code))
        monkeypatch.setattr("gpudoctor.cli.bench_plan.open_host", lambda: host)

    return build


def test_free_memory_of_each_gpu_is_asked(machine: Callable[..., None], planned: Printed) -> None:
    machine((24 * GIB, 23 * GIB), (24 * GIB, 1 * GIB), (24 * GIB, None))
    document = planned("vgg16", batch=100)
    assert [memory["gpu"] for memory in document["memories"]] == [
        "NVIDIA GeForce RTX 4090 (GPU 0)",
        "NVIDIA GeForce RTX 4090 (GPU 1)",
    ]
    batches = [memory["largest_batch"] for memory in document["memories"]]
    assert batches == [largest_batch(preset("vgg16"), 23 * GIB, Precision.FP32), 0]
    assert (document["exit_code"], document["memory_unknown"]) == (0, "")  # it fits on one of them


def test_memory_that_is_named_goes_before_the_gpu(machine: Callable[..., None], planned: Printed) -> None:
    machine((24 * GIB, 23 * GIB))
    assert [memory["free_bytes"] for memory in planned("lenet", memory="8000MiB")["memories"]] == [8000 << 20]


@pytest.mark.parametrize(
    ("gpus", "code", "why"),
    [((), 0, "there is no GPU here"), (((GIB, None),), 0, "no GPU tells"), (((GIB, GIB),), 18, "NVML_ERROR_X")],
)
def test_memory_that_is_unknown_is_said_and_no_failure(
    machine: Callable[..., None], planned: Printed, gpus: tuple[Any, ...], code: int, why: str
) -> None:
    machine(*gpus, code=code)
    document = planned("lenet")
    assert (document["exit_code"], document["fits"], document["memories"]) == (0, None, [])
    assert why in document["memory_unknown"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GiB", 24 * GIB), ("24G", 24 * GIB), ("24 gb", 24 * 10**9), ("1.5GiB", 3 * GIB // 2), ("8000MiB", 8000 << 20)],
)
def test_sizes_of_memory_are_read(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory": "24"}, "--memory 24: no size of a memory; 24GiB would be one"),
        ({"memory": "-24GiB"}, "--memory -24GiB: no size"),
        ({"memory": "0GiB"}, "--memory 0GiB: no size"),
        ({"memory": "much"}, "--memory much: no size"),
        ({"batch": 0}, "--batch 0: a batch is one image or more"),
        ({"batch": -3}, "--batch -3: a batch is one image or more"),
        ({"precision": "fp8"}, "--precision fp8: none of fp64, fp32, tf32, fp16, bf16"),
        ({"image": "-1x3"}, "'-1x3' is no size of images"),
        ({"image": "8x8x3"}, "larger than the image"),
    ],
)
def test_bad_options_get_one_clear_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadUsage) as refused:
        bench_plan("vgg16", **{"memory": "24GiB", **options})
    assert said in str(refused.value)


def test_bad_net_is_bad_usage() -> None:
    with pytest.raises(BadUsage, match="is 'vgg16' meant"):
        bench_plan("vgg61", memory="24GiB")


def test_plan_is_made_without_numpy() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from gpudoctor.cli.bench_plan import bench_plan\n"
        "sys.exit(bench_plan('vgg16', memory='24GiB'))"
    )
    result = run_python(code)
    assert (result.returncode, result.stderr) == (0, "")
