"""The command line. Each command opens a host, calls one function, prints, and gives an exit code.

`main` keeps two doors: the common spellings of `check`, `triage`, `hook run`, `--version` and `--help` do not wait for
typer to be imported (measured: it doubles the time of a check); everything else, and everything wrong, goes through
typer.
"""

import sys
from contextlib import suppress

COULD_NOT_TELL = 3  # exit code: also bad usage, which must not look like a sick machine


def main() -> None:
    """The console script: runs the command line of this process and ends it."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command line. Returns the exit code; prints answers to standard output, everything else to standard error."""
    if sys.stdout is None or sys.stderr is None:
        _stand_in_for_closed_streams()
    if arguments[:2] == ["hook", "run"]:
        from gpudoctor.hooks.run import run_hook  # a package manager waits: only what this hook needs is imported

        return run_hook(arguments[2:])
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        pass  # the reader has seen enough (`| head`)
    except Exception as error:  # noqa: BLE001 - by itself Python would end with 1, which says that there are warnings
        _complain(_in_words(error))
    _let_go_of_dead_streams()
    return COULD_NOT_TELL


def _in_words(error: Exception) -> str:
    """What went wrong, for the user. What nobody foresaw is our own bug, and its traceback is printed before that."""
    from gpudoctor.host import BadSource  # here for start-up: a run that ends well needs none of them
    from gpudoctor.registry import NoPlugins

    match error:
        case BadUsage() | BadSource() | NoPlugins():
            return str(error)
        case OSError(filename=str(name), strerror=str(reason)):
            return f"{name}: {reason}"
        case OSError(strerror=str(reason)):  # a full disk under standard output, say
            return f"cannot print: {reason}"
    from traceback import format_exception

    with suppress(OSError):
        print("".join(format_exception(error)), end="", file=sys.stderr)
    return f"{own_bug(error)}: please report it with the lines above"


def own_bug(error: Exception) -> str:
    """What to call something that nobody foresaw, in one line."""
    said = " ".join(str(error).split())
    return f"our own bug ({type(error).__name__}{said and f': {said}'})"


def _complain(words: str) -> None:
    """Nobody need be listening there: that is no reason to end in another way."""
    with suppress(OSError):
        print(f"gpudoctor: {words}", file=sys.stderr)


def _let_go_of_dead_streams() -> None:
    """What cannot be written now cannot be at exit either, where Python would complain, and end with its own code."""
    import os

    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
    if arguments == ["--version"]:
        from gpudoctor.cli.version import version_lines

        print(version_lines(), end="")
        return 0
    if arguments == ["--help"]:
        print(prepared_help(), end="")
        return 0
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
