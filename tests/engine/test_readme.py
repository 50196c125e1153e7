"""What the README shows is what the program prints."""

import re
from pathlib import Path

from command_line import gpudoctor

README = Path(__file__).parents[2] / "README.md"
COMMAND = "check --snapshot tests/machines/bookworm-kernel-upgraded-no-headers.json"


def _timeless(text: str) -> str:
    return re.sub(r"\(\d+ ms,", "(N ms,", " ".join(text.split()))


def test_the_example_is_a_real_run() -> None:
    block = README.read_text(encoding="utf-8").partition("```console\n")[2].partition("```")[0]
    first, _, shown = block.partition("\n")
    assert first == f"$ gpudoctor {COMMAND}"
    machine = Path(__file__).parents[1] / "machines/bookworm-kernel-upgraded-no-headers.json"
    assert _timeless(gpudoctor("check", "--snapshot", str(machine)).stdout) == _timeless(shown)
