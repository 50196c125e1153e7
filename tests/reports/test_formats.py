"""Every format of a report is read back by somebody else's parser, with names in it that nobody should trust."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import pytest
from command_line import GPUDOCTOR, Call, calls
from gpu_machines import facts as facts_with
from hypothesis import given, settings
from hypothesis import strategies as st
from json_schema import require_described
from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families
from reported import EVIL, FULL, KNOWN, found, machine, report, undecided

from gpudoctor.cli import declared
from gpudoctor.exit_codes import EXIT_MAPS, FAIL_ON
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpus
from gpudoctor.findings import Evidence, Report, Severity
from gpudoctor.preflight.foresee import Foresight
from gpudoctor.preflight.transaction import Transaction
from gpudoctor.reports.formats import FORMATS, render
from gpudoctor.reports.github import MOST, SUMMARY_LIMIT, append_summary
from gpudoctor.reports.nagios import as_failure

MACHINES = Path(__file__).parents[1] / "machines"
BROKEN, HEALTHY = MACHINES / "bookworm-kernel-upgraded-no-headers.json", MACHINES / "bookworm-healthy.json"
PLAN = Path(__file__).parents[1] / "preflight/data/bookworm-dist-upgrade.txt"


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    return calls(capfd)


def shown(name: str, what: Report = FULL) -> str:
    return render(name, "check", what, machine(), 84)


def test_the_command_line_offers_what_there_is() -> None:
    assert [one.value for one in declared.ReportFormat] == [*FORMATS]
    assert [one.value for one in declared.FailOn] == [*FAIL_ON]
    assert [one.value for one in declared.ExitMapName] == [*EXIT_MAPS]


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_lets_the_machine_drive_a_terminal(name: str) -> None:
    text = shown(name)
    assert text.endswith("\n")
    assert not [one for one in text if not one.isprintable() and one != "\n"]


def test_what_is_acknowledged_does_not_shout() -> None:
    loud, quiet = (
        render("text", "check", report(found(acknowledged=known)), machine(), 1, colour=True) for known in (None, KNOWN)
    )
    assert "\x1b[1;31mERROR" in loud
    assert "\x1b[1;31m" not in quiet
    assert "ERROR" in quiet
    assert "Acknowledged until 2027-01-31: The vendor is asked" in quiet


# JSON


def test_json_is_what_its_schema_describes() -> None:
    document = json.loads(shown("json"))
    require_described(document)
    assert document["findings"][3]["acknowledged"] == {"reason": KNOWN.reason, "expires": "2027-01-31"}
    assert document["host"]["gpus"][0] == EVIL


@pytest.mark.parametrize("path", [BROKEN, HEALTHY], ids=lambda path: path.stem)
def test_the_json_of_recorded_machines_is_what_its_schema_describes(path: Path, call: Call) -> None:
    require_described(json.loads(call("check", "--snapshot", str(path), "--format", "json").out))


def test_the_json_of_preflight_is_described_too(call: Call) -> None:
    done = call("preflight", "--snapshot", str(HEALTHY), "--simulation", str(PLAN), "--format", "json")
    document = json.loads(done.out)
    require_described(document)
    assert document["findings"]
    del document["verdict"]
    with pytest.raises(jsonschema.ValidationError, match="verdict"):
        require_described(document)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"status": "fine"},
        {"exit_code": "2"},
        {"command": "bench"},
        {"findings": [{}]},
        {"outcomes": [{"check": "a.b", "status": "passed"}]},
        {"outcomes": [{"check": "a.b", "status": "ok", "surprise": 1}]},
        {"surprise": 1},
    ],
    ids=str,
)
def test_the_schema_can_refuse(change: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        require_described(json.loads(shown("json")) | change)


def test_json_says_what_other_verdicts_would_end_with() -> None:
    document = json.loads(shown("json", report(fail_on="error", exit_map="npd")))
    assert (document["exit_code"], document["exit_codes"]) == (0, {"error": 1, "warning": 0, "unknown": 0})


# JUnit


def test_junit_is_read_by_a_junit_library() -> None:
    (suite,) = junitparser.JUnitXml.fromstring(shown("junit").encode())
    cases = {case.name: case for case in suite}
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (7, 2, 2, 1)
    assert len(cases) == 7
    (failure,) = cases["library-mismatch [0000:01:00.0]"].result
    assert isinstance(failure, junitparser.Failure)
    assert "<script>alert(1)</script>" in failure.message
    assert "]]>" in failure.text
    assert cases["library-mismatch [0000:01:00.0]"].classname == "gpudoctor.driver"
    (skipped,) = cases["nvml-failed [0000:01:00.0]"].result
    assert isinstance(skipped, junitparser.Skipped)
    assert skipped.message.startswith("acknowledged until 2027-01-31: The vendor is asked")
    (error,) = cases["module-missing"].result
    assert isinstance(error, junitparser.Error)
    assert cases["no-gpu"].result == []
    assert cases["ecc-uncorrectable"].result == [], "a note fails nothing"


def test_junit_fails_for_what_the_exit_code_fails_for() -> None:
    rows = (found("gpu.mig-no-instances", Severity.WARNING), undecided())
    for fail_on, expected in {"warning": (1, 1), "unknown": (0, 1), "error": (0, 0), "never": (0, 0)}.items():
        (suite,) = junitparser.JUnitXml.fromstring(shown("junit", report(*rows, fail_on=fail_on)).encode())
        assert (suite.failures, suite.errors) == expected, fail_on


# SARIF


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the package that brings the schema needs Python 3.11")
@pytest.mark.parametrize("what", [FULL, report()], ids=["everything", "nothing"])
def test_sarif_satisfies_the_schema_of_the_standard(what: Report) -> None:
    from sarif_kit.validate import validation_errors

    assert validation_errors(json.loads(shown("sarif", what))) == []


def test_sarif_says_what_code_scanning_asks_for() -> None:
    (run,) = json.loads(shown("sarif"))["runs"]
    results = run["results"]
    assert [result["level"] for result in results] == ["error", "warning", "note", "error"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in results] == [result["ruleId"] for result in results]
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == (
        "file:///proc/driver/nvidia/version"
    )
    assert [len(result.get("suppressions", ())) for result in results] == [0, 0, 0, 1]
    told = run["invocations"][0]["toolExecutionNotifications"]
    assert [one["descriptor"]["id"] for one in told] == ["kernel.module-missing", "kernel.headers-missing"]
    assert run["invocations"][0]["executionSuccessful"] is False, "a check crashed"


@pytest.mark.parametrize("source", ["/a b, /c", "/a b and /c"])
def test_of_several_files_sarif_names_the_first(source: str) -> None:
    one = found()
    proof = one.finding._replace(evidence=(Evidence("NVML", "code 18"), Evidence(source, "there")))
    (run,) = json.loads(shown("sarif", report(one._replace(finding=proof))))["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///a%20b"


def test_the_same_problem_is_the_same_alert_whatever_its_words() -> None:
    def fingerprints(*summaries: str) -> set[str]:
        documents = [json.loads(shown("sarif", report(found(summary=one)))) for one in summaries]
        return {one["runs"][0]["results"][0]["partialFingerprints"]["gpudoctorProblem/v1"] for one in documents}

    assert len(fingerprints("It is 3 h ago.", "It is 4 h ago.")) == 1
    assert fingerprints("x") != {
        json.loads(shown("sarif", report(found(subject="0000:02:00.0"))))["runs"][0]["results"][0][
            "partialFingerprints"
        ]["gpudoctorProblem/v1"]
    }


# GitHub

COMMAND = re.compile(r"::(?P<level>error|warning|notice) title=(?P<title>[^:,\r\n]*)::(?P<message>[^\r\n]*)")


def commands(text: str) -> Iterator[tuple[str, str, str]]:
    """As the runner reads them: a command is a whole line, and %25, %0D, %0A (%3A, %2C in the title) are letters."""
    for line in text.splitlines():
        match = COMMAND.fullmatch(line)
        assert match, line
        assert not re.search(r"%(?!25|0D|0A|3A|2C)", line)
        title = match["title"].replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
        yield (
            match["level"],
            title,
            match["message"].replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%"),
        )


def test_annotations_are_whole_and_nothing_in_them_is_a_command() -> None:
    told = list(commands(shown("github")))
    assert [level for level, *_ in told] == ["error", "error", "error", "warning", "notice", "notice"]
    assert told[0][1] == "gpudoctor driver.library-mismatch"
    assert "%0A ::error::" in told[0][2]
    assert "Acknowledged until 2027-01-31" in told[-1][2]


def test_what_goes_beyond_the_limit_of_annotations_is_counted() -> None:
    many = [found(subject=f"gpu{number}") for number in range(25)]
    told = list(commands(shown("github", report(*many, found("gpu.mps-stale", Severity.WARNING)))))
    assert [level for level, *_ in told] == ["error"] * MOST + ["warning"]
    assert told[MOST - 1][1] == "gpudoctor: 16 more"
    assert "driver.library-mismatch" in told[MOST - 1][2]


def test_the_job_gets_its_summary(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# of another step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    done = call("check", "--snapshot", str(BROKEN), "--format", "github")
    assert done.code == 2
    assert [level for level, *_ in commands(done.out)] == ["error"]
    assert path.read_text().startswith("# of another step\n## gpudoctor check: error\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    refused = call("check", "--snapshot", str(BROKEN), "--format", "github")
    assert refused.code == 3
    assert "the summary of this job" in refused.err


def test_a_summary_never_grows_beyond_what_github_takes(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    append_summary(str(path), "a line\n" * 100_000)
    append_summary(str(path), "another ä\n" * 100_000)
    assert SUMMARY_LIMIT - 100 < path.stat().st_size <= SUMMARY_LIMIT
    assert path.read_text().endswith("another ä\n\n(cut: a summary holds 1 MiB)\n")
    append_summary(str(path), "no more\n" * 100)
    assert path.stat().st_size <= SUMMARY_LIMIT


# Markdown


def test_markdown_takes_nothing_of_the_machine_for_markup() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(shown("markdown"))
    inner = [child for token in tokens for child in token.children or ()]
    raw = [token.content.strip() for token in (*tokens, *inner) if token.type in ("html_block", "html_inline")]
    assert set(raw) == {"<details><summary>Proof</summary>", "</details>"}
    assert "link_open" not in {token.type for token in inner}
    words = " ".join(token.content for token in inner if token.type in ("text", "code_inline"))
    assert words.count("<script>alert(1)</script>") >= 4
    cells = [token for token in tokens if token.type in ("td_open", "th_open")]
    assert len(cells) == 2 * 5, "a pipe in a name opens no cell"


def test_markdown_tells_all() -> None:
    text = shown("markdown")
    assert text.index("### ERROR") < text.index("### WARNING") < text.index("### ACKNOWLEDGED")
    assert "Acknowledged until 2027-01-31" in text
    assert "`reboot`" in text or "Run \\`reboot\\`" in text
    assert "- `kernel.module-missing`:" in text


# Monitoring

# Nagios Plugin API 3 and the guidelines of monitoring-plugins.org: 'label'=value[UOM];[warn];[crit];[min];[max].
NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
RANGE = rf"@?(?:(?:~|{NUMBER})?:)?(?:{NUMBER})?"
DATUM = re.compile(
    rf"(?P<label>[^='\s]+|'(?:[^'=]|'')+')=(?P<value>{NUMBER}|U)(?P<unit>us|ms|s|%|[KMGT]?B|c|)"
    rf"(?:;(?P<warn>{RANGE})(?:;(?P<crit>{RANGE})(?:;(?P<min>{NUMBER})?(?:;(?P<max>{NUMBER})?)?)?)?)?"
)


def plugin_line(text: str) -> tuple[str, dict[str, re.Match[str]], list[str]]:
    first, *more = text.splitlines()
    words, bar, data = first.partition("|")
    assert bar
    assert "|" not in data
    assert not any("|" in line for line in more)
    assert len(text.encode()) <= 4096
    matches = [DATUM.fullmatch(datum) for datum in shlex.split(data, posix=False)]
    assert all(matches), data
    return words.strip(), {match["label"]: match for match in matches if match}, more


def test_nagios_prints_what_the_plugin_api_asks_for() -> None:
    words, data, more = plugin_line(shown("nagios"))
    assert words.startswith("GPU CRITICAL - driver.library-mismatch: Bad RTX")
    assert {label: match["value"] for label, match in data.items() if not label.startswith(("gpu0", "time"))} == {
        **{"errors": "1", "warnings": "1", "unknown": "2", "acknowledged": "1", "gpus": "2"}
    }
    assert (data["gpu0_temperature"]["value"], data["gpu0_power"]["max"]) == ("45", "700")
    assert (data["gpu0_memory_used"]["unit"], data["gpu0_utilization"]["unit"]) == ("B", "%")
    assert "gpu1_temperature" not in data, "what the driver does not tell is not 0"
    assert more[-1].startswith("ACKNOWLEDGED driver.nvml-failed")


@pytest.mark.parametrize(
    ("rows", "state", "code"),
    [
        ((), "OK", 0),
        ((found("gpu.mps-stale", Severity.WARNING),), "WARNING", 1),
        ((found(),), "CRITICAL", 2),
        ((undecided(),), "UNKNOWN", 3),
        ((found(acknowledged=KNOWN),), "OK", 0),
    ],
    ids=["fine", "warning", "error", "unknown", "acknowledged"],
)
def test_the_state_of_the_line_is_that_of_the_exit_code(rows: tuple[Any, ...], state: str, code: int) -> None:
    what = report(*rows)
    assert what.exit_code == code
    assert shown("nagios", what).startswith(f"GPU {state} - ")


def test_a_line_that_is_fine_says_what_was_let_pass() -> None:
    let_pass = report(found("gpu.mps-stale", Severity.WARNING), found(acknowledged=KNOWN), fail_on="error")
    words, *_ = plugin_line(shown("nagios", let_pass))
    assert words.startswith("GPU OK - ")
    assert words.endswith("driver 580.95.05, 1 acknowledged, warning let pass")


def test_the_line_of_many_findings_stays_short() -> None:
    words, _, more = plugin_line(
        shown("nagios", report(*[found(subject=f"g{n}", summary="x" * 999) for n in range(9)]))
    )
    assert len(words) <= 240
    assert len(more) == 9
    text = shown("nagios", report(*[found(subject=f"g{n}") for n in range(99)]))
    assert text.splitlines()[-1] == "and 79 more"


@pytest.mark.parametrize(
    "what",
    [FULL, report(), report(undecided()), report(found(summary="ä" * 200)), report(found(summary="x"))],
)
def test_node_problem_detector_gets_eighty_bytes_of_ascii(what: Report) -> None:
    text = shown("npd", what)
    assert text.isascii()
    assert text.count("\n") == 1
    assert len(text.rstrip("\n")) <= 80


@pytest.mark.parametrize("form", ["nagios", "npd"])
def test_monitors_are_told_why_there_was_no_check(form: str, call: Call) -> None:
    done = call("check", "--snapshot", "/no/such|file", "--format", form)
    assert done.code == 3
    assert done.out.upper().startswith(("GPU UNKNOWN - ", "UNKNOWN: "))
    assert "No such file" in done.out
    assert done.out.count("\n") == 1
    assert "|" not in done.out or form == "npd"


def test_prometheus_reads_what_is_written() -> None:
    text = shown("prometheus")
    samples = {
        (sample.name, *sorted(sample.labels.items())): (sample.value, sample.timestamp)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert {family.type for family in text_string_to_metric_families(text)} == {"gauge"}
    assert len(samples) == sum(not line.startswith("#") for line in text.splitlines()), "no series twice"
    assert samples[("gpudoctor_status", ("status", "error"))] == (1, None)
    assert samples[("gpudoctor_exit_code",)] == (2, None)
    assert samples[("gpudoctor_findings", ("acknowledged", "true"), ("severity", "error"))] == (1, None)
    assert samples[("gpudoctor_undecided", ("id", "kernel.module-missing"))] == (1, None)
    subjects = [dict(key[1:])["subject"] for key in samples if key[0] == "gpudoctor_finding"]
    assert any('"q" \\ %0A' in subject for subject in subjects)
    assert text.encode()  # UTF-8


def test_names_and_types_are_the_same_whatever_was_found() -> None:
    def heads(what: Report) -> list[str]:
        return [line for line in shown("prometheus", what).splitlines() if line.startswith("#")]

    assert heads(FULL) == heads(report())


def test_two_findings_on_one_subject_are_one_series() -> None:
    text = shown("prometheus", report(found(summary="One."), found(summary="Two.")))
    assert text.count("gpudoctor_finding{") == 1


# Before an upgrade

UPGRADE = ("preflight", "--snapshot", str(HEALTHY), "--simulation", str(PLAN))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("markdown", "1 error foreseen. ("),
        ("junit", '<failure message="The headers of kernel 6.1.0-56-amd64 are not installed'),
        ("sarif", '"ruleId": "kernel.headers-missing"'),
        ("github", "::error title=gpudoctor kernel.headers-missing::The headers"),
        ("nagios", "GPU CRITICAL - kernel.headers-missing"),
        ("npd", "kernel.headers-missing: "),
        ("prometheus", 'command="preflight"'),
    ],
)
def test_preflight_speaks_the_same_formats(form: str, said: str, call: Call) -> None:
    done = call(*UPGRADE, "--format", form)
    assert (done.code, done.err) == (1 if form == "npd" else 2, "")
    assert said in done.out
    assert "gpudoctor fix" not in done.out


def test_preflight_ends_with_the_code_that_was_asked_for(call: Call) -> None:
    assert call(*UPGRADE, "--exit-map", "retry").code == 75
    assert json.loads(call(*UPGRADE, "--fail-on", "never", "--format", "json").out)["exit_code"] == 0
    assert call(*UPGRADE, "--fail-on", "never", "--quiet") == (0, "", "")
    assert call("preflight", "--snapshot", str(HEALTHY), "--format", "nagios").out.startswith("GPU UNKNOWN - ")


def test_what_could_not_be_foreseen_is_unknown_in_every_format() -> None:
    plan = Transaction("dpkg", (), (), "apt")
    foresight = Foresight(report(), report(), machine(), (), (), None, plan, ("no list is here",))
    assert (foresight.exit_code, foresight.report.status) == (3, "unknown")
    assert "preflight.undecided could not be told: no list is here" in render(
        "nagios", "preflight", foresight.report, machine(), 1
    )
    assert "Nothing gets worse, but not everything could be told." in render(
        "markdown", "preflight", foresight.report, machine(), 1
    )


# Anything at all


@settings(max_examples=15, deadline=None)
@given(st.text(), st.text())
def test_no_text_breaks_a_format(summary: str, subject: str) -> None:
    what = report(
        found(summary=summary, subject=subject),
        found("gpu.mps-stale", Severity.WARNING, subject, summary=summary, acknowledged=KNOWN),
        undecided()._replace(reason=summary),
    )
    require_described(json.loads(shown("json", what)))
    assert len(json.loads(shown("sarif", what))["runs"][0]["results"]) == 2
    (suite,) = junitparser.JUnitXml.fromstring(shown("junit", what).encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 1, 1, 1)
    assert [level for level, *_ in commands(shown("github", what))] == ["error", "error", "notice"]
    plugin_line(shown("nagios", what))
    assert len(shown("npd", what)) <= 81
    samples = [one for family in text_string_to_metric_families(shown("prometheus", what)) for one in family.samples]
    assert sum(sample.name == "gpudoctor_finding" for sample in samples) == 2
    headings = [
        token for token in MarkdownIt("commonmark").parse(shown("markdown", what)) if token.type == "heading_open"
    ]
    assert [heading.tag for heading in headings] == ["h2", "h3", "h3", "h3"]


# The command line


@pytest.mark.parametrize("form", FORMATS)
def test_standard_output_and_a_file_hold_the_same_and_nothing_else(form: str, tmp_path: Path, call: Call) -> None:
    path = tmp_path / "report"
    printed = call("check", "--snapshot", str(BROKEN), "--format", form)
    written = call("check", "--snapshot", str(BROKEN), "--format", form, "--output", str(path))
    assert printed.code == written.code == (1 if form == "npd" else 2)
    assert (printed.err, written.err, written.out) == ("", "", "")
    assert _timeless(printed.out) == _timeless(path.read_text())
    assert [entry.name for entry in tmp_path.iterdir()] == ["report"]


def _timeless(text: str) -> str:
    return re.sub(r"\d+(\.\d+)? ms|time=[\"\d.]+|\"duration_ms\": \d+|duration_seconds [\d.]+", "TIME", text)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_a_sentence_and_leaves_the_device_alone(call: Call) -> None:
    before = Path("/dev/full").stat()
    done = call("check", "--snapshot", str(BROKEN), "--format", "sarif", "--output", "/dev/full")
    assert done == (3, "", "gpudoctor: cannot write /dev/full: No space left on device\n")
    after = Path("/dev/full").stat()
    assert (before.st_ino, before.st_rdev) == (after.st_ino, after.st_rdev)


def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.sarif"
    path.write_text("the old one\n")
    # -B: no bytecode is written, for what is cut off of it Python does not notice before it reads it again.
    command = f"ulimit -f 1; {sys.executable} -B -m gpudoctor check --snapshot {BROKEN} --format sarif --output {path}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"gpudoctor: cannot write {path}: File too large\n"
    assert path.read_text() == "the old one\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.sarif"]


def test_an_output_that_is_no_plain_file_is_written_to_and_stays_what_it_was(tmp_path: Path, call: Call) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    assert call("check", "--snapshot", str(BROKEN), "--format", "npd", "--output", str(link)).code == 1
    assert link.is_symlink()
    assert target.read_text().startswith("kernel.headers-missing")
    words = [*GPUDOCTOR, "check", "--snapshot", str(BROKEN), "--format", "npd", "--output", "/dev/stdout"]
    done = subprocess.run(words, stdout=subprocess.PIPE, encoding="utf-8", timeout=60, check=False)
    assert done.stdout == target.read_text()
    refused = call("check", "--snapshot", str(BROKEN), "--output", str(tmp_path))
    assert refused.code == 3
    assert "Is a directory" in refused.err


@pytest.mark.parametrize("form", ["junit"])
def test_a_reader_that_goes_away_is_no_crash(form: str) -> None:
    command = f"{sys.executable} -m gpudoctor check --snapshot {BROKEN} --format {form} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_what_cannot_be_told_of_a_disk_is_not_shown_as_known(tmp_path: Path, call: Call) -> None:
    for folder in ("etc", "boot", "usr/lib/modules/6.1.0-50-amd64"):
        (tmp_path / "disk" / folder).mkdir(parents=True)
    (tmp_path / "disk/boot/vmlinuz-6.1.0-50-amd64").touch()
    (tmp_path / "disk/etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    snapshot = str(tmp_path / "disk.json")
    assert call("snapshot", "--root", str(tmp_path / "disk"), "--output", snapshot).code == 0
    for source in (["--root", str(tmp_path / "disk")], ["--snapshot", snapshot]):
        told = {form: call("check", *source, "--format", form).out for form in ("nagios", "npd", "prometheus", "html")}
        assert told["nagios"].startswith("GPU OK - which GPUs there are could not be told | ")
        assert "gpus=" not in told["nagios"]
        assert told["npd"] == "GPU ok: which GPUs there are could not be told\n"
        assert "gpudoctor_gpus gauge" in told["prometheus"]
        assert not re.search(r"^gpudoctor_gpus ", told["prometheus"], re.MULTILINE)
        assert "none loaded" not in told["html"]
    empty = facts_with(LoadedDriver("", "", "", "", {}), PciGpus(()), without=(Nvml,))
    assert "none loaded" in render("html", "check", report(), empty, 1), "of a machine that runs it is known"
    assert "GPU OK - no GPU seen | " in render("nagios", "check", report(), empty, 1)
    assert " gpus=0;" in render("nagios", "check", report(), empty, 1)


def test_a_line_that_was_cut_says_so() -> None:
    told = shown("nagios", report(found(summary="x" * 999), undecided()))
    assert [line.endswith("...") for line in told.splitlines()] == [False, True]
    assert len(told.splitlines()[1]) == 240
    assert as_failure("y" * 999).endswith("y...\n")


@pytest.mark.parametrize(
    "words", ["check --format nagios --nope", "check --nope --format=nagios", "preflight --format nagios --timeout x"]
)
def test_monitors_are_told_of_wrong_usage_that_typer_finds(words: str, call: Call) -> None:
    done = call(*words.split())
    assert done.code == 3
    assert done.out.startswith("GPU UNKNOWN - ")
    assert done.out.count("\n") == 1
    assert "Usage: gpudoctor" in done.err
