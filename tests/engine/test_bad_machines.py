"""Every file that is read, damaged in every way: the outcome may be unknown, never a crash; plans can be made."""

import shutil
from pathlib import Path

import pytest
from damage import KINDS_OF_WHOLE_MACHINES, damaged
from live_machines import NEW, OLD, debian

from gpudoctor.diagnose import diagnose
from gpudoctor.findings import Report, Status
from gpudoctor.host import Host
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.json_report import as_json
from gpudoctor.reports.text import as_text

load_plugins(fixes=True)


def _crashes(host: Host) -> list[str]:
    facts = Facts(host)
    report = diagnose(facts, registry.checks.values())
    make_plan(report, registry.fixes.values(), facts)
    as_text(report, facts, 1, colour=False).encode("utf-8")
    as_json("check", report, facts, 1)
    return _crashed(report)


def _crashed(report: Report) -> list[str]:
    return [f"{o.check.id}: {o.reason}" for o in report.outcomes if o.status is Status.CRASHED]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.parametrize("damage", KINDS_OF_WHOLE_MACHINES)
def test_every_file_damaged(tmp_path: Path, damage: str) -> None:
    machine = tmp_path / "machine"
    # A machine in trouble: more checks have something to say, and fixes something to plan.
    host = debian(machine, loaded=OLD, on_disk=OLD, packaged=NEW, upgraded=True, kernel_log="NVRM: Xid 79\n")
    assert _crashes(host) == []
    for path in _files(machine):
        with damaged(path, damage):
            assert _crashes(host) == [], path.relative_to(machine)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    host = debian(tmp_path)
    for folder in (
        "boot",
        "dev",
        "lib/modules",
        "var/lib/dkms",
        "etc/modprobe.d",
        "usr/bin",
        "var/log/apt",
        "lib/firmware/nvidia",
    ):
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in ("na\udcffme", "nvidia\udcfe", "vmlinuz-\udcff", "line\nbreak", "\x1b[31m"):
            (place / name).mkdir()
    assert _crashes(host) == []


def test_a_machine_that_has_almost_nothing(tmp_path: Path) -> None:
    host = debian(tmp_path)
    for folder in ("etc", "var", "usr", "lib", "boot", "sys", "proc"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
        assert _crashes(host) == [], folder


def test_a_kernel_release_of_strange_words_is_never_put_into_a_command(tmp_path: Path) -> None:
    host = debian(tmp_path, loaded="", on_disk="", driver="")
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1; rm -rf $HOME\n")
    facts = Facts(host)
    report = diagnose(facts, registry.checks.values())
    plan = make_plan(report, registry.fixes.values(), facts)
    for step in (*plan.steps, *(step for other in plan.alternatives for step in other.steps)):
        for action in (step.action, step.verify, step.undo):
            assert "rm -rf" not in " ".join(getattr(action, "argv", ()))
