"""Draws docs/check.svg, the picture of the README, from a recorded machine.

    python tools/picture.py            writes it
    python tools/picture.py --check    says whether it shows what the program prints today (exit code 1: it does not)

It loads nothing from elsewhere: the letters are those of the reader's machine.
"""

import argparse
import io
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from gpudoctor.cli.check import diagnose_with
from gpudoctor.registry import Facts
from gpudoctor.reports.text import WIDTH, as_text
from gpudoctor.snapshot import load

TREE = Path(__file__).parents[1]
PICTURE = TREE / "docs/check.svg"
MACHINE = TREE / "tests/machines/bookworm-kernel-upgraded-no-headers.json"
DURATION_MS = 65  # as it was measured once: a picture does not change with the load of a machine


def picture() -> str:
    """The report as it stands in a terminal, as SVG."""
    facts = Facts(load(str(MACHINE)))
    report = diagnose_with(facts)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ gpudoctor check", style="bold"))
    console.print(Text.from_ansi(as_text(report, facts, DURATION_MS, colour=True)), end="")
    svg = console.export_svg(title="gpudoctor check", unique_id="check")
    # rich's template fetches a font from the network.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono") + "\n"


def words(svg: str) -> list[str]:
    """The words in it. How rich draws them may differ from one of its versions to the next."""
    style = "{http://www.w3.org/2000/svg}style"
    texts = (node.text or "" for node in ElementTree.fromstring(svg).iter() if node.tag != style)
    return " ".join(texts).split()


def main() -> int:
    parser = argparse.ArgumentParser(description="Draws the picture of the README.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    if parser.parse_args().check:
        same = PICTURE.is_file() and words(PICTURE.read_text(encoding="utf-8")) == words(picture())
        print(f"{PICTURE}: {'up to date' if same else 'to be drawn anew: python tools/picture.py'}")
        return 0 if same else 1
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"{PICTURE}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
