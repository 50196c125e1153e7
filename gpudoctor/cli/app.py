"""The command line as typer declares it: every option, its help, and the clear word about a wrong one."""

import os
import sys
from enum import Enum
from typing import Annotated

import typer
from typer._click.exceptions import ClickException  # typer exports only some of its children

from gpudoctor.cli import COULD_NOT_TELL
from gpudoctor.cli.bench_app import bench_app
from gpudoctor.cli.declared import (
    Exits,
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
    Shell,
    Skip,
    SnapshotFile,
    Timeout,
    completed_by,
    seconds_to_wait,
)
from gpudoctor.cli.options import CheckOptions

app = typer.Typer(
    name="gpudoctor",
    help="The doctor for NVIDIA GPU machines: names the true cause, with proof, and repairs it with the least change.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: importing rich would double its time
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Exit codes of check: 0 fine, 1 warnings, 2 errors, 3 could not tell.",
)
app.add_typer(bench_app, name="bench")


class RiskName(str, Enum):
    """As `gpudoctor.repair.Risk`, which would import the engine."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def run_app(arguments: list[str]) -> int:
    """One command line through typer. Returns the exit code; wrong usage is 3, for 2 means a sick machine."""
    if "_GPUDOCTOR_COMPLETE" in os.environ:
        from gpudoctor.cli.completion import prepare  # here for start-up

        prepare()
    try:
        code = app(arguments, standalone_mode=False, prog_name="gpudoctor")
    except ClickException as error:
        if error.exit_code:
            error.show()
        return COULD_NOT_TELL if error.exit_code else 0
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer would end with 1, which says that there are warnings
            raise end.__context__ from None
        raise
    except typer.Abort as abort:
        # Nothing here asks through typer: what it takes for the user's Ctrl-C or Ctrl-D is what happened in a command.
        if abort.__cause__ is not None:
            raise abort.__cause__ from None
        print("gpudoctor: aborted", file=sys.stderr)
        return COULD_NOT_TELL
    return code if isinstance(code, int) else 0


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Show the version and the dates of the tables.")] = False,
) -> None:
    if version:
        from gpudoctor.cli.version import version_lines

        print(version_lines(), end="")
        raise typer.Exit


@app.command("check")
def check_command(
    root: Root = None,
    kernel: KernelName = None,
    snapshot: SnapshotFile = None,
    only: Only = None,
    skip: Skip = None,
    format: ReportOutputFormat = None,
    output: Output = None,
    expect_gpus: Annotated[int | None, typer.Option(min=0, metavar="N", help="How many GPUs must be usable.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
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


@app.command("fix")
def fix_command(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="With --resume or --undo: which one. [default: the last]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, restart included.")] = False,
    allow: Annotated[
        RiskName | None,
        typer.Option("--allow", help="The highest risk of a step. [default: high; with --yes: medium]"),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="FILE", help="Carry out this plan (of --dry-run --format json) and no other."),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="KIND=VERSION", help="Bring driver=580, cuda=12.8 or cudnn=9; repeatable."),
    ] = None,
    runfile: Annotated[
        str | None, typer.Option("--runfile", metavar="FILE", help="With --to: NVIDIA's .run file to take it from.")
    ] = None,
    no_opengl: Annotated[
        bool, typer.Option("--no-opengl", help="With --runfile: a driver without its OpenGL libraries.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a crash, a restart or a failed step.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take a run back, as far as that is possible.")] = False,
    history: Annotated[bool, typer.Option("--history", help="List the runs there were.")] = False,
    only: Only = None,
    skip: Skip = None,
    script: Annotated[bool, typer.Option("--script", help="Print the plan as a shell script to review.")] = False,
    format: OutputFormat = Format.TEXT,
    output: Output = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="With --dry-run: exit with 2 if there is something to do.")
    ] = False,
    root: Root = None,
    kernel: KernelName = None,
    snapshot: SnapshotFile = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="No diagnosis takes longer than this.", callback=seconds_to_wait),
    ] = 20.0,
    python: Pythons = None,
) -> int:
    """Repair what check finds: plan, ask, act, verify; undo."""
    from gpudoctor.cli.fix import FixOptions, fix

    return fix(
        FixOptions(
            dry_run=dry_run,
            script=script,
            yes=yes,
            allow=allow and allow.value,
            plan=plan,
            resume=resume,
            undo=undo,
            history=history,
            run=run,
            only=tuple(only or ()),
            skip=tuple(skip or ()),
            format=format.value,
            output=output,
            detailed_exitcode=detailed_exitcode,
            root=root,
            kernel=kernel,
            snapshot=snapshot,
            timeout=timeout,
            python=tuple(python or ()),
            to=tuple(to or ()),
            runfile=runfile,
            no_opengl=no_opengl,
        ),
    )


@app.command("hook")
def hook_command(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="apt, kernel, dnf, zypper, pacman, cron, systemd or ci.",
            autocompletion=completed_by("hooks"),
        ),
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Write the files that are printed without it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the files away.")] = False,
    enforce: Annotated[
        bool, typer.Option("--enforce", help="Stop an upgrade after which the GPU would not work. [default: warn]")
    ] = False,
    notify: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="mail:ADDRESS, syslog, wall or command:/PATH; repeatable."),
    ] = None,
    expect_gpus: Annotated[int | None, typer.Option(min=0, metavar="N", help="How many GPUs must be usable.")] = None,
    root: Annotated[str | None, typer.Option(metavar="DIR", help="In a mounted root file system.")] = None,
    command: Annotated[
        str | None, typer.Option(metavar="PATH", help="The gpudoctor that the hook calls. [default: this one]")
    ] = None,
) -> int:
    """Let upgrades, timers and CI runners call the doctor."""
    from gpudoctor.cli.hook import HookOptions, hook

    return hook(HookOptions(kind, install, remove, enforce, tuple(notify or ()), expect_gpus, root, command))


@app.command("preflight")
def preflight_command(
    command: Annotated[
        str | None,
        typer.Option("--command", metavar="WORDS", help='What you will run: "apt upgrade", "install NAME".'),
    ] = None,
    simulation: Annotated[
        str | None, typer.Option(metavar="FILE", help="A plan made before, or elsewhere; - is standard input.")
    ] = None,
    format: ReportOutputFormat = None,
    output: Output = None,
    root: Root = None,
    kernel: KernelName = None,
    snapshot: SnapshotFile = None,
    timeout: Timeout = 60.0,
    fail_on: Failing = None,
    exit_map: Exits = None,
    quiet: Quiet = False,
) -> int:
    """Say beforehand whether an upgrade would break the GPU."""
    from gpudoctor.cli.preflight import PreflightOptions, preflight

    return preflight(
        PreflightOptions(
            command,
            simulation,
            format.value if format else Format.TEXT.value,
            output,
            root,
            kernel,
            snapshot,
            timeout,
            fail_on and fail_on.value,
            exit_map and exit_map.value,
            quiet,
        ),
    )


@app.command("recommend")
def recommend_command(
    request: Annotated[
        str,
        typer.Argument(
            metavar="FRAMEWORK[==VERSION]",
            help="torch, tensorflow, jax, cupy, ...",
            autocompletion=completed_by("frameworks"),
        ),
    ],
    driver: Annotated[str | None, typer.Option(metavar="VERSION", help="For this driver, or this branch: 535.")] = None,
    gpu: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help='For this GPU: "RTX 4090", sm_89, 8.9; repeatable.')
    ] = None,
    python_version: Annotated[str | None, typer.Option(metavar="VERSION", help="For this Python: 3.11.")] = None,
    machine: Annotated[str | None, typer.Option(metavar="NAME", help="For x86_64 or aarch64.")] = None,
    python: Annotated[str | None, typer.Option(metavar="PATH", help="For this Python or environment.")] = None,
    tool: Annotated[str | None, typer.Option(metavar="NAME", help="pip, uv, conda, poetry, pdm or pipenv.")] = None,
    format: OutputFormat = Format.TEXT,
    output: Output = None,
    root: Root = None,
    snapshot: SnapshotFile = None,
) -> int:
    """Say how to install a framework so that it fits this GPU."""
    from gpudoctor.cli.recommend import RecommendOptions, recommend_command

    gpus = tuple(gpu or ())
    return recommend_command(
        RecommendOptions(
            request, driver, gpus, python_version, machine, python, tool, format.value, output, root, snapshot
        )
    )


@app.command("triage")
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


@app.command("explain")
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


@app.command("snapshot")
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


@app.command("diff")
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


@app.command("completion")
def completion_command(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> int:
    """Print the script by which a shell completes this command."""
    from gpudoctor.cli.completion import script

    print(script(shell.value), end="")
    return 0
