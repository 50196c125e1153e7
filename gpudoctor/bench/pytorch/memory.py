# ruff: noqa: UP006, UP035 (runs on the old Pythons of users' environments)
"""What fits into the GPU's memory, and the numbers that fill it."""

from typing import Any, Callable, Dict, Sequence

from gpudoctor.bench.pytorch.device import Tensor, TorchDevice, dtype_of, free_bytes, is_out_of_memory
from gpudoctor.bench.pytorch.learning import Say
from gpudoctor.bench.pytorch.timing import Rate

_HALVINGS = 2

# As gpudoctor.bench.planning.plan.benchmark_batch: half of the free memory, less room for CUDA itself.
_RESERVE = 600 << 20
_LEAST_BATCH = 32


def fitting(device: TorchDevice, task: Dict[str, Any]) -> Dict[str, Any]:
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
        raise MemoryError(f"{mib(free)} of memory are free, too little for a batch worth timing")
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
        release(device)
        say(f"out of memory with {count:,} images: trying {count // 2:,}")
        count //= 2
    raise AssertionError("the last attempt returns or raises")


def release(device: TorchDevice) -> None:
    """Give back the memory of the GPU that PyTorch keeps and does not use."""
    if device.traits is not None:
        device.torch.cuda.empty_cache()


def noise(device: TorchDevice, shape: Sequence[int], precision: str, seed: int) -> Tensor:
    """Normally distributed, never zeros: a GPU multiplies zeros faster than it ever will anything else."""
    torch = device.torch
    generator = torch.Generator(device=device.where).manual_seed(seed)
    # Stored as it is drawn: the same in float32 first would take three times the memory.
    return torch.randn(*shape, generator=generator, device=device.where, dtype=dtype_of(device, precision))


def mib(count: float) -> str:
    """As gpudoctor.bench.words.mebibytes."""
    return f"{count / 2**20:,.0f} MiB"
