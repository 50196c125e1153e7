"""The settings of `check`: gpudoctor.toml, or the table [tool.gpudoctor] of pyproject.toml.

    expect-gpus = 8
    timeout = 30                      # seconds; `deep-timeout` with --deep
    skip = ["gpu.persistence-off"]    # checks or domains
    fail-on = "error"
    exit-map = "simple"
    format = "junit"
    baseline = "known.toml"           # as seen from the folder of this file

What the command line says goes before them; what it skips is skipped as well. Unasked, they are read from the working
directory only, and only where nobody else could have written them: they can hide what is wrong.
"""

import os
import re
import stat
import sys
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.cli.options import SHORTEST, TOO_LONG, CheckOptions
from gpudoctor.exit_codes import EXIT_MAPS, FAIL_ON
from gpudoctor.host import BadSource, Unavailable
from gpudoctor.near_names import meant, near_names
from gpudoctor.plain_files import require_file
from gpudoctor.reports.formats import FORMATS
from gpudoctor.toml_files import LARGEST, Table, parse_toml, read_toml, require_keys

OWN_FILE, PROJECT_FILE = "gpudoctor.toml", "pyproject.toml"

_MAY_SET_SOMETHING = re.compile(rb"""^\s*(\[\s*)?["']?tool["']?\s*(\.\s*["']?gpudoctor|\])""", re.MULTILINE)

_KEYS = ("timeout", "deep-timeout", "expect-gpus", "skip", "fail-on", "exit-map", "format", "baseline")


class Settings(NamedTuple):
    """What a file says; None and () where it says nothing. `path`: "" where there is no file."""

    path: str = ""
    timeout: float | None = None  # seconds
    deep_timeout: float | None = None  # seconds
    expect_gpus: int | None = None
    skip: tuple[str, ...] = ()
    fail_on: str | None = None
    exit_map: str | None = None
    format: str | None = None
    baseline: str | None = None


def with_settings(options: CheckOptions, settings: Settings) -> CheckOptions:
    """The options, and the settings where the command line says nothing."""
    timeout = settings.deep_timeout if options.deep else settings.timeout
    return options._replace(
        timeout=options.timeout or timeout,
        expect_gpus=settings.expect_gpus if options.expect_gpus is None else options.expect_gpus,
        skip=(*options.skip, *settings.skip),
        fail_on=options.fail_on or settings.fail_on,
        exit_map=options.exit_map or settings.exit_map,
        format=options.format or settings.format,
        baseline=settings.baseline if options.baseline is None else options.baseline,
    )


def found_settings(named: str | None, patience: float | None = None) -> Settings:
    """Those of the file that the user names, else of the working directory. Raises BadSource for what cannot be meant.

    A file that lies there, and that others could have written, is left alone and named on standard error.
    `patience`: seconds for which a named one that is a pipe may be silent.
    """
    if named is not None:
        settings = _settings(read_toml(named, patience), named)
        if not settings.path:
            raise BadSource(f"{named}: there is no table [tool.gpudoctor] in it")
        return settings
    for name in (OWN_FILE, PROJECT_FILE):
        try:
            # Not blocking: anybody can lay a named pipe into /tmp.
            with open(name, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
                found = os.fstat(file.fileno())
                require_file(name, found)
                data, doubt = file.read(LARGEST + 1), _doubt(found, os.stat("."))
        except FileNotFoundError:
            continue
        except Unavailable as reason:
            if name == OWN_FILE:
                raise BadSource(str(reason)) from None
            print(f"gpudoctor: {reason}, and not read", file=sys.stderr)
            continue
        except OSError as error:
            if name == OWN_FILE:
                raise BadSource(f"{name} of this folder: {error.strerror}") from error
            print(f"gpudoctor: {name} of this folder is not read: {error.strerror}", file=sys.stderr)
            continue
        # Most projects set nothing for gpudoctor: they are not made to wait, nor bothered with a doubt or a mistake.
        if name == PROJECT_FILE and not _MAY_SET_SOMETHING.search(data):
            continue
        if doubt:
            print(f"gpudoctor: {name} is not read, for {doubt}; `--config {name}` reads it", file=sys.stderr)
            continue
        settings = _settings(parse_toml(data, name), name)
        if settings.path:
            return settings
    return Settings()


def _doubt(file: os.stat_result, folder: os.stat_result) -> str:
    """Why somebody else may have put it there, "" if nobody could."""
    me = os.geteuid()
    for what, found in (("it", file), ("this folder", folder)):
        if found.st_uid not in (me, 0):
            return f"{what} belongs to user {found.st_uid}"
        # Many people's files can be changed by their group, which is theirs alone; root's have no reason to.
        if found.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if me == 0 else 0)):
            return f"{what} can be changed by others"
    return ""


def _settings(table: Table, path: str) -> Settings:
    if os.path.basename(path) == PROJECT_FILE:
        tool = table.get("tool", {})
        own = tool.get("gpudoctor") if isinstance(tool, dict) else None
        if own is None:
            return Settings()
        if not isinstance(own, dict):
            raise BadSource(f"{path}: tool.gpudoctor is a table of settings, not {own!r}")
        table, path = own, f"{path} [tool.gpudoctor]"
    elif "tool" in table:
        raise BadSource(f"{path}: here the settings stand without [tool.gpudoctor], which is for {PROJECT_FILE}")
    require_keys(table, _KEYS, path)
    folder = os.path.dirname(path.removesuffix(" [tool.gpudoctor]"))
    baseline = _text(table, "baseline", path)
    return Settings(
        path,
        _seconds(table, "timeout", path),
        _seconds(table, "deep-timeout", path),
        _count(table, "expect-gpus", path),
        _texts(table, "skip", path),
        _one_of(table, "fail-on", tuple(FAIL_ON), path),
        _one_of(table, "exit-map", tuple(EXIT_MAPS), path),
        _one_of(table, "format", tuple(FORMATS), path),
        None if baseline is None else os.path.join(folder, os.path.expanduser(baseline)),
    )


def _seconds(table: Table, key: str, path: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not SHORTEST <= value < TOO_LONG:
        raise BadSource(f"{path}: {key} is a number of seconds, at least {SHORTEST}, not {value!r}")
    return float(value)


def _count(table: Table, key: str, path: str) -> int | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadSource(f"{path}: {key} is a number of GPUs, not {value!r}")
    return value


def _texts(table: Table, key: str, path: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadSource(f'{path}: {key} is a list of checks, ["gpu.persistence-off"], not {value!r}')
    return tuple(value)


def _text(table: Table, key: str, path: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise BadSource(f"{path}: {key} is a text in quotes, not {value!r}")
    return value


def _one_of(table: Table, key: str, words: Sequence[str], path: str) -> str | None:
    value = _text(table, key, path)
    if value is not None and value not in words:
        question = meant(near_names(value, words), f"it is {', '.join(words[:-1])} or {words[-1]}")
        raise BadSource(f"{path}: {key} is not {value!r}; {question}")
    return value
