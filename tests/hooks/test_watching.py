"""The watch of cron and systemd: it tells what has come and what has gone, once, to whom it was asked to tell."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live_machines import KERNEL, debian

from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.findings import Check, Finding, Outcome, Ranked, Report, Severity, Status
from gpudoctor.hooks import notify, watch
from gpudoctor.hooks.notify import deliver
from gpudoctor.hooks.run import run_hook
from gpudoctor.host import BadSource
from gpudoctor.last_look import Known, changes_in_words, state_after
from gpudoctor.registry import Facts
from gpudoctor.testing import MachineTree

Watch = Callable[..., tuple[int, str, str]]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian machine in a folder, watched; its state folder lies beside it."""
    folder = tmp_path / "machine"
    folder.mkdir()
    tree = debian(folder)
    monkeypatch.setattr("gpudoctor.machine.LiveHost", lambda *_: tree)
    monkeypatch.setattr(watch, "state_folder", lambda: str(tmp_path / "state"))
    return folder


@pytest.fixture
def watched(files: Path, capfd: pytest.CaptureFixture[str]) -> Watch:
    def call(*words: str) -> tuple[int, str, str]:
        code = run_hook(["watch", *words])
        told = capfd.readouterr()
        return code, told.out, told.err

    return call


def harm(files: Path) -> None:
    """The headers of the kernel and its module are gone."""
    (files / f"lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko").unlink()


def test_it_tells_what_came_and_what_went_and_nothing_in_between(files: Path, watched: Watch) -> None:
    first = watched()
    assert first[0] == 0
    assert "module" not in first[1]  # whatever else is wrong with a machine in a folder
    assert watched() == (0, "", "")
    module = files / f"lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko"
    content = module.read_bytes()
    harm(files)
    code, told, errors = watched()
    assert (code, errors) == (0, "")
    assert told.startswith("New:\n  ")
    assert KERNEL in told
    assert "`gpudoctor fix` repairs it." in told
    assert watched() == (0, "", "")
    module.write_bytes(content)
    code, told, errors = watched()
    assert (code, errors) == (0, "")
    assert told.startswith("Gone:\n  ")
    assert watched() == (0, "", "")


def test_what_could_not_be_told_to_anybody_is_told_the_next_time(
    files: Path, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched()
    harm(files)
    monkeypatch.setattr(notify, "_SENDMAIL", ("/no/such/sendmail",))
    monkeypatch.setenv("PATH", "/nonexistent")
    for _ in range(2):
        code, told, errors = watched("--notify", "mail:root")
        assert (code, told) == (3, "")
        assert errors == (
            "gpudoctor: the change could not be reported, and will be the next time: mail:root: there is neither"
            " sendmail nor mail here\n"
        )
    assert KERNEL in watched()[1]


def test_a_damaged_memory_leads_to_telling_all_anew(files: Path, watched: Watch, tmp_path: Path) -> None:
    harm(files)
    first = watched()[1]
    (tmp_path / "state/watch.json").write_text('[["half"')
    code, told, errors = watched()
    assert (code, told) == (0, first)
    assert errors.startswith("gpudoctor: ")
    assert "is damaged: everything is reported anew" in errors


def test_a_state_folder_of_somebody_else_is_not_used(files: Path, watched: Watch, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    code, told, errors = watched()
    assert (code, told) == (3, "")
    assert "can be changed by others" in errors


def test_the_number_of_gpus_is_watched_too(watched: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ExpectedGpus] = []

    def diagnose(facts: Facts, checks: object) -> Report:
        asked.append(facts.get(ExpectedGpus))
        return Report((), ())

    monkeypatch.setattr(watch, "diagnose", diagnose)
    assert watched("--expect-gpus", "8") == (0, "", "")
    assert asked == [ExpectedGpus(8)]


@pytest.mark.parametrize(
    "words", [["--notify"], ["--notify", "pager"], ["--often", "yes"], ["--expect-gpus", "-1"], ["now"]], ids=" ".join
)
def test_a_wrong_option_is_said(words: list[str], watched: Watch) -> None:
    code, told, errors = watched(*words)
    assert (code, told) == (3, "")
    assert errors.count("\n") == 1


def check(id: str) -> Check:
    return Check(id, Severity.ERROR, (), (), "in a test", lambda: ())


def report(*outcomes: tuple[str, Status, Severity, str]) -> Report:
    """Of checks by id: what became of each, and what it found ("" nothing)."""
    rows, findings = [], []
    for id, status, severity, summary in outcomes:
        found = (Finding(summary, "", (), "Do this."),) if summary else ()
        reason = "" if status in (Status.OK, Status.FOUND) else "no answer in 10 s"
        rows.append(Outcome(check(id), status, found, reason, status is Status.UNKNOWN))
        findings += [Ranked(check(id), one, severity, ()) for one in found if status is Status.FOUND]
    return Report(tuple(rows), tuple(findings))


ERROR, WARNING = Severity.ERROR, Severity.WARNING
BEFORE = {("a.b", "", ""): Known("WARNING", "A is ill.", "Do this.")}


def words(after: Report, before: object = BEFORE) -> str:
    return changes_in_words(before, state_after(after, before))  # type: ignore[arg-type]


def test_what_could_not_be_looked_at_is_not_taken_for_mended() -> None:
    for status in (Status.UNKNOWN, Status.CRASHED, Status.BLOCKED):
        assert "Gone" not in words(report(("a.b", status, ERROR, "")))
    assert words(report(("a.b", Status.OK, ERROR, ""))) == (
        "Gone:\n  WARNING A is ill.\n\nNothing is wrong any more.\n"
    )


def test_a_subject_that_could_not_be_judged_is_not_taken_for_mended() -> None:
    before = {("a.b", "gpu1", ""): Known("WARNING", "GPU 1 is ill.", "Do this.")}
    after = report(("a.b", Status.FOUND, ERROR, "A is ill."))
    assert "Gone:" in words(after, before)
    could_not_tell = after.outcomes[0]._replace(reason="gpu1: no answer in 10 s")
    assert "Gone:" not in words(after._replace(outcomes=(could_not_tell,)), before)


def test_that_it_could_not_be_told_is_news_by_itself() -> None:
    said = words(report(("a.b", Status.UNKNOWN, ERROR, "")))
    assert said.startswith("New:\n  UNKNOWN a.b could not be told: no answer in 10 s\n")
    assert said.endswith("`gpudoctor check` shows all of it with its proof.\n"), "there is nothing to repair"
    assert "1 more as before." in said


def test_a_cause_that_covers_a_known_problem_is_told_without_declaring_that_one_gone() -> None:
    said = words(report(("c.d", Status.FOUND, ERROR, "C is the cause."), ("a.b", Status.BLOCKED, WARNING, "A is ill.")))
    assert said == (
        "New:\n  ERROR C is the cause.\n    Do this.\n\n1 more as before.\n"
        "`gpudoctor check` shows all of it with its proof, `gpudoctor fix` repairs it.\n"
    )


def test_a_warning_that_becomes_an_error_is_told_again() -> None:
    assert words(report(("a.b", Status.FOUND, WARNING, "A is ill."))) == ""
    assert words(report(("a.b", Status.FOUND, ERROR, "A is dying."))).startswith("Worse:\n  ERROR A is dying.\n")


def test_an_error_that_becomes_a_warning_is_told() -> None:
    before = {("a.b", "", ""): Known("ERROR", "A is dying.", "Do this.")}
    eased = report(("a.b", Status.FOUND, WARNING, "A is ill."))
    assert words(eased, before) == "Less severe than before:\n  WARNING A is ill.\n"
    assert words(eased, state_after(eased, before)) == ""


def test_notes_wake_nobody() -> None:
    assert words(report(("a.b", Status.FOUND, Severity.INFO, "A is green.")), {}) == ""


@pytest.fixture
def teller(tmp_path: Path) -> Path:
    """A program that writes down its words and its standard input."""
    path = tmp_path / "tell"
    path.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {tmp_path}/words\ncat > {tmp_path}/said\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of tests lie where others can write."""
    monkeypatch.setattr(notify, "require_only_root_changes", lambda path: None)


@pytest.mark.usefixtures("trusted")
def test_a_command_gets_the_report_on_standard_input(teller: Path, tmp_path: Path) -> None:
    deliver([f"command:{teller}"], "subject", "the report ä\udce4\n", ERROR)
    assert (tmp_path / "said").read_bytes() == "the report ä?\n".encode()
    assert (tmp_path / "words").read_text() == "|"


def test_mail_goes_through_sendmail_with_a_subject_that_cannot_add_headers(
    teller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_SENDMAIL", (str(teller),))
    deliver(["mail:ops@example.org"], "GPU gone\nBcc: everybody@example.org ä", "the report\n", ERROR)
    assert (tmp_path / "words").read_text() == "-i|ops@example.org|"
    head, _, body = (tmp_path / "said").read_text().partition("\n\n")
    assert head.splitlines()[:2] == ["To: ops@example.org", "Subject: GPU gone Bcc: everybody@example.org ?"]
    assert "Bcc:" not in "".join(line for line in head.splitlines() if not line.startswith("Subject:"))
    assert body == "the report\n"


def test_mail_takes_the_program_mail_where_there_is_no_sendmail(
    teller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teller.rename(tmp_path / "mail")
    monkeypatch.setattr(notify, "_SENDMAIL", ("/no/such/sendmail",))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    deliver(["mail:root"], "a subject", "the report\n", ERROR)
    assert (tmp_path / "words").read_text() == "-s|a subject|root|"
    assert (tmp_path / "said").read_text() == "the report\n"


def test_wall_speaks_to_all_terminals(teller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teller.rename(tmp_path / "wall")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    deliver(["wall"], "a subject", "the report\n", ERROR)
    assert (tmp_path / "said").read_text() == "a subject\n\nthe report\n"


@pytest.mark.usefixtures("trusted")
def test_who_can_be_reached_is_told_and_who_cannot_is_named(
    teller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    bad.write_text("#!/bin/sh\necho nobody is there >&2\nexit 7\n")
    bad.chmod(0o755)
    deliver([f"command:{bad}", f"command:{teller}"], "subject", "the report\n", ERROR)
    assert (tmp_path / "said").read_text() == "the report\n"
    assert capsys.readouterr().err == f"gpudoctor: command:{bad}: {bad} ended with exit code 7: nobody is there\n"
    with pytest.raises(BadSource, match="exit code 7: nobody is there"):
        deliver([f"command:{bad}"], "subject", "the report\n", ERROR)
    monkeypatch.setattr(notify, "TIMEOUT", 0.2)
    bad.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(BadSource, match="did not end in 0 s"):
        deliver([f"command:{bad}"], "subject", "the report\n", ERROR)


@pytest.mark.skipif(os.geteuid() != 0, reason="asks what others than root can change")
def test_root_runs_no_command_that_others_can_change(teller: Path) -> None:
    teller.chmod(0o777)
    with pytest.raises(BadSource, match="can be changed by others than root"):
        deliver([f"command:{teller}"], "subject", "the report\n", ERROR)


def test_the_system_log_takes_a_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[int, str]] = []
    monkeypatch.setattr("syslog.syslog", lambda priority, text: logged.append((priority, text)))
    monkeypatch.setattr("os.path.exists", lambda path: True)
    deliver(["syslog"], "subject", "New:\n\n  ERROR \x1b[31mred\n", ERROR)
    assert logged == [(3, "New:"), (3, "  ERROR  [31mred")]


def test_without_a_system_log_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.exists", lambda path: path != "/dev/log")
    with pytest.raises(BadSource, match="there is no /dev/log"):
        deliver(["syslog"], "subject", "text", ERROR)


def test_what_is_not_found_out_in_time_is_not_taken_for_mended(
    files: Path, watched: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm(files)
    assert "there is no NVIDIA module for it" in watched()[1]
    read = MachineTree.read

    def stuck(host: MachineTree, path: str, **part: int | None) -> str | None:
        if path == "/var/lib/dpkg/status":
            time.sleep(60)
        return read(host, path, **part)

    monkeypatch.setattr(MachineTree, "read", stuck)
    monkeypatch.setattr(watch, "GLOBAL_TIMEOUT", 0.5)
    began = time.monotonic()
    code, told, _ = watched()
    assert time.monotonic() - began < 20
    assert code == 0
    assert "could not be told: no answer in 0.5 s, the time of the whole run" in told
    assert "Gone:" not in told


def test_the_memory_is_written_whole(files: Path, watched: Watch, tmp_path: Path) -> None:
    harm(files)
    watched()
    rows = json.loads((tmp_path / "state/watch.json").read_text())
    assert all(len(row) == 6 for row in rows)
    listed = subprocess.run(("ls", "-A", str(tmp_path / "state")), capture_output=True, text=True, check=True)
    assert listed.stdout == "watch.json\n"


def test_our_own_bug_is_a_sentence_and_no_warning(watched: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Report:
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(watch, "_report", fail)
    code, told, errors = watched()
    assert (code, told) == (3, "")
    assert errors == "gpudoctor: its hook watch failed, so nothing is known (IndexError: tuple index out of range)\n"
