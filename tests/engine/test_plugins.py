"""Checks arrive by entry point: a third party's work like ours, a broken one is seen, and none at all is an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import GPUDOCTOR

CHECK = '''
from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, check
from gpudoctor.facts.system import OperatingSystem


@check("acme.tape-missing", severity=Severity.WARNING, symptoms=["tape not found"])
def tape_missing(system: OperatingSystem) -> Iterator[Finding]:
    """The tape robot is not there.

    What: x. Proof: y. Repair: z. Reference: w.
    """
    yield Finding("No tape.", "/dev/tape", (Evidence("/dev/tape", "not there"),), "Buy one.")
'''


def _plugin(folder: Path, module: str) -> Path:
    package = folder / "acme_checks"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "tapes.py").write_text(module)
    metadata = folder / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text(
        "[console_scripts]\na = b:c\n\n[gpudoctor.plugins]\nacme = acme_checks\n"
    )
    return folder


def _check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*GPUDOCTOR, "check", "--snapshot", str(folder / "machine.json"), *arguments]
    (folder / "machine.json").write_text(json.dumps({"schema": 1, "answers": {"read /etc/os-release": "ID=debian\n"}}))
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def test_a_third_party_check_is_one_of_ours(tmp_path: Path) -> None:
    done = _check(_plugin(tmp_path, CHECK), "--only", "acme", "--format", "json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["id"], finding["severity"], finding["subject"]) == ("acme.tape-missing", "warning", "/dev/tape")
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        (CHECK.replace("system: OperatingSystem", "system: 'Nothing'"), "NameError"),
        (CHECK.replace("system: OperatingSystem", "system: OperatingSystem | int"), "TypeError"),
        (CHECK.replace("acme.tape-missing", "pci.no-gpu"), "registered twice"),
    ],
)
def test_a_broken_plugin_is_seen(tmp_path: Path, module: str, said: str) -> None:
    done = _check(_plugin(tmp_path, module), "--format", "json")
    report = json.loads(done.stdout)
    (crashed,) = [outcome for outcome in report["outcomes"] if outcome["status"] == "crashed"]
    assert crashed["check"] == "plugin.acme_checks.tapes"
    assert said in crashed["reason"]
    assert report["status"] != "ok"
    assert "our own bug" in _check(tmp_path, "--only", "pci").stdout


def test_no_check_at_all_is_an_error_and_never_health(tmp_path: Path) -> None:
    """The package alone, without the metadata that brings its checks."""
    import gpudoctor

    (tmp_path / "gpudoctor").symlink_to(Path(gpudoctor.__file__).parent)
    program = "from gpudoctor.cli import run; raise SystemExit(run(['check']))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "no checks were found" in done.stderr
    assert done.stdout == ""
