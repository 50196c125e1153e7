"""Reads the TOML files that people write for gpudoctor: settings and acknowledged findings."""

import sys
from collections.abc import Iterable, Mapping

from gpudoctor.host import BadSource
from gpudoctor.near_names import meant, near_names
from gpudoctor.plain_files import read_named

LARGEST = 4 * 1024 * 1024  # bytes; such files have some dozens of lines

Table = Mapping[str, object]


def read_toml(path: str, patience: float | None = None) -> Table:
    """The whole file. Raises BadSource, in words for the user, if there is none or it is no TOML.

    `patience`: seconds for which a pipe may be silent.
    """
    return parse_toml(read_named(path, LARGEST + 1, patience=patience), path)


def parse_toml(data: bytes, path: str) -> Table:
    """As `read_toml`, of a file that was read already."""
    # Here for start-up: most files that are looked at have nothing for gpudoctor.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(data) > LARGEST:
        raise BadSource(f"{path}: larger than {LARGEST >> 20} MiB, which is no file of a person's")
    try:
        table: Table = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadSource(f"{path}: not UTF-8 at byte {error.start}, so no TOML") from error
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{path}: no TOML: {str(error).partition(chr(10))[0]}") from error
    return table


def require_keys(table: Table, known: Iterable[str], where: str) -> None:
    """Raises BadSource for a key that means nothing here, and names the one that may be meant."""
    names = tuple(known)
    for key in table:
        if key not in names:
            question = meant(near_names(key, names), f"there are {', '.join(names)}")
            raise BadSource(f"{where}: there is no {key!r}; {question}")
