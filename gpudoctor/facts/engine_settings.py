"""Settings of container engines as they stand in their files: TOML of containerd, CRI-O and NVIDIA's toolkit, JSON of
docker. Only the few keys that decide whether a container can get a GPU; the standard library of Python 3.10 reads no
TOML.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

DAEMON_JSON = "/etc/docker/daemon.json"
NVIDIA = "nvidia"  # the name that NVIDIA's tools give to their runtime


class TomlKeys(NamedTuple):
    """Keys with their tables: ("crio", "runtime", "default_runtime")."""

    values: Mapping[tuple[str, ...], str]  # strings without quotes, all else as written; a table's own: (*NAMES, "")
    damaged: bool = False  # a line is no TOML, and what follows it is not here

    def ending(self, *names: str) -> str:
        """The value whose last names are these, whatever tables lie before; "" if there is none."""
        return next((value for key, value in self.values.items() if key[-len(names) :] == names), "")


class EngineSettings(NamedTuple):
    """What one file, or several together, set for GPUs."""

    runtime: str = ""  # the program behind the runtime called nvidia, "" none is configured
    default: str = ""  # the runtime that is taken where none is asked for, "" not said
    cdi: bool = False  # containers may name CDI devices
    imports: tuple[str, ...] = ()  # other files that belong to it, as patterns: "/etc/containerd/conf.d/*.toml"
    damaged: str = ""  # why it could not be understood


_LONGEST = 1 << 16  # letters of a list over several lines
_UNFINISHED = "["  # no TOML
_PRIVATE = {"registry", "auth", "image_decryption"}  # tables that concern no GPU, and hold passwords
_NO_TOML = "a line of it is no TOML that can be understood"
_PART = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
# Compiled when they are first used: most machines start no containers.
_TABLE = rf"\[\[?\s*({_KEY})\s*\]\]?"
_ASSIGNMENT = rf"({_KEY})\s*=\s*(.+)"
_COMMENT = r"""((?:[^"'#]|"(?:\\.|[^"\\])*"|'[^']*')*)#.*"""
_QUOTES = ("'''", '"""')


def toml_keys(text: str) -> TomlKeys:
    """The keys of a TOML file. Lists and inline tables are not taken apart."""
    values: dict[tuple[str, ...], str] = {}
    table: tuple[str, ...] = ()
    for line in _logical_lines(text):
        if header := re.fullmatch(_TABLE, line):
            table = _names(header[1])
            key, value = (*table, ""), ""
        elif assignment := re.fullmatch(_ASSIGNMENT, line):
            key, value = (*table, *_names(assignment[1])), _plain(assignment[2])
        else:
            return TomlKeys(values, damaged=True)
        if not _PRIVATE & {*table}:
            values[key] = value
    return TomlKeys(values)


def _logical_lines(text: str) -> Iterator[str]:
    """Without comments and empty lines; a list that goes on over several lines comes as one."""
    held, ending = "", ""
    for raw in text.splitlines():
        line = raw.strip()
        if ending:  # of a text over several lines, which says nothing here
            ending = "" if ending in line else ending
            continue
        if comment := re.fullmatch(_COMMENT, line):
            line = comment[1].strip()
        quote = next((quote for quote in _QUOTES if line.count(quote) == 1), "")
        if quote:
            line, ending = line.partition(quote)[0] + quote * 2, quote
        if (
            held and "=" in line and "{" not in held + line
        ):  # the list was not closed, and what follows is no part of it
            yield _UNFINISHED
            return
        held = f"{held} {line}".strip()
        opened = held.partition("=")[2].lstrip()[:1]
        if opened in ("[", "{") and held.count(opened) > held.count("]" if opened == "[" else "}"):
            if len(held) > _LONGEST:
                break
            continue
        if held:
            yield held
        held = ""
    if held:
        yield _UNFINISHED


def _names(key: str) -> tuple[str, ...]:
    return tuple(name.strip("\"'") for name in re.findall(_PART, key))


def _plain(value: str) -> str:
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0] else value


def containerd_settings(text: str) -> EngineSettings:
    """Of config.toml, or of a file that it imports: versions 2 and 3 differ in the names of tables only.

    containerd 2, which writes version 3, has CDI switched on where nothing is said.
    """
    keys = toml_keys(text)
    runtime = _under("runtimes", NVIDIA, keys)
    program = keys.ending("runtimes", NVIDIA, "options", "BinaryName")
    if runtime and not program:  # an old form; without any program it is the one from PATH
        program = keys.ending("runtimes", NVIDIA, "runtime_engine") or "nvidia-container-runtime"
    said = keys.ending("enable_cdi")
    return EngineSettings(
        program,
        keys.ending("containerd", "default_runtime_name"),
        said == "true" or (not said and keys.ending("version") == "3"),
        tuple(re.findall(r"[\"']([^\"']+)[\"']", keys.ending("imports"))),
        _NO_TOML if keys.damaged else "",
    )


def crio_settings(text: str) -> EngineSettings:
    """Of crio.conf or one of crio.conf.d. CRI-O always takes CDI devices."""
    keys = toml_keys(text)
    program = keys.ending("runtimes", NVIDIA, "runtime_path")
    if not program and _under("runtimes", NVIDIA, keys):
        program = "nvidia-container-runtime"
    return EngineSettings(
        program, keys.ending("runtime", "default_runtime"), True, (), _NO_TOML if keys.damaged else ""
    )


def _under(parent: str, name: str, keys: TomlKeys) -> bool:
    """Is there a table of this name?"""
    return any(parent in key and name in key[key.index(parent) + 1 : key.index(parent) + 2] for key in keys.values)


def docker_settings(text: str) -> EngineSettings:
    """Of daemon.json."""
    document = _object(text) if text.strip() else {}
    if document is None:
        return EngineSettings(damaged="it is no JSON object")
    runtimes, features = document.get("runtimes"), document.get("features")
    runtime = runtimes.get(NVIDIA) if isinstance(runtimes, dict) else None
    program = str(runtime.get("path") or "nvidia-container-runtime") if isinstance(runtime, dict) else ""
    default = document.get("default-runtime")
    cdi = isinstance(features, dict) and features.get("cdi") is True
    return EngineSettings(program, default if isinstance(default, str) else "", cdi)


def docker_flags(text: str) -> EngineSettings:
    """What a unit of systemd adds to docker's command line; where it names another file, that was not read."""
    runtime = re.search(r"--add-runtime[= ]\"?nvidia=([^\s\"]+)", text)
    other = re.search(r"--config-file[= ](\S+)", text)
    damaged = f"it is not read: docker is started with {other[0]}" if other and other[1] != DAEMON_JSON else ""
    return EngineSettings(runtime[1] if runtime else "", damaged=damaged)


def docker_context(text: str) -> str:
    """The engine that ~/.docker/config.json selects: "desktop-linux", "" the machine's own."""
    document = _object(text)
    context = document.get("currentContext") if document else None
    return context if isinstance(context, str) and context != "default" else ""


def with_nvidia_runtime(text: str) -> str:
    """daemon.json with the runtime called nvidia, all else as it was. Raises ValueError if it is no JSON object."""
    document = _object(text) if text.strip() else {}
    if document is None:
        raise ValueError("no JSON object")
    runtimes = document.get("runtimes")
    known = dict(runtimes) if isinstance(runtimes, dict) else {}
    document["runtimes"] = {**known, NVIDIA: {"args": [], "path": "nvidia-container-runtime"}}
    return json.dumps(document, indent=4, ensure_ascii=False) + "\n"


def _object(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


_TOML_OF_INTEREST = ("version", "imports", "default_runtime", "enable_cdi", "BinaryName", "runtime", "no-cgroups")
_JSON_OF_INTEREST = ("runtimes", "default-runtime", "features", "currentContext", "Runtime", "DeviceRequests")
_FOLDERS = ("/etc/containerd/", "/etc/crio/", "/etc/nvidia-container-runtime/", "/var/lib/rancher/")
_FILES = ("/daemon.json", "/.docker/config.json", "/hostconfig.json")


def is_engine_file(path: str) -> bool:
    """Is it one of the files that are read here?"""
    return path.startswith(_FOLDERS) or path.endswith(_FILES)


def relevant_engine_settings(text: str, path: str) -> str:
    """Such a file without what no check asks for: registries, proxies and their passwords; for snapshots."""
    if path.endswith(".json"):
        document = _object(text)
        if document is None:
            return "no JSON" if text.strip() else ""
        return json.dumps({key: document[key] for key in _JSON_OF_INTEREST if key in document})
    kept, wanted = [], True
    for line in _logical_lines(text):
        if header := re.fullmatch(_TABLE, line):
            wanted = not _PRIVATE & {*_names(header[1])}
            kept += [line] if wanted else []
        elif not (assignment := re.fullmatch(_ASSIGNMENT, line)):
            return "".join(f"{one}\n" for one in (*kept, "no TOML"))
        elif wanted and any(name.startswith(_TOML_OF_INTEREST) for name in _names(assignment[1])):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)
