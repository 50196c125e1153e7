"""The options that commands share, and readers of `check`'s and `triage`'s plain spellings that need no library."""

from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.exit_codes import EXIT_MAPS, FAIL_ON
from gpudoctor.reports.formats import FORMATS, TEXT


class CheckOptions(NamedTuple):
    """`gpudoctor check`, as typer or the quick reader understood it. None: not said, so that the settings count."""

    root: str | None = None
    kernel: str | None = None
    snapshot: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    format: str | None = None
    output: str | None = None
    expect_gpus: int | None = None
    timeout: float | None = None
    python: tuple[str, ...] = ()
    deep: bool = False
    fail_on: str | None = None
    exit_map: str | None = None
    quiet: bool = False
    baseline: str | None = None
    save_baseline: str | None = None
    changed_since: str | None = None
    config: str | None = None
    also: tuple[str, ...] = ()  # "FORMAT=FILE"


SHORTEST, TOO_LONG = 0.1, 1e9  # seconds that a run may take; from about there on no clock of the system can wait

_REPEATABLE = ("only", "skip", "python", "also")
_FLAGS = ("deep", "quiet")


def quick_check_options(arguments: Sequence[str]) -> CheckOptions | None:
    """The options of `check` in the spellings `--name value` and `--name=value`.

    None for anything else, `--help` and mistakes included: typer then explains.
    """
    values: dict[str, object] = {}
    words = list(arguments)
    while words:
        name, equals, value = words.pop(0).partition("=")
        field = name.removeprefix("--").replace("-", "_")
        if field in _FLAGS and name.startswith("--") and not equals:
            values[field] = True
            continue
        if not name.startswith("--") or field not in CheckOptions._fields or (not equals and not words):
            return None
        if field in _FLAGS:
            return None
        text = value if equals else words.pop(0)
        if text.startswith("-"):
            return None
        if field in _REPEATABLE:
            values[field] = (*values.get(field, ()), text)  # type: ignore[misc]
            continue
        read = {"expect_gpus": int, "timeout": float}.get(field, str)
        try:
            values[field] = read(text)
        except ValueError:
            return None
    options = CheckOptions(**values)  # type: ignore[arg-type]
    plausible = (
        (options.format is None or options.format in FORMATS)
        and (options.fail_on is None or options.fail_on in FAIL_ON)
        and (options.exit_map is None or options.exit_map in EXIT_MAPS)
        and (options.expect_gpus or 0) >= 0
        and (options.timeout is None or SHORTEST <= options.timeout < TOO_LONG)
    )
    return options if plausible else None


class TriageOptions(NamedTuple):
    """`gpudoctor triage`. `file`: None or "-" is standard input."""

    file: str | None = None
    format: str = TEXT
    output: str | None = None


def quick_triage_options(arguments: Sequence[str]) -> TriageOptions | None:
    """The same of `triage`: a file at most, and the options in these two spellings. None for anything else."""
    options = TriageOptions()
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--format", "--output"):
            if not equals and not words:
                return None
            value = value if equals else words.pop(0)
            if value.startswith("-"):
                return None
            options = options._replace(**{name[2:]: value})
        elif options.file is None and (word == "-" or not word.startswith("-")):
            options = options._replace(file=word)
        else:
            return None
    return options if options.format in FORMATS else None
