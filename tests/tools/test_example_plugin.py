"""The example of a plugin, installed as a user installs it, or laid on the path as pip would have."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import GPUDOCTOR
from documented import TREE

EXAMPLE = TREE / "examples/gpudoctor-scratch"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    root = tmp_path / "disk"
    (root / "etc").mkdir(parents=True)
    (root / "scratch").mkdir(mode=0o755)
    return root


def test_its_check_and_its_fix_are_like_ours(installed: dict[str, str], disk: Path) -> None:
    command = [*GPUDOCTOR, "check", "--only", "scratch", "--root", str(disk), "--format", "json"]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["id"], finding["subject"], finding["fixes"]) == (
        "scratch.not-writable",
        "/scratch",
        ["open-scratch"],
    )
    assert finding["evidence"] == [{"source": "/scratch", "value": "mode 0755"}]
    (disk / "scratch").chmod(0o1777)
    assert subprocess.run(command, env=installed, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.mark.slow
def test_its_own_tests_pass(installed: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(EXAMPLE / "tests")]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


def test_its_check_takes_fifteen_lines_and_keeps_to_the_rules() -> None:
    lines = (EXAMPLE / "gpudoctor_scratch/checks.py").read_text().partition("@check")[2].splitlines()
    assert len([line for line in lines if line]) <= 15
    for module in (EXAMPLE / "gpudoctor_scratch").glob("*.py"):
        assert "import os" not in module.read_text()


@pytest.mark.slow
def test_it_is_installed_with_pip_beside_gpudoctor(tmp_path: Path, disk: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin/python"
    for source in (TREE, EXAMPLE):
        # A build writes beside the source: the checkout is left as it is.
        copy = tmp_path / source.name
        names = ["pyproject.toml", "README.md", "LICENSE", "gpudoctor", "checks", "fixes", "gpudoctor_scratch", "docs"]
        copy.mkdir()
        for name in names:
            if (source / name).exists():
                subprocess.run(["cp", "-R", source / name, copy], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", copy]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    program = environment / "bin/gpudoctor"
    words = [program, "fix", "--only", "scratch", "--root", disk, "--dry-run"]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", check=False)
    assert "chmod 1777 /scratch" in done.stdout, done.stderr
    told = subprocess.run([program, "explain", "scratch.not-writable"], capture_output=True, text=True, check=True)
    assert "Jobs cannot write to the scratch folder." in told.stdout
