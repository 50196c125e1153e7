"""The command line as typer declares it: every option, its help, and the clear word about a wrong one."""

import sys
from enum import Enum
from typing import Annotated

import typer
from typer._click.exceptions import ClickException  # typer exports only some of its children

from gpudoctor import __version__
from gpudoctor.cli import COULD_NOT_TELL
from gpudoctor.cli.options import CheckOptions

app = typer.Typer(
    name="gpudoctor",
    help="The doctor for NVIDIA GPU machines: names the true cause, with proof, and plans the least invasive repair.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: importing rich would double its time
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Exit codes of check: 0 fine, 1 warnings, 2 errors, 3 could not tell.",
)


class Format(str, Enum):
    TEXT = "text"
    JSON = "json"


class Backend(str, Enum):
    """As `gpudoctor.bench.run.BACKENDS`, which would import numpy."""

    AUTO = "auto"
    CUPY = "cupy"
    NUMPY = "numpy"


Root = Annotated[str | None, typer.Option(metavar="DIR", help="Diagnose a mounted root file system.")]
KernelName = Annotated[
    str | None, typer.Option("--kernel", metavar="RELEASE", help="With --root: the kernel to take as the running one.")
]
SnapshotFile = Annotated[str | None, typer.Option(metavar="FILE", help="Diagnose a recorded machine.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of printing.")]
OutputFormat = Annotated[Format, typer.Option("--format", help="How to print.")]
Timeout = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="No run takes longer than this.")]


def run_app(arguments: list[str]) -> int:
    """One command line through typer. Returns the exit code; wrong usage is 3, for 2 means a sick machine."""
    try:
        code = app(arguments, standalone_mode=False, prog_name="gpudoctor")
    except ClickException as error:
        if error.exit_code:
            error.show()
        return COULD_NOT_TELL if error.exit_code else 0
    except typer.Abort:
        print("gpudoctor: aborted", file=sys.stderr)
        return COULD_NOT_TELL
    return code if isinstance(code, int) else 0


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(f"gpudoctor {__version__}")
        raise typer.Exit


@app.command("check")
def check_command(
    root: Root = None,
    kernel: KernelName = None,
    snapshot: SnapshotFile = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this check or domain; repeatable.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="ID", help="Not this check or domain; repeatable.")] = None,
    format: OutputFormat = Format.TEXT,
    output: Output = None,
    expect_gpus: Annotated[int | None, typer.Option(min=0, metavar="N", help="How many GPUs must be usable.")] = None,
    timeout: Timeout = 20.0,
) -> int:
    """Find out what is wrong: the cause first, its proof, what to do."""
    from gpudoctor.cli.check import check

    return check(
        CheckOptions(
            root, kernel, snapshot, tuple(only or ()), tuple(skip or ()), format.value, output, expect_gpus, timeout
        )
    )


@app.command("fix")
def fix_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    script: Annotated[bool, typer.Option("--script", help="Print the plan as a shell script to review.")] = False,
    format: OutputFormat = Format.TEXT,
    output: Output = None,
    detailed_exitcode: Annotated[bool, typer.Option(help="Exit with 2 if there is something to do.")] = False,
    root: Root = None,
    kernel: KernelName = None,
    snapshot: SnapshotFile = None,
    timeout: Timeout = 20.0,
) -> int:
    """Plan the least invasive repair of what check finds."""
    from gpudoctor.cli.fix import FixOptions, fix

    return fix(
        FixOptions(dry_run, script, format.value, output, detailed_exitcode, root, kernel, snapshot, timeout),
    )


@app.command("bench")
def bench_command(
    backend: Annotated[Backend, typer.Option(help="auto: CuPy on the GPU; numpy: the CPU.")] = Backend.AUTO,
    format: OutputFormat = Format.TEXT,
    output: Output = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="For weights and data.")] = 0,
) -> int:
    """Prove by training a small convolution net that the GPU trains. SKIPPED is never a pass."""
    from gpudoctor.cli.bench import bench

    return bench(backend.value, seed, format.value, output)


@app.command("explain")
def explain_command(
    subject: Annotated[
        list[str] | None, typer.Argument(metavar="[ID | MESSAGE]", help="A check, or an error text.")
    ] = None,
) -> int:
    """What a check or an error message means, and the repair."""
    from gpudoctor.cli.explain import explain

    return explain(" ".join(subject or ()))


@app.command("snapshot")
def snapshot_command(
    output: Output = None,
    root: Root = None,
    kernel: KernelName = None,
    timeout: Timeout = 20.0,
) -> int:
    """Record this machine, redacted, for check --snapshot."""
    from gpudoctor.cli.snapshot import snapshot

    return snapshot(output, root, kernel, timeout)
