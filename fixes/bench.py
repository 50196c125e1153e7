"""What a benchmark found: hands look after hardware, and nobody but the owner decides about it."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Step, fix

from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe


@fix(
    "act-on-benchmark",
    cures=[
        "bench.faults-counted",
        "bench.numerics-wrong",
        "bench.replay-differs",
        "bench.does-not-train",
        "bench.clocks-throttled",
        "bench.compute-slow",
        "bench.memory-slow",
        "bench.pcie-slow",
        "bench.convolution-slow",
        "bench.peer-slower",
        "bench.below-baseline",
    ],
    effort=Effort.EXPLAIN,
)
@by_hand_if_unsafe
def act_on_benchmark(findings: Findings) -> Iterator[Step]:
    """Look after the GPU that the benchmark found wanting."""
    told: set[str] = set()
    for _, finding in findings.items:
        if finding.remedy not in told:
            told.add(finding.remedy)
            yield by_remedy(finding, "what of it to try first")
