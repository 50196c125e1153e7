"""What to do after a benchmark: said once for each remedy, and done by nobody but the owner."""

from step_rules import broken_rules

from gpudoctor import Finding, Findings, Manual
from gpudoctor.testing import steps_of


def finding(remedy: str, address: str = "0000:01:00.0") -> Finding:
    return Finding(f"GPU {address} (NVIDIA H200): the link runs on 8 of 16 lanes.", address, (), remedy)


def test_each_remedy_is_told_once_and_is_the_owners_to_try() -> None:
    seat, clean = finding("Seat the GPU anew."), finding("Clean the fans.", "0000:02:00.0")
    again = seat._replace(subject="0000:02:00.0")
    found = Findings((("bench.pcie-slow", seat), ("bench.pcie-slow", again), ("bench.clocks-throttled", clean)))
    steps = steps_of("act-on-benchmark", found)
    assert [step.action for step in steps] == [Manual("Seat the GPU anew."), Manual("Clean the fans.")]
    assert not any(step.root for step in steps)
    assert steps[0].why == (
        "GPU 0000:01:00.0 (NVIDIA H200): the link runs on 8 of 16 lanes, and what of it to try first only its owner "
        "knows."
    )
    assert [broken for step in steps for broken in broken_rules(step)] == []


def test_without_a_finding_there_is_nothing_to_do() -> None:
    assert steps_of("act-on-benchmark", Findings(())) == ()
