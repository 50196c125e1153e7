"""Which exit code says what, to whom."""

from pathlib import Path
from typing import Any

import pytest
from command_line import Call, calls
from reported import KNOWN, found, report, undecided

from gpudoctor.exit_codes import EXIT_MAPS, FAIL_ON
from gpudoctor.findings import Severity

MACHINES = Path(__file__).parents[1] / "machines"
BROKEN = ("check", "--snapshot", str(MACHINES / "bookworm-kernel-upgraded-no-headers.json"))
HEALTHY = ("check", "--snapshot", str(MACHINES / "bookworm-healthy.json"))

ERROR, WARNING, NOTE = found(), found("gpu.mps-stale", Severity.WARNING), found("gpu.mps-stale", Severity.INFO)
UNKNOWN, ACKNOWLEDGED = undecided(), found(acknowledged=KNOWN)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


@pytest.mark.parametrize(
    ("exit_map", "rows", "code"),
    [
        ("nagios", (ERROR,), 2),
        ("nagios", (WARNING,), 1),
        ("nagios", (UNKNOWN,), 3),
        ("nagios", (WARNING, UNKNOWN), 1),
        ("npd", (ERROR,), 1),
        ("npd", (WARNING,), 0),
        ("npd", (UNKNOWN,), 2),
        ("npd", (WARNING, UNKNOWN), 2),
        ("slurm", (ERROR,), 1),
        ("slurm", (WARNING, UNKNOWN), 0),
        ("simple", (ERROR,), 1),
        ("simple", (WARNING,), 1),
        ("simple", (UNKNOWN,), 1),
        ("retry", (ERROR,), 75),
        ("retry", (UNKNOWN,), 75),
        ("retry", (WARNING,), 0),
    ],
)
def test_each_map_speaks_the_language_of_its_reader(exit_map: str, rows: tuple[Any, ...], code: int) -> None:
    assert report(*rows, exit_map=exit_map).exit_code == code
    assert report(NOTE, ACKNOWLEDGED, exit_map=exit_map).exit_code == 0


@pytest.mark.parametrize(
    ("fail_on", "codes"),
    [("error", (2, 0, 0)), ("unknown", (2, 0, 3)), ("warning", (2, 1, 3)), ("never", (0, 0, 0))],
)
def test_fail_on_says_from_what_on_a_machine_fails(fail_on: str, codes: tuple[int, ...]) -> None:
    assert tuple(report(row, fail_on=fail_on).exit_code for row in (ERROR, WARNING, UNKNOWN)) == codes


def test_a_warning_that_is_let_pass_does_not_hide_that_something_could_not_be_told() -> None:
    assert report(WARNING, UNKNOWN, fail_on="unknown").exit_code == 3
    assert report(WARNING, UNKNOWN, fail_on="error").exit_code == 0


def test_fail_on_goes_before_the_habit_of_a_map() -> None:
    assert report(WARNING, exit_map="slurm", fail_on="warning").exit_code == 1
    assert report(UNKNOWN, exit_map="retry", fail_on="error").exit_code == 0


def test_no_code_is_taken_for_a_signal_and_nothing_wrong_is_always_0() -> None:
    for exit_map in EXIT_MAPS:
        for fail_on in ("", *FAIL_ON):
            assert report(exit_map=exit_map, fail_on=fail_on).exit_code == 0
            assert 0 <= report(ERROR, exit_map=exit_map, fail_on=fail_on).exit_code < 126


def test_the_status_is_what_is_so_and_not_what_is_let_pass() -> None:
    assert report(ERROR, fail_on="never").status == "error"
    assert report(ACKNOWLEDGED).status == "info"
    assert report(ACKNOWLEDGED, WARNING).status == "warning"


def test_the_command_line_ends_with_the_code_that_was_asked_for(call: Call) -> None:
    for arguments, code in (
        ((), 2),
        (("--fail-on", "error"), 2),
        (("--fail-on", "never"), 0),
        (("--exit-map", "simple"), 1),
        (("--exit-map", "npd"), 1),
        (("--format", "npd"), 1),
        (("--format", "npd", "--exit-map", "nagios"), 2),
        (("--exit-map", "retry"), 75),
        (("--exit-map", "slurm", "--fail-on", "never"), 0),
    ):
        done = call(*BROKEN, *arguments)
        assert done.code == code, arguments
        assert "kernel.headers-missing" in done.out
        assert "npd" in arguments or f"exit code {code})" in done.out


def test_quiet_says_nothing_where_nothing_fails(call: Call, tmp_path: Path) -> None:
    assert call(*HEALTHY, "--quiet") == (0, "", "")
    assert call(*HEALTHY, "-q", "--format", "json") == (0, "", "")
    assert call(*BROKEN, "--quiet", "--fail-on", "never") == (0, "", "")
    assert "kernel.headers-missing" in call(*BROKEN, "--quiet").out
    path = tmp_path / "gpudoctor.prom"
    assert call(*HEALTHY, "--quiet", "--format", "prometheus", "--output", str(path)) == (0, "", "")
    assert "gpudoctor_status" in path.read_text(), "who reads a file wants it fresh"


def test_bad_usage_is_3_in_every_map(call: Call) -> None:
    for exit_map in EXIT_MAPS:
        done = call("check", "--snapshot", "/no/such/file", "--exit-map", exit_map)
        assert (done.code, done.out) == (3, "")
