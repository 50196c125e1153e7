"""A finding that somebody knows of is shown and does not fail, until it changes or its time is up."""

import json
import os
from datetime import date, timedelta
from pathlib import Path

import pytest
from command_line import Call, calls
from hypothesis import given, settings
from hypothesis import strategies as st
from reported import EVIL, found, report, undecided

from gpudoctor.acknowledged import Entry, acknowledge, as_toml, entries_for, load_baseline
from gpudoctor.findings import Outcome, Ranked, Severity, Status
from gpudoctor.host import BadSource
from gpudoctor.registry import load_plugins, registry

BROKEN = str(Path(__file__).parents[1] / "machines/bookworm-kernel-upgraded-no-headers.json")
TODAY = date(2026, 11, 25)
TOMORROW, YESTERDAY = TODAY + timedelta(days=1), TODAY - timedelta(days=1)
MISMATCH = found()


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    load_plugins()
    return calls(capfd)


def entry(ranked: Ranked = MISMATCH, expires: date = TODAY, reason: str = "We know.") -> Entry:
    return Entry(ranked.problem, ranked.severity, reason, expires)


def test_it_stays_visible_comes_last_and_does_not_fail() -> None:
    other = found("gpu.mps-stale", Severity.WARNING)
    after, notes = acknowledge(report(MISMATCH, other), [entry()], TODAY)
    assert [ranked.check.id for ranked in after.findings] == ["gpu.mps-stale", "driver.library-mismatch"]
    assert after.findings[1].acknowledged == ("We know.", "2026-11-25")
    assert (after.status, after.exit_code, notes) == ("warning", 1, ())
    assert acknowledge(report(MISMATCH), [entry()], TODAY)[0].exit_code == 0


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (entry(expires=YESTERDAY), "driver.library-mismatch (0000:01:00.0) is no longer acknowledged: that ended on"),
        (entry()._replace(severity=Severity.WARNING), "it was of severity warning, and is of error now"),
        (entry(found(subject="0000:02:00.0")), ""),
        (entry(found("driver.nvml-failed")), ""),
    ],
    ids=["expired", "worse", "another subject", "another check"],
)
def test_it_comes_back_when_it_changes_or_its_time_is_up(known: Entry, said: str) -> None:
    after, notes = acknowledge(report(MISMATCH), [known], TODAY)
    assert (after.exit_code, after.findings[0].acknowledged) == (2, None)
    assert said in " ".join(notes)
    assert bool(notes) == bool(said)


def test_one_environment_is_not_another() -> None:
    elsewhere = MISMATCH._replace(finding=MISMATCH.finding._replace(environment="/home/ada/venv"))
    assert acknowledge(report(elsewhere), [entry()], TODAY)[0].exit_code == 2


def test_that_something_could_not_be_told_is_not_acknowledged_with_it() -> None:
    assert acknowledge(report(MISMATCH, undecided()), [entry()], TODAY)[0].exit_code == 3


def test_a_file_that_is_written_acknowledges_all_that_is_wrong(tmp_path: Path) -> None:
    wrong = report(
        found(subject=EVIL), found("gpu.mps-stale", Severity.WARNING), found("health.row-remap", Severity.INFO)
    )
    entries = entries_for(wrong, (), TODAY)
    path = tmp_path / "known.toml"
    path.write_text(as_toml(entries), encoding="utf-8")
    assert load_baseline(str(path)) == entries
    assert len(entries) == 2, "notes need no acknowledgement"
    assert acknowledge(wrong, load_baseline(str(path)), TODAY)[0].exit_code == 0
    assert acknowledge(wrong, load_baseline(str(path)), TODAY + timedelta(days=91))[0].exit_code == 2


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text(min_size=1).filter(str.strip), st.dates())
def test_whatever_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, subject: str, reason: str, day: date
) -> None:
    entries = (Entry(("gpu.mps-stale", subject, ""), Severity.WARNING, reason, day),)
    path = tmp_path_factory.getbasetemp() / "known.toml"
    path.write_text(as_toml(entries), encoding="utf-8", errors="replace", newline="")
    assert load_baseline(str(path)) == entries


def test_writing_it_again_keeps_reasons_and_drops_what_is_gone() -> None:
    gone, hidden = found("health.row-remap"), found("health.ecc-uncorrectable")
    stale = found("gpu.mps-stale", Severity.WARNING)
    before = (
        entry(expires=TOMORROW),
        entry(gone),
        entry(hidden),
        entry(stale, YESTERDAY),
    )
    fine = Outcome(registry.checks["health.row-remap"], Status.OK)
    old = f"Acknowledged before, until {YESTERDAY}: We know."
    after = entries_for(report(MISMATCH, stale, fine, undecided("health.ecc-uncorrectable")), before, TODAY)
    assert [(one.problem[0], one.reason) for one in after] == [
        ("driver.library-mismatch", "We know."),
        (
            "gpu.mps-stale",
            f"Not explained yet; it was so on 2026-11-25. {old}",
        ),
        ("health.ecc-uncorrectable", "We know."),
    ]
    assert after[0].expires == TOMORROW
    again = [one._replace(expires=YESTERDAY) for one in after]
    assert [one.reason for one in entries_for(report(stale), again, TODAY)] == [after[1].reason], "it does not grow"
    again = [entry(stale, YESTERDAY)._replace(reason="Not explained yet; it was so on 2026-08-01.")]
    assert entries_for(report(stale), again, TODAY)[0].reason == "Not explained yet; it was so on 2026-11-25."


GOOD = """[[acknowledged]]
id = "gpu.mps-stale"
severity = "warning"
reason = "It is."
expires = 2027-01-31
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("mps-stale", "mps-stael"), "finding 1: there is no check 'gpu.mps-stael'; is 'gpu.mps-stale'"),
        (GOOD.replace("gpu.mps-stale", "zzz"), "there is no check 'zzz'; see `gpudoctor explain`"),
        (GOOD.replace("2027-01-31", "2027-02-31"), "no TOML"),
        (GOOD.replace("2027-01-31", '"next year"'), "expires is a day like 2027-01-31, not next year"),
        (GOOD.replace("2027-01-31", "2027-01-31T10:00:00"), "expires is a day like 2027-01-31"),
        (GOOD.replace("2027-01-31", '"20270131"'), "expires is a day like 2027-01-31, not 20270131"),
        (GOOD.replace("expires", "expiry"), "there is no 'expiry'; is 'expires' meant?"),
        (GOOD.replace("expires = 2027-01-31", ""), "expires is missing"),
        (GOOD.replace('"It is."', '" "'), "a reason says why"),
        (GOOD.replace('reason = "It is."\n', ""), "reason is missing"),
        (GOOD.replace('"It is."', "3"), "reason is a text in quotes, not 3"),
        (GOOD.replace('"warning"', '"critical"'), "severity is warning or error, not 'critical'"),
        (GOOD + GOOD, "finding 2: gpu.mps-stale is acknowledged twice"),
        (GOOD.replace("[[acknowledged]]", "[acknowledged]"), "a table of its own, [[acknowledged]]"),
        (GOOD.replace("[[acknowledged]]", "[[known]]"), "there is no 'known'; there are acknowledged"),
        ("acknowledged = [1]", "a table of its own"),
        ("= nonsense", "no TOML: "),
    ],
    ids=lambda value: value.replace("\n", " ")[-40:],
)
def test_what_cannot_be_meant_is_one_sentence(text: str, said: str, tmp_path: Path, call: Call) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(BadSource) as raised:
        load_baseline(str(path))
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_text_may_hold_the_day(tmp_path: Path) -> None:
    load_plugins()
    (tmp_path / "known.toml").write_text(GOOD.replace("2027-01-31", '"2027-01-31"'))
    assert load_baseline(str(tmp_path / "known.toml"))[0].expires == date(2027, 1, 31)


def test_the_way_of_a_finding_through_the_command_line(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "known.toml"
    saved = call("check", "--snapshot", BROKEN, "--save-baseline", str(path))
    assert saved.code == 0
    told = "1 acknowledged, 1 of them new: write there why (`reason`), and until when (`expires`)"
    assert saved.err == f"gpudoctor: {path}: {told}\n"
    assert "Acknowledged until" in saved.out
    path.write_text(path.read_text().replace("Not explained yet", "The kernel is never booted"))
    again = call("check", "--snapshot", BROKEN, "--baseline", str(path))
    assert (again.code, again.err) == (0, "")
    assert "Acknowledged until" in again.out
    assert "The kernel is never booted" in again.out
    assert "Nothing wrong was found but what is acknowledged." in " ".join(again.out.split())
    known = json.loads(call("check", "--snapshot", BROKEN, "--baseline", str(path), "--format", "json").out)
    assert known["findings"][0]["acknowledged"]["reason"].startswith("The kernel is never booted")
    assert (known["status"], known["exit_code"]) == ("info", 0)
    kept = call("check", "--snapshot", BROKEN, "--save-baseline", str(path))
    assert "1 acknowledged, 0 of them new\n" in kept.err
    assert "The kernel is never booted" in path.read_text()
    path.write_text(path.read_text().replace("expires = 20", 'expires = "2020-01-01" # 20'))
    over = call("check", "--snapshot", BROKEN, "--baseline", str(path))
    assert over.code == 2
    assert "is no longer acknowledged: that ended on 2020-01-01" in over.err


def test_a_file_that_is_damaged_or_cannot_be_written_stays_as_it_is(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "known.toml"
    path.write_text("[[half")
    done = call("check", "--snapshot", BROKEN, "--save-baseline", str(path))
    assert (done.code, done.out, path.read_text()) == (3, "", "[[half")
    assert call("check", "--snapshot", BROKEN, "--baseline", "/no/such/file").err == (
        "gpudoctor: /no/such/file: No such file or directory\n"
    )
    refused = call("check", "--snapshot", BROKEN, "--save-baseline", "/no/such/folder/known.toml")
    assert (refused.code, refused.out) == (3, "")
    assert "cannot write /no/such/folder/known.toml" in refused.err
    assert call("check", "--snapshot", BROKEN, "--save-baseline=-").code == 3
    assert os.listdir(tmp_path) == ["known.toml"]
