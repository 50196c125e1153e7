# ruff: noqa: UP006, UP035, UP045 (runs on the old Pythons of users' environments)
"""How fast PyTorch multiplies, copies, convolves and trains, with the user's own cuBLAS and cuDNN."""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from gpudoctor.bench.pytorch.device import (
    DoesNotTrain,
    Tensor,
    TorchDevice,
    compute_in,
    dtype_of,
    free_bytes,
    is_out_of_memory,
)
from gpudoctor.bench.pytorch.learning import Layer, Say, largest, run
from gpudoctor.bench.pytorch.timing import Rate, clock_of, rate_of, time_calls

_CHECKED_ROWS = 64
_AT_ONCE = 512  # rows that the CPU widens to float64 at a time
_OUTLIER = 4  # deviations by rounding are normal: the largest of a few thousand is four times their mean (L2)
_HALVINGS = 2

# As gpudoctor.bench.planning.plan.benchmark_batch: half of the free memory, less room for CUDA itself.
_RESERVE = 600 << 20
_LEAST_BATCH = 32
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


def measure_throughput(device: TorchDevice, task: Dict[str, Any], say: Say) -> List[Rate]:
    """The rates, in the order and words of phases.throughput; none while somebody else computes on the GPU.

    task: `busy`, `in_short` (no convolutions, no training), `layers` (of the net that trains), and what
    phases.throughput.Sizes holds. Out of memory with half the batch and a quarter of it passes through.
    """
    if task["busy"]:
        say("nothing is timed while somebody else computes on this GPU")
        return []
    task = _fitting(device, task)
    rates = [_product(device, precision, task, say) for precision in device.precisions]
    rates += [_copy(device, task, say), *_link(device, task, say)]
    if task["in_short"]:
        return rates
    precisions = [one for one in ("fp32", "fp16") if one in device.precisions and (device.traits or one == "fp32")]
    for measure in (_convolution, _training):
        for precision in precisions:
            rates.append(measure(device, precision, rates, task, say))
    return rates


def _product(device: TorchDevice, precision: str, task: Dict[str, Any], say: Say) -> Rate:
    torch, size = device.torch, task["product"]
    detail = f"{size} x {size} x {size}"
    say(f"product in {precision} with PyTorch, {detail}")
    compute_in(device, precision)
    a, b = (_noise(device, (size, size), precision, task["seed"] + more) for more in (0, 1))
    c = torch.full_like(a, math.nan)
    timing = time_calls(clock_of(device), lambda: torch.mm(a, b, out=c), task)
    c.fill_(math.nan)  # what the last product leaves out cannot be taken for its result
    torch.mm(a, b, out=c)
    error = product_error(torch, a, b, c, task["seed"])
    return rate_of(timing, 2.0 * size**3 / 1e12, "product", precision, detail, "TFLOPS", error=error)


def product_error(torch: Any, a: Tensor, b: Tensor, c: Tensor, seed: int) -> float:
    """How far c is from a b in float64 on the CPU, relative (L2): of some rows or of all column sums, which is larger.

    One random row out of each of 64 stripes, so that a multiprocessor that is wrong in all of its tiles is seen.

    Where one number is off by more than rounding explains, a quarter of its own deviation. NaN if any number is.
    """
    size = len(a)
    stripe = max(1, size // _CHECKED_ROWS)
    starts = torch.arange(0, size, stripe)
    rows = starts + torch.randint(0, stripe, starts.shape, generator=torch.Generator().manual_seed(seed))
    rows = rows.clamp(max=size - 1)
    steps = range(0, size, _AT_ONCE)

    def wide(tensor: Tensor, start: int) -> Tensor:
        return tensor[start : start + _AT_ONCE].cpu().double()

    left = torch.cat([a[rows.to(a.device)].cpu().double(), sum(wide(a, row).sum(0) for row in steps)[None]])
    right = sum(left[:, row : row + _AT_ONCE] @ wide(b, row) for row in steps)
    found = torch.cat([c[rows.to(c.device)].cpu().double(), sum(wide(c, row).sum(0) for row in steps)[None]])
    return largest([_deviation(found[:-1], right[:-1]), _deviation(found[-1], right[-1])])


def _deviation(found: Tensor, right: Tensor) -> float:
    off = (found - right) / right.square().mean().sqrt()
    return largest([float(off.square().mean().sqrt()), float(off.abs().max()) / _OUTLIER])


def _copy(device: TorchDevice, task: Dict[str, Any], say: Say) -> Rate:
    say(f"copy on the device with PyTorch, {_mib(task['copied'])}")
    source = _noise(device, (task["copied"] // 4,), "fp32", task["seed"])
    target = device.torch.full_like(source, math.nan)
    timing = time_calls(clock_of(device), lambda: target.copy_(source), task)
    _must_be_equal(device, target, source, "a copy on the device")
    detail = f"{_mib(task['copied'])}, read and written"
    return rate_of(timing, 2 * source.numel() * 4 / 1e9, "copy", "", detail, "GB/s")


def _link(device: TorchDevice, task: Dict[str, Any], say: Say) -> List[Rate]:
    say(f"to the device and back with PyTorch, {_mib(task['sent'])}")
    torch = device.torch
    source = _noise(device, (task["sent"] // 4,), "fp32", task["seed"])
    target = torch.full_like(source, math.nan)
    on_gpu = device.where.type == "cuda"
    host = torch.zeros(source.shape, pin_memory=on_gpu)
    # First to the host, so that what is sent is what came from the device, and both ways are checked by the return.
    to_host = time_calls(clock_of(device), lambda: host.copy_(source, non_blocking=True), task)
    if on_gpu:
        torch.cuda.synchronize()
    to_device = time_calls(clock_of(device), lambda: target.copy_(host, non_blocking=True), task)
    _must_be_equal(device, target, source, "what went to the host and came back")
    amount, detail = source.numel() * 4 / 1e9, _mib(task["sent"]) + (", page-locked" if on_gpu else "")
    return [
        rate_of(to_device, amount, "to device", "", detail, "GB/s"),
        rate_of(to_host, amount, "to host", "", detail, "GB/s"),
    ]


def _convolution(device: TorchDevice, precision: str, rates: List[Rate], task: Dict[str, Any], say: Say) -> Rate:
    """Forward and all of the way back, to the images and to the weights."""
    torch, channels, size = device.torch, task["channels"], task["size"]
    compute_in(device, precision, search=True)
    width = 2 if precision == "fp16" else 4

    def measured(batch: int) -> Rate:
        detail = f"batch {batch}, {size} x {size}, {channels} to {channels} channels, {_library(device)}"
        say(f"convolution in {precision} with PyTorch, {detail}")
        shape = (batch, size, size, channels)
        x = _noise(device, shape, precision, task["seed"]).permute(0, 3, 1, 2).requires_grad_()
        dy = _noise(device, shape, precision, task["seed"] + 1).permute(0, 3, 1, 2)
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


def _training(device: TorchDevice, precision: str, rates: List[Rate], task: Dict[str, Any], say: Say) -> Rate:
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
    x = _noise(device, (batch, size, size, layers[0][1]), precision, task["seed"]).permute(0, 3, 1, 2)
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


def _fitting(device: TorchDevice, task: Dict[str, Any]) -> Dict[str, Any]:
    """As phases.throughput.sizes_for: products take at most a third of the free memory, copies half."""
    if device.traits is None:
        return task
    free, product = free_bytes(device), task["product"]
    while 3 * 4 * product**2 > free // 3 and product > 1024:
        product //= 2
    copied = min(max(task["copied"], 8 * device.traits["l2_bytes"]), free // 4)
    return dict(task, product=product, copied=copied, sent=min(task["sent"], free // 8))


def batch_that_fits(device: TorchDevice, image_bytes: int, task: Dict[str, Any]) -> int:
    """How many images at a time. Raises MemoryError where too few fit."""
    if device.traits is None:
        return int(task["images"])
    free = free_bytes(device)
    images = (free // 2 - _RESERVE) // max(1, image_bytes)
    if images < _LEAST_BATCH:
        raise MemoryError(f"{_mib(free)} of memory are free, too little for a batch worth timing")
    return min(int(task["images"]), 1 << (int(images).bit_length() - 1))


def halving(device: TorchDevice, count: int, work: Callable[[int], Rate], say: Say) -> Rate:
    """work(count); where the memory does not suffice for it with half as many, twice at most, and says so each time."""
    for halved in range(_HALVINGS + 1):
        try:
            return work(count)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or halved == _HALVINGS or count < 2:
                raise
        # After the except clause: the error held on to the tensors of the frames that it came through.
        if device.traits is not None:
            device.torch.cuda.empty_cache()
        say(f"out of memory with {count:,} images: trying {count // 2:,}")
        count //= 2
    raise AssertionError("the last attempt returns or raises")


def _noise(device: TorchDevice, shape: Sequence[int], precision: str, seed: int) -> Tensor:
    """Normally distributed, never zeros: a GPU multiplies zeros faster than it ever will anything else."""
    torch = device.torch
    generator = torch.Generator(device=device.where).manual_seed(seed)
    # Stored as it is drawn: the same in float32 first would take three times the memory.
    return torch.randn(*shape, generator=generator, device=device.where, dtype=dtype_of(device, precision))


def _weights(device: TorchDevice, shape: Sequence[int], precision: str, seed: int) -> Tensor:
    """Of variance 2 / inputs, so that the values stay of one size from layer to layer."""
    weights = _noise(device, shape, precision, seed)
    weights *= math.sqrt(2 / (weights.numel() / shape[0]))
    return weights.contiguous(memory_format=device.torch.channels_last) if len(shape) == 4 else weights


def _must_be_equal(device: TorchDevice, found: Tensor, wanted: Tensor, what: str) -> None:
    """Raises DoesNotTrain if any bit differs: compared as whole numbers, for which NaN is no exception."""
    integers = device.torch.int32
    differing = int((found.view(integers) != wanted.view(integers)).sum())
    if differing:
        raise DoesNotTrain(f"In {what}, {differing:,} of {found.numel():,} numbers are not what was copied.")


def _library(device: TorchDevice) -> str:
    cudnn = device.versions.get("cudnn")
    return f"cuDNN {cudnn}" if cudnn else "PyTorch"


def _mib(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"
