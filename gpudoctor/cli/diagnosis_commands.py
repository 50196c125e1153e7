"""The commands that find out and change nothing, as typer declares them."""

from typing import Annotated

import typer

from gpudoctor.cli.declared import (
    Exits,
    ExpectGpus,
    Failing,
    Format,
    KernelName,
    Only,
    Output,
    OutputFormat,
    Pythons,
    Quiet,
    ReportOutputFormat,
    Root,
    Skip,
    SnapshotFile,
    Timeout,
    completed_by,
    seconds_to_wait,
)
from gpudoctor.cli.options import SHORTEST, CheckOptions


def check_command(
    root: Root = None,
    kernel: KernelName = None,
    snapshot: SnapshotFile = None,
    only: Only = None,
    skip: Skip = None,
    format: ReportOutputFormat = None,
    output: Output = None,
    expect_gpus: ExpectGpus = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=SHORTEST,
            metavar="SECONDS",
            help="No run takes longer than this. [default: 20, with --deep 600]",
            callback=seconds_to_wait,
        ),
    ] = None,
    python: Pythons = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also let the frameworks compute, each in its own interpreter.")
    ] = False,
    fail_on: Failing = None,
    exit_map: Exits = None,
    quiet: Quiet = False,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Findings that are acknowledged: shown, but no reason to fail."),
    ] = None,
    save_baseline: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Acknowledge there all that is wrong now; reasons in the file are kept."),
    ] = None,
    changed_since: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="For timers: silent and 0 unless something has changed since this file was written."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Settings. [default: gpudoctor.toml or pyproject.toml of this folder]"),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT=FILE", help="Write the same report there, too; repeatable."),
    ] = None,
) -> int:
    """Find what is wrong: the cause first, its proof, what to do."""
    from gpudoctor.cli.check import check

    return check(
        CheckOptions(
            root=root,
            kernel=kernel,
            snapshot=snapshot,
            only=tuple(only or ()),
            skip=tuple(skip or ()),
            format=format and format.value,
            output=output,
            expect_gpus=expect_gpus,
            timeout=timeout,
            python=tuple(python or ()),
            deep=deep,
            fail_on=fail_on and fail_on.value,
            exit_map=exit_map and exit_map.value,
            quiet=quiet,
            baseline=baseline,
            save_baseline=save_baseline,
            changed_since=changed_since,
            config=config,
            also=tuple(also or ()),
        )
    )


def triage_command(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A log or a bug report. [default: -, standard input]")
    ] = None,
    format: ReportOutputFormat = None,
    output: Output = None,
) -> int:
    """Name the cause from a pasted log, traceback or bug report."""
    from gpudoctor.cli.triage import triage

    return triage(file, format.value if format else "text", output)


def explain_command(
    subject: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID | MESSAGE]", help="A check, or an error text.", autocompletion=completed_by("checks")
        ),
    ] = None,
) -> int:
    """What a check or an error message means, and the repair."""
    from gpudoctor.cli.explain import explain

    return explain(" ".join(subject or ()))


def snapshot_command(
    output: Output = None,
    root: Root = None,
    kernel: KernelName = None,
    timeout: Timeout = 20.0,
    python: Pythons = None,
) -> int:
    """Record this machine, redacted, for check --snapshot."""
    from gpudoctor.cli.snapshot import snapshot

    return snapshot(output, root, kernel, timeout, tuple(python or ()))


def diff_command(
    before: Annotated[str, typer.Argument(help="A snapshot; - is standard input.")],
    after: Annotated[
        str | None, typer.Argument(metavar="[AFTER]", help="Another snapshot, or -. [default: this machine now]")
    ] = None,
    format: OutputFormat = Format.TEXT,
    output: Output = None,
    timeout: Timeout = 20.0,
    python: Pythons = None,
) -> int:
    """Say what changed between two snapshots, or since one.

    Exit codes: 0 nothing became worse; 1 new or more severe warnings; 2 such errors, or a GPU is gone; 3 something
    that matters could be told before and cannot be told any more, or one of the two is no snapshot.
    """
    from gpudoctor.cli.diff import DiffOptions, diff

    return diff(DiffOptions(before, after, format.value, output, timeout, tuple(python or ())))
