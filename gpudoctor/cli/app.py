"""The command line as typer reads it: which commands there are, and the clear word about a wrong one."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer
from typer._click.exceptions import ClickException  # typer exports only some of its children

from gpudoctor.cli import COULD_NOT_TELL
from gpudoctor.cli.declared import Shell

# In the order of --help: where NAME_command declares the options and the help of a command.
_ROOMS = {
    "check": "diagnosis_commands",
    "fix": "change_commands",
    "hook": "change_commands",
    "preflight": "change_commands",
    "recommend": "change_commands",
    "triage": "diagnosis_commands",
    "explain": "diagnosis_commands",
    "snapshot": "diagnosis_commands",
    "diff": "diagnosis_commands",
}


def app_for(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command line: all of it, or of these commands only the one that the arguments begin with. To declare one
    takes time, and nothing but a list of commands or a mistake in their names needs the others.
    """
    app = typer.Typer(
        name="gpudoctor",
        help="The doctor for NVIDIA GPU machines: names the true cause, with proof, and repairs it with the least "
        "change.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: importing rich would double its time
        pretty_exceptions_enable=False,
        add_completion=False,
        epilog="Exit codes of check: 0 fine, 1 warnings, 2 errors, 3 could not tell.",
    )
    app.callback(invoke_without_command=True)(_version_option)
    wanted = [name for name in _ROOMS if name in arguments[:1]]
    for name in wanted or _ROOMS:
        room = import_module(f"gpudoctor.cli.{_ROOMS[name]}")
        app.command(name)(getattr(room, f"{name}_command"))
    if not wanted:
        from gpudoctor.cli.bench_app import bench_app

        app.command("completion")(_completion_command)
        app.add_typer(bench_app, name="bench")
    return app


def run_app(arguments: list[str]) -> int:
    """One command line through typer. Returns the exit code; wrong usage is 3, for 2 means a sick machine."""
    if "_GPUDOCTOR_COMPLETE" in os.environ:
        from gpudoctor.cli.completion import prepare  # here for start-up

        prepare()
    try:
        code = app_for(arguments)(arguments, standalone_mode=False, prog_name="gpudoctor")
    except ClickException as error:
        if error.exit_code:
            _say_to_monitor(arguments, error.format_message())
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


def _say_to_monitor(arguments: list[str], reason: str) -> None:
    """As commands do of themselves: this command line was not understood, but for whom it was meant may stand in it."""
    from itertools import pairwise

    from gpudoctor.cli import BadUsage
    from gpudoctor.cli.check import say_to_monitor  # here for start-up

    values = dict(pairwise(arguments)) | dict((word.partition("=")[::2]) for word in arguments if "=" in word)
    say_to_monitor(values.get("--format"), values.get("--output", values.get("-o")), BadUsage(reason))


def _version_option(
    version: Annotated[bool, typer.Option("--version", help="Show the version and the dates of the tables.")] = False,
) -> None:
    if version:
        from gpudoctor.cli.version import version_lines

        print(version_lines(), end="")
        raise typer.Exit


def _completion_command(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> int:
    """Print the script by which a shell completes this command."""
    from gpudoctor.cli.completion import script

    print(script(shell.value), end="")
    return 0
