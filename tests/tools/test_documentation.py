"""The documentation: its commands run as they are written, its code is the example's, its links lead somewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Called, calls
from documented import (
    NOT_RUN,
    TREE,
    Shown,
    calls_of,
    complaint,
    distinct,
    documents,
    named_in,
    prepare,
    require_accepted,
    shown_in,
    shows,
)

from gpudoctor.cli.settings import found_settings
from gpudoctor.exit_codes import EXIT_MAPS

DOCS = TREE / "docs"
EXAMPLE = TREE / "examples/gpudoctor-scratch"
PAGES = [path for path in documents() if path.parent == DOCS]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_runs_as_written(page: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call = calls(capfd)
    run = [one for one in distinct(page) if not one.slow and not one.why_not_run]
    wrong = {f"{one.place}: {one.command}": complaint(one, call(*one.words[1:])) for one in run}
    assert {where: why for where, why in wrong.items() if why} == {}


SLOW = [one for page in documents() for one in distinct(page) if one.slow and not one.why_not_run]


@pytest.mark.slow
@pytest.mark.parametrize("one", SLOW, ids=lambda one: one.place)
def test_every_slow_command_runs_as_written(one: Shown, place: Path, installed: dict[str, str]) -> None:
    programs = place / "bin"
    programs.mkdir()
    for name in ("gpudoctor", "python"):
        words = "-m gpudoctor" if name == "gpudoctor" else ""
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (programs / name).chmod(0o755)
    (place / "examples").symlink_to(TREE / "examples")
    path = f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        ["bash", "-c", one.command],
        env={**installed, "PATH": path, "HOME": str(place), "GPUDOCTOR_STATE": str(place / "state")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert complaint(one, Called(done.returncode, done.stdout, done.stderr)) == ""


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.stem)
def test_every_gpudoctor_that_is_shown_is_called_rightly(page: Path) -> None:
    for one in (*shown_in(page), *named_in(page)):
        for arguments in calls_of(one.plain):
            try:
                require_accepted(arguments)
            except Exception as error:
                raise AssertionError(f"{one.place}: {one.command}: {error}") from error


def test_what_is_wrong_would_be_noticed(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call = calls(capfd)
    for words in (
        "check --snapshott x",
        "check --only nonsense",
        "diff before.json missing.json",
        "triage missing.txt",
    ):
        one = Shown(f"gpudoctor {words}", "")
        assert complaint(one, call(*one.words[1:])), words
    assert [*calls_of("sudo gpudoctor hook apt --install && x | .venv/bin/gpudoctor fix")] == [
        ["hook", "apt", "--install"],
        ["fix"],
    ]
    with pytest.raises(Exception, match="No such option"):
        require_accepted(["bench", "plan", "vgg16", "--quick"])
    assert shows("one\n...\nfour\n", "one\ntwo\nthree\n  four")
    assert not shows("one\nfour\n", "one\ntwo\nfour")


def test_nothing_is_excused_for_no_reason() -> None:
    commands = [one.plain for page in documents() for one in shown_in(page)]
    assert [begin for begin in NOT_RUN if not any(re.match(begin, command) for command in commands)] == []


def code(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_check_in_fifteen_lines_is_that_of_the_example() -> None:
    files = [*EXAMPLE.glob("*/*.py"), EXAMPLE / "pyproject.toml"]
    sources = [file.read_text("utf-8") for file in files]
    blocks = [*code("own-checks.md", "python"), *code("own-checks.md", "toml")]
    assert len(blocks) == 5
    for block in blocks:
        assert any(block in source for source in sources), block
    (first, *_) = blocks
    assert first.startswith("@check(")
    assert (EXAMPLE / "gpudoctor_scratch/checks.py").read_text("utf-8").endswith(first), "the whole check"


@pytest.mark.parametrize(("ended", "drained"), [(0, False), (1, True), (3, False), (127, False)])
def test_slurm_drains_a_node_for_its_gpu_and_for_nothing_else(place: Path, ended: int, drained: bool) -> None:
    prolog, health = (block for block in code("recipes.md", "sh") if "--exit-map slurm" in block)
    for name, lines in (
        ("gpudoctor", f"echo 'pci.no-gpu: gone'\nexit {ended}"),
        ("scontrol", f"printf '%s\\n' \"$@\" >>{place}/told"),
    ):
        (place / name).write_text(f"#!/bin/sh\n{lines}\n")
        (place / name).chmod(0o755)
    environment = {"PATH": f"{place}:/usr/bin:/bin", "SLURMD_NODENAME": "n1"}
    ends = [subprocess.run(["sh", "-c", one], env=environment, check=False).returncode for one in (prolog, health)]
    assert ends == [int(drained), 0]
    told = (place / "told").read_text().splitlines() if drained else []
    assert told == (["update", "nodename=n1", "state=drain", "reason=pci.no-gpu: gone"] if drained else [])
    assert (place / "told").exists() == drained


def test_node_problem_detector_is_told_how_to_call(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (text,) = code("recipes.md", "json")
    configuration = json.loads(text)
    (condition,), (rule,) = configuration["conditions"], configuration["rules"]
    assert (configuration["plugin"], rule["condition"]) == ("custom", condition["type"])
    done = calls(capfd)(*rule["args"], "--snapshot", "before.json")
    assert (done.code, done.out[:22]) == (1, "kernel.headers-missing")
    assert len(done.out.strip().encode()) <= configuration["pluginConfig"]["max_output_length"]


def test_the_code_beside_the_json_report_finds_the_cause(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls(capfd)("check", "--snapshot", "before.json", "--format", "json", "--output", "report.json")
    (program,) = code("json.md", "python")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=place, check=True)
    assert done.stdout.startswith("kernel.headers-missing The headers of kernel")


@pytest.mark.usefixtures("place")
def test_the_settings_that_are_shown_can_be_meant() -> None:
    (block,) = code("formats.md", "toml")
    Path("gpudoctor.toml").write_text(block)
    assert None not in found_settings(None)._replace(deep_timeout=1.0)


def test_the_table_of_exit_codes_is_the_one_that_is_kept() -> None:
    text = (DOCS / "formats.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)`.*? \| (\d+) \| (\d+) \| (\d+) \| `(\w+)` \|$", text, re.M)
    assert [(name, (int(e), int(w), int(u), fail_on)) for name, e, w, u, fail_on in rows] == [*EXIT_MAPS.items()]


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_link_leads_to_a_file_and_a_heading_of_the_repository() -> None:
    links = [
        (page, *found.groups())
        for page in documents()
        for found in re.finditer(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text("utf-8"))
    ]
    assert len(links) > 20
    for page, target, anchor in links:
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}#{anchor}"


def test_the_picture_shows_what_the_program_prints() -> None:
    done = subprocess.run(
        [sys.executable, TREE / "tools/picture.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"url\((?!#)|@import|href|<script", (DOCS / "check.svg").read_text("utf-8"))
