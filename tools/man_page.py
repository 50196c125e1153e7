"""Writes docs/gpudoctor.1, the manual page, from the command line as typer declares it.

    python tools/man_page.py            writes it
    python tools/man_page.py --check    says whether it is the one that would be written (exit code 1: it is not)

The pages of checks are in `gpudoctor explain`; this page is for `man gpudoctor`, and holds nothing that is not told by
`--help` of each command, but for files and variables.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from gpudoctor import __version__
from gpudoctor.cli.app import app_for

PAGE = Path(__file__).parents[1] / "docs/gpudoctor.1"

NAME = "the doctor for NVIDIA GPU machines"
FILES = (
    (
        "gpudoctor.toml, pyproject.toml",
        "In the working directory: settings of check, in pyproject.toml under [tool.gpudoctor].",
    ),
    ("/var/lib/gpudoctor, ~/.local/state/gpudoctor", "Journals of repairs, of root and of everybody else."),
)
VARIABLES = (
    ("NO_COLOR", "Set to anything: no colours."),
    ("GPUDOCTOR_STATE", "Another folder for journals."),
    ("GPUDOCTOR_ENFORCE", "false lets one upgrade pass that a hook with --enforce would stop."),
)


def page() -> str:
    """The whole page, for man(7)."""
    root: Any = typer.main.get_command(app_for())
    lines = [
        '.\\" Written by tools/man_page.py: changes belong there, or to the help of the option.',
        f'.TH GPUDOCTOR 1 "" "gpudoctor {__version__}" "User Commands"',
        ".SH NAME",
        f"gpudoctor \\- {escaped(NAME)}",
        ".SH SYNOPSIS",
        *(f".B gpudoctor {escaped(name)}\n[\\fIoptions\\fR]\n.br" for name in root.commands),
        ".SH DESCRIPTION",
        *text(root.help),
        ".SH COMMANDS",
        *(line for name, command in root.commands.items() for line in command_lines(f"gpudoctor {name}", command)),
        ".SH OPTIONS",
        *option_lines("gpudoctor", root),
        ".SH EXIT STATUS",
        *text(root.epilog.removeprefix("Exit codes of check: ").join(("Of check: ", ""))),
        *text(root.commands["bench"].epilog.removeprefix("Exit codes: ").join(("Of bench: ", ""))),
        *text("Of all commands: 3 also where they are called wrongly, 130 where they are interrupted."),
        ".SH ENVIRONMENT",
        *(line for name, told in VARIABLES for line in entry(escaped(name), told)),
        ".SH FILES",
        *(line for name, told in FILES for line in entry(escaped(name), told)),
        ".SH SEE ALSO",
        ".BR nvidia-smi (1),",
        ".BR dkms (8)",
    ]
    return "\n".join(lines) + "\n"


def command_lines(name: str, command: Any) -> Iterator[str]:
    arguments = [param.make_metavar(context(name, command)) for param in command.params if not is_option(param)]
    yield f'.SS "{escaped(" ".join((name, *arguments)))}"'
    yield from text(command.help)
    yield from option_lines(name, command)
    for sub, below in getattr(command, "commands", {}).items():
        yield from command_lines(f"{name} {sub}", below)


def option_lines(name: str, command: Any) -> Iterator[str]:
    for param in command.params:
        record = param.get_help_record(context(name, command)) if is_option(param) else None
        if record:
            yield from entry(bold_names(record[0]), record[1])


def context(name: str, command: Any) -> Any:
    return command.make_context(name, [], resilient_parsing=True)


def is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def bold_names(words: str) -> str:
    """ "-o, --output FILE": the names as they are typed, what stands for something else in italics."""
    return " ".join(
        f"\\fB{escaped(word.rstrip(','))}\\fR{',' * word.endswith(',')}"
        if word.startswith("-")
        else f"\\fI{escaped(word)}\\fR"
        for word in words.split()
    )


def entry(label: str, told: str) -> Iterator[str]:
    yield ".TP"
    yield label
    yield from text(told)


def text(words: str) -> Iterator[str]:
    """Paragraphs, a sentence a line as man pages have them."""
    for number, paragraph in enumerate(words.strip().split("\n\n")):
        if number:
            yield ".PP"
        for sentence in re.split(r"(?<=[.!?]) +(?=[A-Z])", " ".join(paragraph.split())):
            yield guarded(escaped(sentence))


def escaped(words: str) -> str:
    return (
        words.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq").replace("`", "\\(ga")
    )


def guarded(line: str) -> str:
    """A line that begins with a dot would be a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the manual page.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    if parser.parse_args().check:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page()
        print(f"{PAGE}: {'up to date' if same else 'to be written anew: python tools/man_page.py'}")
        return 0 if same else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
