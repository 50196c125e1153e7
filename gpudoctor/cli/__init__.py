"""The command line. Each command opens a host, calls one function, prints, and gives an exit code.

`main` keeps two doors: the common spellings of `check`, `triage`, `hook run`, `--version` and `--help` do not wait for
typer to be imported (measured: it doubles the time of a check); everything else, and everything wrong, goes through
typer.
"""

import sys

COULD_NOT_TELL = 3  # exit code: also bad usage, which must not look like a sick machine


def main() -> None:
    """The console script: runs the command line of this process and ends it."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command line. Returns the exit code; prints answers to standard output, everything else to standard error."""
    if sys.stdout is None or sys.stderr is None:
        _stand_in_for_closed_streams()
    if arguments == ["--version"]:
        from gpudoctor.cli.version import version_lines

        print(version_lines(), end="")
        return 0
    if arguments == ["--help"]:
        print(prepared_help(), end="")
        return 0
    if arguments[:2] == ["hook", "run"]:
        from gpudoctor.hooks.run import run_hook  # a package manager waits: only what this hook needs is imported

        return run_hook(arguments[2:])
    from gpudoctor.host import BadSource  # here for start-up: the answers above need nothing
    from gpudoctor.registry import NoPlugins

    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (BadSource, NoPlugins, BadUsage) as error:
        print(f"gpudoctor: {error}", file=sys.stderr)
        return COULD_NOT_TELL
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain once more when it closes the stream at exit.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COULD_NOT_TELL
    except OSError as error:  # a full disk under standard output, say
        print(f"gpudoctor: {error}", file=sys.stderr)
        return COULD_NOT_TELL
    except KeyboardInterrupt:
        print("gpudoctor: interrupted", file=sys.stderr)
        return 130
    return code


def _stand_in_for_closed_streams() -> None:
    """Whoever started us had closed one: no file of ours comes to lie in its place, and what is for standard error
    does not end up in the answer, which is where Python prints it then.
    """
    import os

    from gpudoctor.hooks.verdict import open_standard_streams

    open_standard_streams()
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def prepared_help() -> str:
    """What typer prints for --help at 80 columns; a test keeps the file and typer in step."""
    import os

    with open(os.path.join(os.path.dirname(__file__), "help.txt"), encoding="utf-8") as file:
        return file.read()


class BadUsage(Exception):
    """What the user asked for cannot be done; the text is the whole explanation."""


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["check"]:
        from gpudoctor.cli.options import quick_check_options

        options = quick_check_options(arguments[1:])
        if options is not None:
            import gc

            gc.disable()  # this process is over before collecting would pay
            from gpudoctor.cli.check import check

            return check(options)
    if arguments[:1] == ["triage"]:
        from gpudoctor.cli.options import quick_triage_options

        asked = quick_triage_options(arguments[1:])
        if asked is not None:
            import gc

            gc.disable()  # as above
            from gpudoctor.cli.triage import triage

            return triage(*asked)
    from gpudoctor.cli.app import run_app

    return run_app(arguments)
