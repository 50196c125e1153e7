# ruff: noqa: UP006, UP035 (runs on the old Pythons of users' environments)
"""How fast PyTorch multiplies, copies, convolves and trains, with the user's own cuBLAS and cuDNN."""

import math
from typing import Any, Dict, List

from gpudoctor.bench.pytorch.convolving import convolution, training
from gpudoctor.bench.pytorch.device import (
    DoesNotTrain,
    Tensor,
    TorchDevice,
    compute_in,
    in_words,
    is_out_of_memory,
)
from gpudoctor.bench.pytorch.learning import Say, largest
from gpudoctor.bench.pytorch.memory import fitting, mib, noise, release
from gpudoctor.bench.pytorch.timing import Rate, clock_of, rate_of, time_calls

_LEFT_OUT = "left out: "  # as gpudoctor.bench.job.LEFT_OUT

_CHECKED_ROWS = 64
_AT_ONCE = 512  # rows that the CPU widens to float64 at a time
_OUTLIER = 4  # deviations by rounding are normal: the largest of a few thousand is four times their mean (L2)


def measure_throughput(device: TorchDevice, task: Dict[str, Any], say: Say) -> List[Rate]:
    """The rates, in the order and words of phases.throughput; none while somebody else computes on the GPU.

    task: `busy`, `in_short` (no convolutions, no training), `layers` (of the net that trains), and what
    phases.throughput.Sizes holds. A convolution or training for which the memory does not suffice, with a quarter of
    its batch either, is left out, and `say` hears of it.
    """
    if task["busy"]:
        say("nothing is timed while somebody else computes on this GPU")
        return []
    task = fitting(device, task)
    rates = [_product(device, precision, task, say) for precision in device.precisions]
    rates += [_copy(device, task, say), *_link(device, task, say)]
    if task["in_short"]:
        return rates
    precisions = [one for one in ("fp32", "fp16") if one in device.precisions and (device.traits or one == "fp32")]
    for what, measure in (("convolution", convolution), ("training", training)):
        for precision in precisions:
            try:
                rates.append(measure(device, precision, rates, task, say))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # What was measured before is worth more than a skipped phase.
                say(f"{_LEFT_OUT}{what} in {precision}: not enough memory is free ({in_words(error)})")
            # After the except clause: the error held on to the tensors of the frames that it came through.
            release(device)
    return rates


def _product(device: TorchDevice, precision: str, task: Dict[str, Any], say: Say) -> Rate:
    torch, size = device.torch, task["product"]
    detail = f"{size} x {size} x {size}"
    say(f"product in {precision} with PyTorch, {detail}")
    compute_in(device, precision)
    a, b = (noise(device, (size, size), precision, task["seed"] + more) for more in (0, 1))
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
    say(f"copy on the device with PyTorch, {mib(task['copied'])}")
    source = noise(device, (task["copied"] // 4,), "fp32", task["seed"])
    target = device.torch.full_like(source, math.nan)
    timing = time_calls(clock_of(device), lambda: target.copy_(source), task)
    _must_be_equal(device, target, source, "a copy on the device")
    detail = f"{mib(task['copied'])}, read and written"
    return rate_of(timing, 2 * source.numel() * 4 / 1e9, "copy", "", detail, "GB/s")


def _link(device: TorchDevice, task: Dict[str, Any], say: Say) -> List[Rate]:
    say(f"to the device and back with PyTorch, {mib(task['sent'])}")
    torch = device.torch
    source = noise(device, (task["sent"] // 4,), "fp32", task["seed"])
    target = torch.full_like(source, math.nan)
    on_gpu = device.where.type == "cuda"
    host = torch.zeros(source.shape, pin_memory=on_gpu)
    # First to the host, so that what is sent is what came from the device, and both ways are checked by the return.
    to_host = time_calls(clock_of(device), lambda: host.copy_(source, non_blocking=True), task)
    if on_gpu:
        torch.cuda.synchronize()
    to_device = time_calls(clock_of(device), lambda: target.copy_(host, non_blocking=True), task)
    _must_be_equal(device, target, source, "what went to the host and came back")
    amount, detail = source.numel() * 4 / 1e9, mib(task["sent"]) + (", page-locked" if on_gpu else "")
    return [
        rate_of(to_device, amount, "to device", "", detail, "GB/s"),
        rate_of(to_host, amount, "to host", "", detail, "GB/s"),
    ]


def _must_be_equal(device: TorchDevice, found: Tensor, wanted: Tensor, what: str) -> None:
    """Raises DoesNotTrain if any bit differs: compared as whole numbers, for which NaN is no exception."""
    integers = device.torch.int32
    differing = int((found.view(integers) != wanted.view(integers)).sum())
    if differing:
        raise DoesNotTrain(f"In {what}, {differing:,} of {found.numel():,} numbers are not what was copied.")
