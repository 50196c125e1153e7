"""The whole text and the owner of the files that set variables of interest or the loader's folders, for repairs."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import LoaderConfig
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact

_MOST = 256 * 1024  # bytes; a longer file is nobody's start-up file


class SettingFile(NamedTuple):
    """One file, links followed: its real path is what is written."""

    real_path: str
    text: str
    owner: int  # user id


class SettingFiles(NamedTuple):
    """By the path under which `Environment` and `LoaderConfig` name it. `problems`: by path, why a file is not here."""

    files: Mapping[str, SettingFile]
    problems: Mapping[str, str]


@fact
def setting_files(
    host: Host, environment: Environment | Unavailable, config: LoaderConfig | Unavailable
) -> SettingFiles:
    """Of files with such settings only. Raises Unavailable for a snapshot, which keeps single lines of them."""
    if host.source == "snapshot":
        raise Unavailable("a snapshot has only single lines of the files that set variables")
    named = [setting.path for setting in environment.settings] if isinstance(environment, Environment) else []
    named += [folder.path for folder in config.folders] if isinstance(config, LoaderConfig) else []
    files: dict[str, SettingFile] = {}
    problems: dict[str, str] = {}
    for path in dict.fromkeys(named):
        try:
            found = _file(host, path)
        except Unavailable as reason:
            problems[path] = str(reason)
            continue
        if found is not None:
            files[path] = found
    return SettingFiles(files, problems)


def _file(host: Host, path: str) -> SettingFile | None:
    status, real = host.status(path), host.resolve(path)
    if status is None or real is None:
        return None
    if status.kind != "file" or status.size > _MOST:
        raise Unavailable(f"{path} is too large to be rewritten")
    text = host.read(path)
    if text is None:
        return None
    if not _is_plain(text):
        raise Unavailable(f"{path} is no plain UTF-8 text")
    return SettingFile(real, text, status.user)


def _is_plain(text: str) -> bool:
    """Would writing the text give the same bytes again? What was no UTF-8 was read as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def folders_listed(value: str) -> tuple[str, ...]:
    """The folders in a value as a file sets it, without references to variables.

    ("/usr/local/cuda/lib64",) of "/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}".
    """
    left = value
    while (shorter := re.sub(r"\$\{[^{}]*\}|\$\w+", "", left)) != left:
        left = shorter
    return tuple(piece.strip().rstrip("/") for piece in left.replace(";", ":").split(":") if piece.strip())
