"""The commands about changes: what to repair or to install, and what an upgrade would do; as typer declares them."""

from enum import Enum
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
from gpudoctor.cli.options import SHORTEST


class RiskName(str, Enum):
    """As `gpudoctor.repair.Risk`, which would import the engine."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


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
        typer.Option(
            min=SHORTEST, metavar="SECONDS", help="No diagnosis takes longer than this.", callback=seconds_to_wait
        ),
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
    expect_gpus: ExpectGpus = None,
    root: Annotated[str | None, typer.Option(metavar="DIR", help="In a mounted root file system.")] = None,
    command: Annotated[
        str | None, typer.Option(metavar="PATH", help="The gpudoctor that the hook calls. [default: this one]")
    ] = None,
) -> int:
    """Let upgrades, timers and CI runners call the doctor."""
    from gpudoctor.cli.hook import HookOptions, hook

    return hook(HookOptions(kind, install, remove, enforce, tuple(notify or ()), expect_gpus, root, command))


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
