"""Options that several commands share, as typer declares them."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Annotated

import typer

from gpudoctor.cli.options import SHORTEST, TOO_LONG


class Format(str, Enum):
    TEXT = "text"
    JSON = "json"


class ReportFormat(str, Enum):
    """As `gpudoctor.reports.formats.FORMATS`: those of a report."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"
    NAGIOS = "nagios"
    NPD = "npd"
    PROMETHEUS = "prometheus"
    HTML = "html"


class PageFormat(str, Enum):
    """Of the commands whose result is also a page, and nothing else."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


class FailOn(str, Enum):
    """As `gpudoctor.exit_codes.FAIL_ON`."""

    ERROR = "error"
    UNKNOWN = "unknown"
    WARNING = "warning"
    NEVER = "never"


class ExitMapName(str, Enum):
    """As `gpudoctor.exit_codes.EXIT_MAPS`."""

    NAGIOS = "nagios"
    NPD = "npd"
    SLURM = "slurm"
    SIMPLE = "simple"
    RETRY = "retry"


class Shell(str, Enum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completed_by(name: str) -> Callable[[str], Iterable[str | tuple[str, str]]]:
    """A function of `gpudoctor.cli.completion`, which is imported when somebody presses the key and not before."""

    def complete(incomplete: str) -> Iterable[str | tuple[str, str]]:
        from gpudoctor.cli import completion

        found: Iterable[str | tuple[str, str]] = getattr(completion, name)(incomplete)
        return found

    return complete


def seconds_to_wait(value: float | None) -> float | None:
    """Raises BadParameter for what is no time to wait: "nan" and "inf" are numbers, too."""
    if value is not None and not SHORTEST <= value < TOO_LONG:
        raise typer.BadParameter(f"a number of seconds, at least {SHORTEST}, not {value:g}.")
    return value


ExpectGpus = Annotated[int | None, typer.Option(min=0, metavar="N", help="How many GPUs must be usable.")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="Only this check or domain; repeatable.",
        autocompletion=completed_by("checks_and_domains"),
    ),
]
Skip = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID", help="Not this check or domain; repeatable.", autocompletion=completed_by("checks_and_domains")
    ),
]
Root = Annotated[str | None, typer.Option(metavar="DIR", help="Diagnose a mounted root file system.")]
KernelName = Annotated[
    str | None, typer.Option("--kernel", metavar="RELEASE", help="With --root: the kernel to take as the running one.")
]
SnapshotFile = Annotated[str | None, typer.Option(metavar="FILE", help="Diagnose a recorded machine.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of printing.")]
OutputFormat = Annotated[Format, typer.Option("--format", help="How to print.")]
ReportOutputFormat = Annotated[ReportFormat | None, typer.Option("--format", help="How to print. [default: text]")]
PageOutputFormat = Annotated[PageFormat, typer.Option("--format", help="How to print; html: a page in one file.")]
Failing = Annotated[
    FailOn | None,
    typer.Option(
        "--fail-on",
        help="From what on the exit code is not 0: error, unknown (errors too), warning (all three), never. "
        "[default: that of the exit map; warning]",
    ),
]
Exits = Annotated[
    ExitMapName | None,
    typer.Option("--exit-map", help="Whose exit codes; retry: 75, for another machine to try. [default: nagios]"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing where the exit code is 0.")]
Timeout = Annotated[
    float,
    typer.Option(min=SHORTEST, metavar="SECONDS", help="No run takes longer than this.", callback=seconds_to_wait),
]
Pythons = Annotated[
    list[str] | None,
    typer.Option("--python", metavar="PATH", help="This Python or environment, and no other; repeatable."),
]
