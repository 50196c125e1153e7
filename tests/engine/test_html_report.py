"""`check --format html`: one file, read back by a strict parser; the cause first, nothing run, everything escaped."""

import gc
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_line import gpudoctor
from html_machines import ADA, EVE, SCRIPT, sick_server
from html_pages import read_page, require_sound, texts

from gpudoctor.cli import run
from gpudoctor.cli.check import diagnose_with
from gpudoctor.diagnose import diagnose
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.findings import Check, Evidence, Finding, Outcome, Ranked, Report, Severity, Status
from gpudoctor.reports.html import as_html
from gpudoctor.testing import facts_of

MACHINES = Path(__file__).parents[1] / "machines"
HEADERS = str(MACHINES / "bookworm-kernel-upgraded-no-headers.json")
HEALTHY = str(MACHINES / "bookworm-healthy.json")


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page about a machine that is sick in several ways, printed where nothing but ASCII may be."""
    snapshot = sick_server(tmp_path_factory.mktemp("sick") / "server")
    done = gpudoctor("check", "--snapshot", str(snapshot), "--format", "html", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (2, "")
    return done.stdout


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page about a machine with one cause and what follows from it."""
    path = tmp_path_factory.mktemp("headers") / "report.html"
    assert check_into(path, HEADERS) == 2
    return require_sound(path.read_text(encoding="utf-8"))


def check_into(path: Path, snapshot: str) -> int:
    """`check --format html` in this process."""
    try:
        return run(["check", "--snapshot", snapshot, "--format", "html", "--output", str(path)])
    finally:
        gc.enable()  # the command line leaves it off, its process being over soon


def page_of(report: Report, *facts: object) -> Any:
    return require_sound(as_html("check", report, facts_of(*facts), 12))


def reported(*findings: Finding, severity: Severity = Severity.ERROR, id: str = "toy.sick") -> Report:
    check = Check(id, severity, (), (), "a toy", lambda: ())
    outcome = Outcome(check, Status.FOUND if findings else Status.OK, findings)
    return Report((outcome,), tuple(Ranked(check, one, severity, ()) for one in findings))


def test_a_sick_machine_is_one_sound_page(sick: str) -> None:
    assert sick.startswith("<!DOCTYPE html>\n<html lang=")
    assert sick.endswith("</html>\n")
    page = require_sound(sick)
    assert texts(page, "h1") == ["3 errors found. 1 more could not be told."]
    assert texts(page, "title") == ["gpudoctor check: 3 errors found. 1 more could not be told."]
    assert texts(page, "h2") == [
        *("What is wrong, and what to do", "GPUs", "Python environments"),
        *("What could not be told", "What was checked"),
    ]


def test_the_cause_comes_first_then_what_it_explains_then_what_to_do_and_the_proof_is_folded(headers: Any) -> None:
    (finding,) = headers.query("article.finding")
    assert texts(finding, "h4") == ["It explains", "What to do"]
    assert "headers of kernel 6.1.0-56-amd64 are not installed" in texts(finding, "h3")[0]
    assert "kernel.module-missing" in texts(finding, ".explains")[0]
    assert "apt install linux-headers-6.1.0-56-amd64" in texts(finding, ".remedy code")
    assert texts(finding, "pre.command") == ["gpudoctor fix --only kernel.headers-missing"]
    (proof,) = finding.query("details")
    assert "open" not in proof.attrs
    assert texts(proof, "summary") == ["Proof: 4 readings"]
    assert "/lib/modules/6.1.0-56-amd64/build" in texts(proof, "dt")
    assert "not there" in texts(proof, "dd")
    said = finding.to_text()
    assert said.index("It explains") < said.index("What to do") < said.index("Proof")


def test_without_a_style_sheet_no_two_words_stick_together(headers: Any, sick: str) -> None:
    labels = [*headers.query(".labels"), *read_page(sick).query(".untold .labels")]
    said = {" ".join(one.to_text(separator="", strip=False).split()) for one in labels}
    assert {"error kernel.headers-missing", "unknown It keeps this machine from being called fine."} <= said


def test_what_an_old_snapshot_was_not_asked_for_is_one_reason(headers: Any) -> None:
    assert texts(headers, ".untold h3") == ["not in the snapshot: gpudoctor did not ask for this when it was recorded"]


def test_the_command_of_a_finding_shows_the_repair(headers: Any) -> None:
    (line,) = texts(headers, "pre.command")
    program, *arguments = line.split()
    assert program == "gpudoctor"
    done = gpudoctor(*arguments, "--dry-run", "--snapshot", HEADERS)
    assert done.returncode == 0
    assert "linux-headers-6.1.0-56-amd64" in done.stdout


def test_the_command_names_the_environment_as_a_shell_takes_it(sick: str) -> None:
    first, second, third = (shlex.split(line) for line in texts(read_page(sick), "pre.command"))
    assert first == ["gpudoctor", "fix", "--only", "cupy.multiple-packages", "--python", EVE]
    assert second == ["gpudoctor", "fix", "--only", "health.fallen-off-bus"]
    assert third == ["gpudoctor", "fix", "--only", "torch.cpu-only", "--python", ADA]


def test_names_that_are_markup_stay_text(sick: str) -> None:
    page = require_sound(sick)  # no script, no handler, no element that is not ours
    assert page.query("b") == []
    assert sick.count("</title>") == sick.count("</style>") == 1
    assert "<!--" not in sick
    names = texts(page, "section:nth-of-type(2) tbody th")
    assert names[1] == f"1: {SCRIPT}"
    assert names[3] == "3: NVIDIA \\x1b[31m\\x00\\u202egnp. \\udcff</title></style><!-- \"' onload=alert(2) x='"
    assert EVE in texts(page, "section:nth-of-type(3) tbody th")


def test_each_gpu_and_each_environment_has_its_row_and_leads_to_what_is_wrong_with_it(sick: str) -> None:
    page = read_page(sick)
    gpus, environments = page.query("table")[:2]
    assert texts(gpus, "thead th") == [
        *("GPU", "State", "PCI address", "Held by", "Architecture", "Memory", "Temperature", "Power", "Load"),
        "PCIe link",
    ]
    rows = [texts(row, "td") for row in gpus.query("tbody tr")]
    assert rows[0] == [
        *("answers", "0000:07:00.0", "nvidia", "Hopper, 9.0", "3.0 of 24 GiB", "41 \u00b0C", "118 of 700 W", "0 %"),
        "Gen 5 x16",
    ]
    assert rows[2][0] == "error health.fallen-off-bus"
    assert rows[2][5] == "- not told"
    assert texts(environments, "tbody th") == [ADA, EVE]
    assert "torch.cpu-only" in texts(environments, "tbody td")[0]
    for link in page.query("td a"):
        (target,) = page.query(link.attrs["href"])
        assert texts(target, ".labels .id")[0] in link.to_text()


def test_what_could_not_be_told_says_why_and_whether_it_matters(sick: str) -> None:
    (first, second) = read_page(sick).query("article.untold")
    assert "no RECORD tells whose files lie there" in texts(first, "h3")[0]
    assert "keeps this machine from being called fine" in first.to_text()
    assert "python.nvidia-wheels-collide" in first.to_text()
    assert "being called fine" not in second.to_text()


def test_a_healthy_machine_says_so_and_has_no_empty_parts(tmp_path: Path) -> None:
    assert check_into(tmp_path / "report.html", HEALTHY) == 0
    page = require_sound((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert texts(page, "h1") == ["Nothing wrong was found."]
    assert page.query("h1")[0].attrs["class"] == "verdict ok"
    assert "What is wrong, and what to do" not in texts(page, "h2")
    assert page.query(".finding") == []
    assert re.search(r"took [0-9,]+ ms · exit code 0", page.query("footer")[0].to_text())
    assert "torch" in texts(page, "footer dt")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in texts(page, "footer dd"))


def test_every_check_is_in_the_list_with_its_outcome() -> None:
    facts = facts_of()
    report = diagnose_with(facts)
    page = require_sound(as_html("check", report, facts, 1))
    (checks,) = page.query("table.checks")
    assert [one.split()[0] for one in texts(checks, "tbody th")] == sorted(one.check.id for one in report.outcomes)
    assert len(texts(checks, ".outcome")) == len(report.outcomes)


def test_a_crash_of_ours_is_told_with_its_traceback_and_is_no_pass() -> None:
    def crash() -> list[Finding]:
        raise ZeroDivisionError("<b>by nothing</b>")

    report = diagnose(facts_of(), [Check("toy.crashes", Severity.ERROR, (), (), "a toy", crash)])
    page = page_of(report)
    assert page.query("h1")[0].attrs["class"] == "verdict unknown"
    (told,) = page.query("article.untold")
    assert texts(told, "h3") == ["ZeroDivisionError: <b>by nothing</b>"]
    assert "Traceback" in told.query("details")[0].to_text()


def test_what_is_merely_good_to_know_stands_apart() -> None:
    page = page_of(reported(Finding("A spare GPU."), severity=Severity.INFO))
    assert texts(page, "h1") == ["Nothing wrong was found."]
    assert texts(page, "h2")[0] == "Worth knowing"
    assert page.query("pre.command") == []


def test_what_no_fix_cures_is_left_to_a_person() -> None:
    page = page_of(reported(Finding("Sick.", remedy="Look `inside` it. An odd ` stays.")))
    assert texts(page, "pre.command") == ["gpudoctor explain toy.sick"]
    assert texts(page, ".remedy p code") == ["inside"]
    assert "An odd ` stays." in page.query(".remedy")[0].to_text()


def test_proof_keeps_its_lines() -> None:
    finding = Finding("Sick.", evidence=[Evidence("dmesg", "one\n  two\tthree\r\x0bfour")])
    (value,) = page_of(reported(finding)).query(".evidence dd")
    assert "".join(child.data for child in value.children) == "one\n  two\tthree  four"


@pytest.mark.parametrize(
    ("answer", "pci", "state"),
    [
        (None, {}, "not listed by NVML"),
        (None, {"readable": False}, "gone from the bus"),
        ({"return_code": 16, "return_name": "NVML_ERROR_RESET_REQUIRED"}, {}, "NVML_ERROR_RESET_REQUIRED"),
        ({"field_errors": {"temperature_c": "NVML_ERROR_UNKNOWN"}}, {}, "temperature_c: NVML_ERROR_UNKNOWN"),
        ({}, {}, "answers"),
    ],
)
def test_a_gpu_is_fine_only_where_it_answered(answer: dict[str, Any] | None, pci: dict[str, Any], state: str) -> None:
    address = "0000:01:00.0"
    gpu = PciGpu(address, "2335", "nvidia", "NVIDIA H200", "Hopper", "either", None, "")._replace(**pci)
    told = NvmlGpu(0, 0, "NVML_SUCCESS", "NVIDIA H200", "GPU-1", address, 1 << 37, (9, 0), True, {}, {})
    gpus = () if answer is None else (told._replace(**answer),)
    page = page_of(reported(), PciGpus((gpu,)), Nvml(0, "NVML_SUCCESS", "", "", "", "", 13000, gpus))
    assert texts(page, "tbody td")[0] == state
    without = page_of(reported(), PciGpus((gpu,)))
    assert texts(without, "tbody td")[0] == ("gone from the bus" if pci else "not asked")
    assert "NVML tells nothing" in without.to_text()


def test_text_and_background_differ_enough_in_both_schemes() -> None:
    """WCAG 2.1, 1.4.3: 4.5 to 1."""
    css = "".join(
        child.data for child in read_page(as_html("check", reported(), facts_of(), 1)).query("style")[0].children
    )
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", scheme))
        backs = [colours.pop(name) for name in ("back", "card", "sunk")]
        assert colours.pop("line")
        assert len(colours) == 9
        for name, colour in colours.items():
            for back in backs:
                assert _contrast(colour, back) >= 4.5, (name, colour, back)


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_page_that_cannot_be_written_is_one_clear_sentence_and_no_half_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "nowhere" / "report.html"
    assert check_into(output, HEALTHY) == 3
    assert capsys.readouterr() == ("", f"gpudoctor: cannot write {output}: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


def test_a_command_without_a_page_says_so() -> None:
    done = gpudoctor("fix", "--dry-run", "--snapshot", HEALTHY, "--format", "html")
    assert (done.returncode, done.stdout) == (3, "")
    assert "'html' is not one of 'text', 'json'" in done.stderr
