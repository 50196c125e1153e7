"""Processes that hold the GPU, or that still map driver libraries which an upgrade has deleted."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.answers import DriverAnswers, answer_of
from gpudoctor.registry import fact


class Holder(NamedTuple):
    """A process with /dev/nvidia* open."""

    process_id: int
    user_id: int
    command: str
    devices: tuple[str, ...]
    python: str = ""  # prefix of the Python environment whose packages it has loaded, "" none


class StaleProcess(NamedTuple):
    """A process that maps driver libraries whose files are gone."""

    process_id: int
    user_id: int
    command: str
    paths: tuple[str, ...]


class DeviceUsers(NamedTuple):
    """Both kinds. `unreadable`: processes of other users that could not be looked into."""

    holders: tuple[Holder, ...]
    stale: tuple[StaleProcess, ...]
    unreadable: int


@fact
def device_users(asked: DriverAnswers) -> DeviceUsers:
    """From the probe that reads /proc in a child: the maps of a process that hangs in the driver cannot be read."""
    answer = answer_of(asked, "processes", "the list of processes")
    unreadable = answer.get("unreadable")
    return DeviceUsers(
        tuple(_holder(entry) for entry in _entries(answer, "holders")),
        tuple(
            StaleProcess(*_identity(entry), _texts(entry, "paths")) for entry in _entries(answer, "deleted_libraries")
        ),
        unreadable if isinstance(unreadable, int) else 0,
    )


def _holder(entry: Mapping[str, object]) -> Holder:
    python = entry.get("python")
    return Holder(*_identity(entry), _texts(entry, "devices"), python if isinstance(python, str) else "")


def _entries(answer: Mapping[str, object], field: str) -> list[Mapping[str, object]]:
    value = answer.get(field)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _identity(entry: Mapping[str, object]) -> tuple[int, int, str]:
    process_id, user_id, command = entry.get("pid"), entry.get("user_id"), entry.get("command")
    return (
        process_id if isinstance(process_id, int) else 0,
        user_id if isinstance(user_id, int) else 0,
        command if isinstance(command, str) else "",
    )


def _texts(entry: Mapping[str, object], field: str) -> tuple[str, ...]:
    value = entry.get(field)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()
