"""The manual page that is committed is the one of this command line, and groff has nothing against it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
PAGE = TREE / "docs/gpudoctor.1"


def test_the_page_tells_of_this_very_command_line() -> None:
    done = subprocess.run(
        [sys.executable, TREE / "tools/man_page.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_groff_sets_it_without_a_warning() -> None:
    groff = shutil.which("groff")
    if not groff:
        pytest.skip("no groff here")
    done = subprocess.run(
        [groff, "-man", "-ww", "-rLL=78n", "-Tascii", PAGE], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    shown = re.sub(".\b", "", done.stdout)  # bold is a letter printed twice
    assert "gpudoctor bench plan" in shown
    assert "--snapshot" in shown, "hyphens that can be copied into a shell"
    for heading in ("SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert heading in shown
