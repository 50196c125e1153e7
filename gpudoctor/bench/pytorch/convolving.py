# ruff: noqa: UP006, UP035, UP045 (runs on the old Pythons of users' environments)
"""How fast PyTorch convolves and trains, with the user's own cuDNN."""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from gpudoctor.bench.pytorch.device import DoesNotTrain, Tensor, TorchDevice, compute_in, dtype_of
from gpudoctor.bench.pytorch.learning import Layer, Say, largest, run
from gpudoctor.bench.pytorch.memory import batch_that_fits, halving, noise
from gpudoctor.bench.pytorch.timing import Rate, clock_of, rate_of, time_calls

_MOST_CONVOLVED = 512  # images: half a million pixels fill every GPU, and cuDNN tries ten algorithms on them
_FEW = 32  # images, to see what memory each takes

# As measuring.workload: an array is written once and read twice; a step of momentum touches arrays of the
# parameters' size eleven times; parameters stay as they are; gradients as if the batch were of 32.
_TOUCHED = 3
_UPDATED = 11
_RATE, _MOMENTUM = 1e-9, 0.9
_SCALED_TO = 32


class Work(NamedTuple):
    """What one call does."""

    amount: float  # in the rate's unit times seconds
    flops: float
    moved: float  # bytes


def convolution(device: TorchDevice, precision: str, rates: List[Rate], task: Dict[str, Any], say: Say) -> Rate:
    """Forward and all of the way back, to the images and to the weights."""
    torch, channels, size = device.torch, task["channels"], task["size"]
    compute_in(device, precision, search=True)
    width = 2 if precision == "fp16" else 4

    def measured(batch: int) -> Rate:
        detail = f"batch {batch}, {size} x {size}, {channels} to {channels} channels, {_library(device)}"
        say(f"convolution in {precision} with PyTorch, {detail}")
        shape = (batch, size, size, channels)
        x = noise(device, shape, precision, task["seed"]).permute(0, 3, 1, 2).requires_grad_()
        dy = noise(device, shape, precision, task["seed"] + 1).permute(0, 3, 1, 2)
        weights = _weights(device, (channels, channels, 3, 3), precision, task["seed"] + 2).requires_grad_()
        bias = torch.zeros(channels, device=device.where, dtype=x.dtype, requires_grad=True)

        def there_and_back() -> Tuple[Tensor, ...]:
            y = torch.nn.functional.conv2d(x, weights, bias, 1, 1)
            return (y, *torch.autograd.grad(y, (x, weights, bias), dy))

        timing = time_calls(clock_of(device), there_and_back, task)
        y, dx, _, _ = there_and_back()
        error = _convolution_error(torch, x, dy, weights, y, dx)
        flops = 3 * 2.0 * batch * size**2 * 9 * channels**2
        work = Work(flops / 1e12, flops, _TOUCHED * 4.0 * batch * size**2 * channels * width)
        modelled = _modelled(work, precision, rates)
        return rate_of(timing, work.amount, "convolution", precision, detail, "TFLOPS", error=error, modelled=modelled)

    # Beside images, outputs and the gradients of both, cuDNN may ask for room of their size.
    batch = batch_that_fits(device, 6 * size**2 * channels * width, task)
    return halving(device, min(batch, _MOST_CONVOLVED), measured, say)


def _convolution_error(torch: Any, x: Tensor, dy: Tensor, weights: Tensor, y: Tensor, dx: Tensor) -> float:
    """Of the last image's output and gradient, against float64 on the CPU; relative (L2)."""
    wide = weights.detach().cpu().double()
    there = torch.nn.functional.conv2d(x.detach()[-1:].cpu().double(), wide, padding=1)
    back = torch.nn.functional.conv_transpose2d(dy[-1:].cpu().double(), wide, padding=1)
    found = (y.detach()[-1:].cpu().double(), there), (dx[-1:].cpu().double(), back)
    return largest([float((told - right).norm() / right.norm()) for told, right in found])


def training(device: TorchDevice, precision: str, rates: List[Rate], task: Dict[str, Any], say: Say) -> Rate:
    """Forward, backward and a step of momentum, everything stored in this precision."""
    compute_in(device, precision)  # not yet: what the search tries takes memory that the step itself does not

    def measured(batch: int) -> Rate:
        compute_in(device, precision, search=True)
        widths = ", ".join(str(width) for width in task["widths"])
        size = task["size"]
        detail = f"batch {batch}, {size} x {size}, twice {widths} channels, {_library(device)}"
        say(f"training in {precision} with PyTorch, {detail}")
        step, work = _training_step(device, precision, batch, task)
        timing = time_calls(clock_of(device), step, task)
        loss = float(step())
        if not math.isfinite(loss):
            raise DoesNotTrain(f"Training in {precision} gave the loss {loss} while it was timed.")
        modelled = _modelled(work, precision, rates)
        return rate_of(timing, batch, "training", precision, detail, "images/s", modelled=modelled)

    each = 1
    if device.traits is not None:
        device.torch.cuda.reset_peak_memory_stats()
        before = device.torch.cuda.memory_allocated()
        _training_step(device, precision, _FEW, task)[0]()
        each = (device.torch.cuda.max_memory_allocated() - before) // _FEW
    return halving(device, batch_that_fits(device, each, task), measured, say)


def _training_step(
    device: TorchDevice, precision: str, batch: int, task: Dict[str, Any]
) -> Tuple[Callable[[], Tensor], Work]:
    torch, layers, dtype = device.torch, task["layers"], dtype_of(device, precision)
    size, classes = task["size"], layers[-1][2]
    x = noise(device, (batch, size, size, layers[0][1]), precision, task["seed"]).permute(0, 3, 1, 2)
    labels = torch.randint(0, classes, (batch,), generator=torch.Generator().manual_seed(task["seed"]))
    labels = labels.to(device.where)
    parameters: List[Tensor] = []
    for kind, *numbers in layers:
        if kind in ("conv", "dense"):
            shape = (numbers[1], numbers[0], numbers[2], numbers[2]) if kind == "conv" else (numbers[1], numbers[0])
            parameters.append(_weights(device, shape, precision, task["seed"] + len(parameters)).requires_grad_())
            parameters.append(torch.zeros(numbers[1], device=device.where, dtype=dtype, requires_grad=True))
    optimizer = torch.optim.SGD(parameters, lr=_RATE, momentum=_MOMENTUM)
    scale = max(1.0, batch / _SCALED_TO)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(run(torch, layers, parameters, x).float(), labels)
        (loss * scale).backward()
        optimizer.step()
        return loss.detach()

    return step, _training_work(torch, layers, parameters, x)


def _training_work(torch: Any, layers: Sequence[Layer], parameters: List[Tensor], x: Tensor) -> Work:
    """Seen on one image: multiplications and additions of the products, and bytes of outputs and their gradients."""
    flops: List[float] = []
    values = [0.0]

    def seen(kind: str, given: Tensor, weights: Tensor, bias: Tensor, y: Tensor) -> None:
        flops.append(2.0 * y.numel() * weights.numel() / len(bias))
        values[0] += 2 * y.numel()  # what a rectifier makes of them is as large

    with torch.no_grad():
        run(torch, layers, parameters, x[:1], seen)
    batch, width = len(x), x.element_size()
    own = sum(parameter.numel() for parameter in parameters)
    moved = _TOUCHED * 2 * values[0] * batch * width + _UPDATED * own * width
    # There and twice back; the gradient of the images is left out.
    return Work(batch, batch * (3 * sum(flops) - flops[0]), moved)


def _modelled(work: Work, precision: str, rates: Sequence[Rate]) -> Optional[float]:
    """The rate that the products and the copies of this run would allow, one after the other."""
    product = next((one["median"] for one in rates if (one["what"], one["precision"]) == ("product", precision)), None)
    copy = next((one["median"] for one in rates if one["what"] == "copy"), None)
    if not product or not copy:
        return None
    return float(work.amount / (work.flops / (product * 1e12) + work.moved / (copy * 1e9)))


def _weights(device: TorchDevice, shape: Sequence[int], precision: str, seed: int) -> Tensor:
    """Of variance 2 / inputs, so that the values stay of one size from layer to layer."""
    weights = noise(device, shape, precision, seed)
    weights *= math.sqrt(2 / (weights.numel() / shape[0]))
    return weights.contiguous(memory_format=device.torch.channels_last) if len(shape) == 4 else weights


def _library(device: TorchDevice) -> str:
    cudnn = device.versions.get("cudnn")
    return f"cuDNN {cudnn}" if cudnn else "PyTorch"
