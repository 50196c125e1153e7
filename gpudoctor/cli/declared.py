"""Options that several commands share, as typer declares them."""

from enum import Enum
from typing import Annotated

import typer


class Format(str, Enum):
    TEXT = "text"
    JSON = "json"


class ReportFormat(str, Enum):
    """Of the commands whose result is also a page."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


Root = Annotated[str | None, typer.Option(metavar="DIR", help="Diagnose a mounted root file system.")]
KernelName = Annotated[
    str | None, typer.Option("--kernel", metavar="RELEASE", help="With --root: the kernel to take as the running one.")
]
SnapshotFile = Annotated[str | None, typer.Option(metavar="FILE", help="Diagnose a recorded machine.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of printing.")]
OutputFormat = Annotated[Format, typer.Option("--format", help="How to print.")]
ReportOutputFormat = Annotated[ReportFormat, typer.Option("--format", help="How to print; html: a page in one file.")]
Timeout = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="No run takes longer than this.")]
Pythons = Annotated[
    list[str] | None,
    typer.Option("--python", metavar="PATH", help="This Python or environment, and no other; repeatable."),
]
