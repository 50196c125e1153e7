"""What the last benchmark found wrong: a GPU that does not train, computes other numbers, or counted errors."""

from collections.abc import Iterator

from gpudoctor import Finding, Severity, check
from gpudoctor.facts.bench import CurrentBench

from ._benched import benched


@check(
    "bench.faults-counted",
    severity=Severity.WARNING,
    after=[
        "health.fallen-off-bus",
        "health.gsp-timeout",
        "health.ecc-uncorrectable",
        "health.row-remap",
        "health.nvlink-error",
        "health.other-xid",
    ],
    no_symptom="the programs that ran meanwhile mostly went on",
)
def faults_counted(bench: CurrentBench) -> Iterator[Finding]:
    """The GPU counted errors while the benchmark ran.

    What: GPUs count the errors of their memory and their links, and the driver writes what it cannot put right into
    the kernel's log (Xid). Under the load of a benchmark nothing should be added: an uncorrected memory error
    means wrong results, a remapped row means that a part of the memory has failed, PCIe replays and NVLink errors
    mean damaged packets. Corrected errors and a few replays lose nothing, and are a warning.

    Proof: The counters that NVML gave before and after the run, and the Xid lines of this GPU in the kernel's log.

    Repair: Memory errors: reset the GPU (`nvidia-smi -r`) or restart, so that rows are remapped, and run the benchmark
    again; a GPU that counts more is one for the vendor. Links: look at its seat, riser, cables and slot.

    Reference: https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/; https://docs.nvidia.com/deploy/xid-errors/
    """
    yield from benched(
        "bench.faults-counted",
        bench,
        "Memory errors: stop the jobs, reset the GPU (`nvidia-smi -r`) or restart, and run `gpudoctor bench` again; if "
        "it counts more, the GPU is one for the vendor. Link errors: look at its seat, riser, cables and slot.",
    )


@check(
    "bench.numerics-wrong",
    severity=Severity.WARNING,
    after=["bench.faults-counted"],
    no_symptom="programs go on with wrong numbers, and seldom see a NaN",
)
def numerics_wrong(bench: CurrentBench) -> Iterator[Finding]:
    """The GPU's numbers are not those of the CPU, by more than rounding explains.

    What: The benchmark trains a smooth net on the GPU and, in double precision, on the CPU: losses and first
    gradient must agree within what the precision allows, and so must rows of large matrix products. A GPU that
    fails here computes wrongly always, not now and then: a broken unit, a library or a driver with a fault, or an
    unstable overclock.

    Proof: The relative deviations that were measured, and the limit of the precision.

    Repair: Take back overclocking and undervolting, update the driver and CUDA's libraries, and run it again. If it
    stays, and the same libraries are right on another GPU, the GPU is broken.

    Reference: https://docs.nvidia.com/cuda/floating-point/; https://arxiv.org/abs/2502.12340
    """
    yield from benched(
        "bench.numerics-wrong",
        bench,
        "Use it for nothing that counts. Take back overclocking and undervolting, update the driver and CUDA's "
        "libraries, and run `gpudoctor bench` again; if it stays, the GPU is one for the vendor.",
    )


@check(
    "bench.replay-differs",
    severity=Severity.WARNING,
    after=["bench.faults-counted", "bench.clocks-throttled"],
    no_symptom="results change from run to run, without a message",
)
def replay_differs(bench: CurrentBench) -> Iterator[Finding]:
    """The same computation gave other bits than before, or than on the other GPUs of its model.

    What: On one GPU, with the same libraries, the same training ends in the same bits. The benchmark runs it twice
    and compares a hash of all weights, compares that hash between GPUs of one model, where the majority is right,
    and holds matrix products against their checksums. What differs is silent data corruption: memory, a unit or
    the power supply fails now and then.

    Proof: The hashes, the checksum's residual, the number of wrong bits under load.

    Repair: Take back overclocking and undervolting, look at temperature and power supply, and run `gpudoctor bench
    --burn 10m`. If it happens again, the GPU is broken: results of the past weeks are in doubt, too.

    Reference: cuBLAS documentation, "Results reproducibility", https://docs.nvidia.com/cuda/cublas/;
    https://arxiv.org/abs/2502.12340 (silent data corruption in training)
    """
    yield from benched(
        "bench.replay-differs",
        bench,
        "Use it for nothing that counts. Take back overclocking and undervolting, look at its temperature and power "
        "supply, and run `gpudoctor bench --burn 10m`; if it happens again, the GPU is one for the vendor.",
    )


@check(
    "bench.does-not-train",
    severity=Severity.WARNING,
    after=["bench.faults-counted", "bench.numerics-wrong", "bench.replay-differs"],
    no_symptom="the benchmark is what sees it",
)
def does_not_train(bench: CurrentBench) -> Iterator[Finding]:
    """A small net that learns everywhere does not learn on this GPU.

    What: The benchmark trains a small net to read digits, which a right computation manages within seconds, checks
    the gradient of every kind of layer against differences, and verifies that the arrays lie on the GPU. It fails
    when the loss does not fall, when the GPU stops in the middle of it, or when all was computed on the CPU.

    Proof: The accuracy and the losses, the gradient's error, the place of the arrays, or the error with which it ended.

    Repair: `gpudoctor check` first, since most causes are in driver and libraries; then the benchmark again. A GPU that
    still does not train with everything else in order is broken.

    Reference: https://docs.nvidia.com/deploy/xid-errors/; https://docs.cupy.dev/en/stable/install.html
    """
    yield from benched(
        "bench.does-not-train",
        bench,
        "Repair first what else this report finds, then run `gpudoctor bench` again. If it still does not train, try "
        "another GPU of this machine with the same libraries: it tells whether the GPU or the software is at fault.",
    )
