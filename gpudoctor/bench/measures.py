"""What the phases of the benchmark measure: plain values that a child prints as JSON and its parent judges.

A number that came out as NaN or infinite stays what it is here: it is for the verdict to see, and it never passes.
"""

from __future__ import annotations

from typing import NamedTuple


class Traits(NamedTuple):
    """A GPU by its own word (CUDA's device properties and attributes)."""

    name: str  # "NVIDIA H100 80GB HBM3"
    uuid: str  # "GPU-..." as nvidia-smi -L prints it, "" where CUDA does not tell
    pci_address: str  # "0000:07:00.0"
    capability: tuple[int, int]
    sm_count: int  # multiprocessors: of this MIG slice, where it is one
    l2_bytes: int
    memory_bytes: int
    boost_khz: int  # the rated boost clock of the SMs, 0 unknown
    memory_khz: int  # memory clock, 0 unknown
    memory_bus_bits: int  # 0 unknown


class Curve(NamedTuple):
    """The numerics phase in one precision, against the same training on the CPU in float64."""

    precision: str
    losses: tuple[float, ...]  # of each step
    reference: tuple[float, ...]
    loss_error: float  # the largest |loss - reference| / reference over the steps
    gradient_error: float  # at step 0, |g - reference| / |reference| over all parameters as one vector (L2)


class Replayed(NamedTuple):
    """The same training run twice on one device."""

    precision: str
    steps: int
    first: str  # SHA-256 of all parameters after the last step, hexadecimal
    second: str
    residual: float | None  # the largest normalised checksum residual of a product, None: not checked in this precision


class Trained(NamedTuple):
    """The training phase: real digits, learned until enough of the others are read."""

    images: int  # trained on
    test_images: int
    untrained_loss: float  # mean over the test set
    untrained_accuracy: float  # share of the test set, 0 to 1
    losses: tuple[float, ...]  # of each epoch, mean over its batches
    accuracies: tuple[float, ...]  # after each epoch
    images_per_second: float  # forward and backward, without the run's first batch


class Rate(NamedTuple):
    """One operation, timed in groups of back-to-back calls."""

    what: str  # "product", "copy", "to device", "to host", "convolution", "training", "peer copy", "all-reduce"
    precision: str  # "" where it has none
    detail: str  # the shape: "8192 x 8192 x 8192", "batch 512, 32 x 32, 256 to 256 channels"
    unit: str  # "TFLOPS", "GB/s" (1e9), "images/s"
    median: float  # over the groups
    best: float
    spread: float  # (best - worst) / median over the groups
    began: float  # time.monotonic() around the groups, to find the clock samples taken meanwhile
    ended: float
    error: float | None = None  # relative error (L2) of a checked part against float64 on the CPU, None unchecked
    modelled: float | None = None  # convolution, training: what the product and copy rates of this run would allow


class Burned(NamedTuple):
    """A stretch of full load."""

    seconds: float
    memory_bytes: int  # filled and checked
    rounds: int  # products and replays compared
    mismatches: int  # of bits that must have been equal
    hashes: int  # weight hashes compared
    wrong_hashes: int
    worst_residual: float
    tflops: float  # mean over the whole stretch
    began: float = 0.0  # time.monotonic()
    ended: float = 0.0


class Sample(NamedTuple):
    """A GPU at one moment, as NVML tells it; None: it does not tell."""

    at: float  # time.monotonic()
    uuid: str
    sm_mhz: int | None = None
    memory_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    utilisation: int | None = None  # percent
    reasons: int | None = None  # clocks event reasons, NVML's bit mask


class Counters(NamedTuple):
    """What NVML counted up to a moment; None: this GPU, driver or user does not have the number."""

    uuid: str
    ecc_uncorrected: int | None = None  # volatile
    ecc_corrected: int | None = None  # volatile
    remapped_rows: int | None = None  # correctable and uncorrectable
    pcie_replays: int | None = None
    nvlink_errors: int | None = None  # CRC and replay, all links
    xids: int | None = None  # lines "NVRM: Xid" of this GPU in the kernel log, None where it cannot be read
    processes: int | None = None  # that compute on it, ours not counted
    power_limit_w: float | None = None
    pcie_generation: int | None = None  # of the link at that moment
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    max_sm_mhz: int | None = None
    total_memory_bytes: int | None = None
    free_memory_bytes: int | None = None
