"""What the last benchmark found slow: against what the GPU itself can do, against its peers, and against its past."""

from collections.abc import Iterator

from gpudoctor import Finding, Severity, check
from gpudoctor.facts.bench import CurrentBench

from ._benched import benched

_SLOW = "everything works, and takes longer"


@check(
    "bench.clocks-throttled",
    severity=Severity.WARNING,
    after=["health.thermal-throttle", "health.power-throttle"],
    no_symptom=_SLOW,
)
def clocks_throttled(bench: CurrentBench) -> Iterator[Finding]:
    """Under load the GPU's clock was held back, by heat, by power, or by somebody who set it low.

    What: A GPU lowers its clock when it gets too hot, when a power supply or a cable calls for it, or when its power is
    used up. The last is normal at full load, and no finding; the others cost speed for which there is no need.

    Proof: The clock sampled during the run against the rated boost clock, the reasons that the driver gives for it
    (nvidia-smi calls them clocks event reasons), temperature and power.

    Repair: Heat: dust, fans, paste, the room's air, a neighbour card. Hardware power brake: power cables, the
    supply, the rack's limit. Clocks set low: `sudo nvidia-smi -rgc -rac` gives them back.

    Reference: nvml.h, nvmlClocksEventReasons, https://docs.nvidia.com/deploy/nvml-api/
    """
    yield from benched(
        "bench.clocks-throttled",
        bench,
        "Heat: clean fans and filters, let air in, look at paste and neighbour cards. Power brake: look at power "
        "cables and supply. Clocks that somebody set: `sudo nvidia-smi -rgc` and `-rac` give them back.",
    )


@check("bench.compute-slow", severity=Severity.WARNING, no_symptom=_SLOW)
def compute_slow(bench: CurrentBench) -> Iterator[Finding]:
    """Matrix products run at a rate far below what this GPU can do at its clock, such as half of it.

    What: A large matrix product keeps all multiprocessors busy, and healthy GPUs reach two thirds or more of what
    their number and their clock allow. The clock that was sampled is part of the sum: a GPU that is only slowed
    down by heat or power does not fail here. What is left is a part of the GPU that does not take part, another
    process, or a library without kernels for this GPU.

    Proof: The rate measured, the number of multiprocessors, the clock during the run, and the peak they make.

    Repair: Make sure that nobody else computes on it (`nvidia-smi`), update CUDA's libraries, then reset the GPU or
    restart. If its peers are faster with the same software, it is one for the vendor.

    Reference: https://github.com/stas00/ml-engineering/tree/master/compute/accelerator (what healthy GPUs reach);
    https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication/
    """
    yield from benched(
        "bench.compute-slow",
        bench,
        "Make sure that nobody else computes on it (`nvidia-smi`), update CuPy or torch with its CUDA libraries, reset "
        "the GPU or restart, and run `gpudoctor bench --all`: if its peers are faster, it is one for the vendor.",
    )


@check("bench.memory-slow", severity=Severity.WARNING, no_symptom=_SLOW)
def memory_slow(bench: CurrentBench) -> Iterator[Finding]:
    """Copies within the GPU's memory run far below the memory's own speed.

    What: Copying a large array reads and writes the GPU's memory as fast as it can; healthy GPUs reach three quarters
    of what clock and width of the memory give. Memory that is held at a low clock, or a GPU with a failing stack,
    stays below. Many layers of a net are as slow as the memory, whatever the products can do.

    Proof: The rate measured, bytes read and written, against the memory's clock and width; the memory's clock
    during the run where it was low.

    Repair: Look at the memory's clock under load (`nvidia-smi dmon -s c`) and give back clocks that somebody set
    (`sudo nvidia-smi -rmc`); reset the GPU or restart; then it is one for the vendor.

    Reference: https://github.com/NVIDIA/DCGM (diag, memory bandwidth); https://developer.nvidia.com/nvbandwidth
    """
    yield from benched(
        "bench.memory-slow",
        bench,
        "Look at the memory's clock under load (`nvidia-smi dmon -s c`); `sudo nvidia-smi -rmc` gives back clocks that "
        "somebody set. Then reset the GPU or restart, and run `gpudoctor bench` again.",
    )


@check(
    "bench.pcie-slow",
    severity=Severity.WARNING,
    after=["bench.faults-counted"],
    no_symptom="loading data and moving tensors takes longer, nothing fails",
)
def pcie_slow(bench: CurrentBench) -> Iterator[Finding]:
    """Copies between host and GPU are slow for a PCIe link of its kind.

    What: The link between board and GPU agrees on a number of lanes and a speed at each start. With a bad seat, a
    riser, a damaged slot or a setting of the firmware it comes up with fewer lanes or slower, and everything still
    works: feeding data, offloading and copies between GPUs take twice or eight times as long.

    Proof: The rate measured with pinned memory, against generation and lanes that GPU and board both have.

    Repair: Power off, seat the GPU anew, try without riser and in another slot, look at the slot's setting in the
    firmware (generation, bifurcation: lanes that an SSD or a second card takes). On servers with several
    sockets: run near the GPU (`nvidia-smi topo -m`).

    Reference: https://github.com/NVIDIA/nvbandwidth; nvidia-smi -q -d PCIE ("GPU Link Info")
    """
    yield from benched(
        "bench.pcie-slow",
        bench,
        "Look at `nvidia-smi -q` (GPU Link Info) under load. Power off, seat the GPU anew, try without riser or in "
        "another slot, and look at the slot's generation and lanes in the firmware's setup; then run `gpudoctor bench` "
        "again.",
    )


@check("bench.convolution-slow", severity=Severity.WARNING, after=["bench.memory-slow"], no_symptom=_SLOW)
def convolution_slow(bench: CurrentBench) -> Iterator[Finding]:
    """Convolutions, or a whole training, are slower than the products and copies of the same run would allow.

    What: A convolution is made of products and of bytes that are moved. The benchmark measures both alone, and holds
    convolution and training against what they would allow together. Less than half of it means that something
    else costs the time: a library without a kernel for this shape or GPU, a host that cannot start kernels fast
    enough, other programs.

    Proof: Images or operations a second, and what the model of the same run allows.

    Repair: Look at the load of the host (`top`) and at who else uses the GPU; update CuPy or torch and cuDNN. The GPU
    itself was seen to be fast enough.

    Reference: https://docs.nvidia.com/deeplearning/performance/dl-performance-convolutional/
    """
    yield from benched(
        "bench.convolution-slow",
        bench,
        "Look at the load of the host (`top`) and at who else uses the GPU; update CuPy or torch and cuDNN, and run "
        "`gpudoctor bench` again. The products of the same run say whether the GPU itself is fast.",
    )


@check(
    "bench.peer-slower",
    severity=Severity.WARNING,
    after=["bench.clocks-throttled", "bench.compute-slow", "bench.memory-slow"],
    no_symptom="jobs on several GPUs wait for the slowest, without a message",
)
def peer_slower(bench: CurrentBench) -> Iterator[Finding]:
    """This GPU is slower than the others of its model in the same machine.

    What: GPUs of one model, measured at once with the same software, lie within a few per cent of each other. A job on
    several of them is as slow as the slowest. One that stays more than 5 % behind is hotter, fed worse, or worn.

    Proof: Its rate against the median of the GPUs of its model, measured in the same run.

    Repair: Compare temperature, power and clock under load (`nvidia-smi dmon`) with its neighbours; swap places with
    one of them: what stays at the place is cooling or power, what goes with the card is the card.

    Reference: https://github.com/microsoft/superbenchmark (5 % below the baseline counts as defective)
    """
    yield from benched(
        "bench.peer-slower",
        bench,
        "Compare temperature, power and clock under load with its neighbours (`nvidia-smi dmon`). If nothing explains "
        "it, swap places with one of them: what stays at the place is cooling or power, what goes with the card is the "
        "card.",
    )


@check(
    "bench.below-baseline",
    severity=Severity.WARNING,
    after=[
        "bench.clocks-throttled",
        "bench.compute-slow",
        "bench.memory-slow",
        "bench.pcie-slow",
        "bench.peer-slower",
    ],
    no_symptom=_SLOW,
)
def below_baseline(bench: CurrentBench) -> Iterator[Finding]:
    """The GPU is slower than it was when the baseline was saved.

    What: A baseline is a result that the user saved (`gpudoctor bench --save-baseline FILE`) on this GPU or one of its
    model. Healthy GPUs repeat it within 5 %, with the same software.

    Proof: Each rate against the baseline's, and the versions that changed since.

    Repair: What changed in between: driver, libraries, cooling, power limit, other programs? If it is meant to be so,
    save a new baseline.

    Reference: https://github.com/microsoft/superbenchmark (5 % below the baseline counts as defective)
    """
    yield from benched(
        "bench.below-baseline",
        bench,
        "Look what changed since: driver, libraries, cooling, power limit (`nvidia-smi -q -d POWER`), other programs. "
        "If it is meant to be so, save a new baseline with `gpudoctor bench --save-baseline`.",
    )
