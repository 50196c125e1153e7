"""Plans as a reader meets them: a table, a script that a shell accepts, JSON; and where they belong."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import gpudoctor
from disk_trees import let_everybody_in
from live_machines import NEW, OLD, UPGRADED, debian

from gpudoctor.cli.check import diagnose_with
from gpudoctor.diagnose import diagnose
from gpudoctor.findings import Check, Finding, Severity
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import (
    Effort,
    Findings,
    Fix,
    Manual,
    Phase,
    Reboot,
    RemoveFile,
    Risk,
    Run,
    Step,
    WriteFile,
    make_plan,
)
from gpudoctor.reports.plan import Place, PlanReport, place_of
from gpudoctor.reports.plan_json import as_json
from gpudoctor.reports.plan_script import as_script
from gpudoctor.reports.plan_text import as_text


class Weather(NamedTuple):
    rain: bool


def _wet(weather: Weather) -> Iterator[Finding]:
    yield Finding("the street is wet; it's $HOME `rm`", "street")


def _umbrella(weather: Weather) -> Iterator[Step]:
    yield Step(
        Run(("open", "the umbrella; $x")), "rain stays off", Phase.INSTALL, Risk.MEDIUM, undo=Run(("close", "it"))
    )
    yield Step(WriteFile("/etc/rain's", "a'b\n$c\n"), "to remember", Phase.CONFIGURE, verify=Run(("test", "-e", "/x")))
    yield Step(Reboot(), "dry again", Phase.REBOOT)


def _stay(weather: Weather, findings: Findings) -> Iterator[Step]:
    yield Step(Manual(f"Stay at home ({findings.items[0][1].subject})"), "no rain there", Phase.STOP)
    yield Step(RemoveFile("/etc/old"), "not needed", Phase.REMOVE)
    yield Step(Run(("zypper", "install", "x")), "more", Phase.INSTALL)
    yield Step(Reboot(), "twice wanted", Phase.REBOOT)


def _nothing(weather: Weather) -> Iterator[Step]:
    yield from ()


def _cannot(host: Host) -> Iterator[Step]:
    raise Unavailable("nobody knows")


HERE = Place(True, "")


def _planned(*fixes: Fix, place: Place = HERE) -> PlanReport:
    from gpudoctor.snapshot import SnapshotHost

    facts = Facts(SnapshotHost({}), {Weather: Weather(True)})
    report = diagnose(facts, [Check("a.wet", Severity.ERROR, (), ("wet",), "", _wet)])
    return PlanReport(report, make_plan(report, fixes, facts), place)


UMBRELLA = Fix("umbrella", ("a.wet",), Effort.FINISH_PACKAGES, _umbrella)
STAY = Fix("stay", ("a.wet",), Effort.RELOAD, _stay)
NOTHING = Fix("nothing", ("a.wet",), Effort.EXPLAIN, _nothing)
CANNOT = Fix("cannot", ("a.wet",), Effort.EXPLAIN, _cannot)
OTHER = Fix("other", ("b.other",), Effort.EXPLAIN, _umbrella)


def test_the_least_invasive_fix_that_applies_is_chosen() -> None:
    plan = _planned(UMBRELLA, STAY, NOTHING, CANNOT, OTHER).plan
    assert [chosen.fix.id for chosen in plan.chosen] == ["stay"]
    assert [chosen.fix.id for chosen in plan.alternatives] == ["umbrella"]
    assert [step.phase for step in plan.steps] == sorted(step.phase for step in plan.steps)
    assert plan.unknown == (("cannot", "nobody knows"),)
    assert plan.left == ()
    assert plan.reboots


def test_what_nobody_cures_is_left_for_a_person() -> None:
    plan = _planned(NOTHING).plan
    assert (plan.steps, plan.left) == ((), ("a.wet",))


def test_the_script_is_accepted_by_a_shell_and_quotes_everything(tmp_path: Path) -> None:
    for fixes in ([UMBRELLA], [STAY]):
        script = as_script(_planned(*fixes))
        path = tmp_path / "plan.sh"
        path.write_text(script)
        subprocess.run(["sh", "-n", str(path)], check=True)
    assert "open 'the umbrella; $x'" in as_script(_planned(UMBRELLA))
    assert "102|103|106|107" in script
    assert "read -r _" in script
    assert "$HOME" not in "".join(line for line in script.splitlines(True) if not line.startswith("#"))


def test_a_file_is_written_by_the_script_as_it_is(tmp_path: Path) -> None:
    text = "a'b\n$c \\ %s\n"

    def write(weather: Weather) -> Iterator[Step]:
        yield Step(WriteFile(str(tmp_path / "it's"), text), "why")

    script = as_script(_planned(Fix("write", ("a.wet",), Effort.EXPLAIN, write)))
    subprocess.run(["sh"], input=script, text=True, check=True)
    assert (tmp_path / "it's").read_text() == text


def test_a_step_that_cannot_be_verified_stops_the_script(tmp_path: Path) -> None:
    def steps(weather: Weather) -> Iterator[Step]:
        yield Step(Run(("true",)), "first", verify=Run(("false",)))
        yield Step(Run(("touch", str(tmp_path / "reached"))), "second", Phase.REBUILD)

    script = as_script(_planned(Fix("x", ("a.wet",), Effort.EXPLAIN, steps)))
    done = subprocess.run(["sh"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "step 1 is not verified" in done.stderr
    assert not (tmp_path / "reached").exists()


def test_a_changed_file_is_shown_as_a_diff() -> None:
    was = "a=1\nexport LD_LIBRARY_PATH=/usr/local/cuda/lib64\nb=2\n"
    text = was.replace("export", "# gpudoctor: export")

    def change(weather: Weather) -> Iterator[Step]:
        yield Step(WriteFile("/home/ada/.bashrc", text, was), "it hides the wheels' libraries", root=False)

    planned = _planned(Fix("change", ("a.wet",), Effort.ENVIRONMENT_VARIABLE, change))
    lines = [
        "-export LD_LIBRARY_PATH=/usr/local/cuda/lib64",
        "+# gpudoctor: export LD_LIBRARY_PATH=/usr/local/cuda/lib64",
    ]
    for shown in (as_text(planned, colour=False), as_script(planned)):
        assert all(line in shown for line in lines), shown
        assert "b=3" not in shown
    assert "change /home/ada/.bashrc" in as_text(planned, colour=False)
    (step,) = json.loads(as_json(planned))["steps"]
    assert set(lines) <= set(step["action"]["diff"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a step as somebody else")
def test_a_script_that_root_runs_leaves_no_files_of_roots_in_an_environment(tmp_path: Path) -> None:
    program = tmp_path / "bin/python"
    program.parent.mkdir()
    program.symlink_to("/usr/bin/id")
    os.chown(program, 65534, 65534, follow_symlinks=False)
    let_everybody_in(tmp_path)

    def install(weather: Weather) -> Iterator[Step]:
        yield Step(Run((str(program), "-un")), "somebody's own", Phase.INSTALL, root=False)
        yield Step(Run(("id", "-un")), "the system's", Phase.BUILD)

    script = as_script(_planned(Fix("install", ("a.wet",), Effort.PYTHON_PACKAGE, install)))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split() == ["nobody", "root"]


def test_json_carries_every_step_as_data() -> None:
    document = json.loads(as_json(_planned(UMBRELLA, STAY)))
    assert document["steps"][0]["action"] == {"kind": "manual", "instruction": "Stay at home (street)"}
    assert {step["action"]["kind"] for step in document["steps"]} == {"manual", "remove-file", "run", "reboot"}
    assert document["alternatives"][0]["id"] == "umbrella"
    assert document["reboots"] is True


def test_the_table_shows_why_risk_verify_and_undo_in_80_columns() -> None:
    text = as_text(_planned(UMBRELLA), colour=False)
    for word in ("rain stays off", "medium", "undo: close it", "verify: test -e /x", "a.wet", "umbrella"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


@pytest.mark.parametrize("kind", ["docker", "wsl"])
def test_in_a_container_the_plan_says_where(tmp_path: Path, kind: str) -> None:
    extra: dict[str, str | bytes] = {"/.dockerenv": ""} if kind == "docker" else {}
    host = debian(tmp_path, loaded=OLD, built_at=UPGRADED, upgraded=True, extra=extra)
    if kind == "wsl":
        (tmp_path / "proc/sys/kernel/osrelease").write_text("5.15.153.1-microsoft-standard-WSL2\n")
    facts = Facts(host)
    report = diagnose_with(facts)
    load_plugins(fixes=True)
    plan = make_plan(report, registry.fixes.values(), facts)
    place = place_of(facts, plan)
    assert not place.here
    assert ("host" if kind == "docker" else "Windows") in place.notice
    assert not any(
        isinstance(step.action, Run) and step.action.argv[0] in ("modprobe", "apt-get") for step in plan.steps
    )


def test_fix_on_a_snapshot_prints_a_plan_and_says_where(tmp_path: Path) -> None:
    from gpudoctor.cli.fix import FixOptions, fix
    from gpudoctor.snapshot import RecordingHost, as_document

    recorder = RecordingHost(debian(tmp_path / "machine", loaded=OLD, built_at=UPGRADED, upgraded=True))
    facts = Facts(recorder)
    load_plugins(fixes=True)
    make_plan(diagnose_with(facts), registry.fixes.values(), facts)
    path = tmp_path / "snapshot.json"
    path.write_text(json.dumps(as_document(recorder.answers, "0")))
    done = gpudoctor("fix", "--dry-run", "--snapshot", str(path))
    assert done.returncode == 0, done.stderr
    assert "driver.library-mismatch" in done.stdout
    assert "carry it out there" in done.stdout
    assert "systemctl reboot" in done.stdout or "modprobe" in done.stdout
    assert NEW in done.stdout
    assert gpudoctor("fix", "--dry-run", "--snapshot", str(path), "--detailed-exitcode").returncode == 2
    assert fix(FixOptions(script=True, output=str(tmp_path / "x.sh"), snapshot=str(path))) == 0
    subprocess.run(["sh", "-n", str(tmp_path / "x.sh")], check=True)
