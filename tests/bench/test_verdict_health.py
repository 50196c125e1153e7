"""What a GPU counted during a run."""

import pytest
from bench_measurements import UUID, counters

from gpudoctor.bench.measures import Counters
from gpudoctor.bench.result import Status
from gpudoctor.bench.verdicts.health import judge_health


def test_nothing_new_passes_and_says_what_was_counted() -> None:
    found = judge_health(counters(ecc_corrected=7), counters(ecc_corrected=7))
    assert found.status is Status.PASSED
    assert found.reason.startswith(
        "No new errors: uncorrected memory errors, remapped rows, Xids, NVLink, PCIe replays"
    )
    assert found.numbers["judged"] == ["bench.faults-counted"]


@pytest.mark.parametrize(
    ("field", "rise", "seconds", "status"),
    [
        ("ecc_uncorrected", 1, 0.0, Status.FAILED),
        ("ecc_corrected", 1, 0.0, Status.WARNED),
        ("remapped_rows", 1, 0.0, Status.FAILED),
        ("xids", 1, 0.0, Status.FAILED),
        ("pcie_replays", 80, 0.0, Status.WARNED),
        ("pcie_replays", 81, 0.0, Status.FAILED),
        ("nvlink_errors", 1, 0.0, Status.FAILED),
        ("nvlink_errors", 59, 60.0, Status.WARNED),
        ("nvlink_errors", 6000, 60.0, Status.FAILED),
    ],
)
def test_what_rose(field: str, rise: int, seconds: float, status: Status) -> None:
    found = judge_health(counters(**{field: 3}), counters(**{field: 3 + rise}), seconds)
    assert found.status is status
    (judgement,) = found.judgements
    assert judgement.id == "bench.faults-counted"
    assert f"counted {rise:,} new" in judgement.text
    assert found.numbers["rose"][field] == rise


def test_counters_that_began_anew_are_taken_from_nought() -> None:
    found = judge_health(counters(pcie_replays=500), counters(pcie_replays=2))
    assert found.numbers["rose"]["pcie_replays"] == 2
    assert found.status is Status.WARNED


def test_what_is_not_told_is_not_judged() -> None:
    untold = Counters(UUID)
    found = judge_health(untold, counters(ecc_uncorrected=5))
    assert (found.status, found.judgements, found.numbers["judged"]) == (Status.SKIPPED, [], [])
    found = judge_health(counters(ecc_uncorrected=None), counters(ecc_uncorrected=5))
    assert found.status is Status.PASSED
    assert "uncorrected" not in found.reason


def test_failures_come_first() -> None:
    found = judge_health(counters(), counters(ecc_corrected=4, xids=1))
    assert found.status is Status.FAILED
    assert "1 new Xid in the kernel's log" in found.reason
