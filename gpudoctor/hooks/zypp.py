"""The conversation with libzypp as its commit plugin: frames of a command, headers and a body, ended by a zero byte.

libzypp shows nothing of what a plugin prints, and a plugin cannot stop a commit: so it is told on the terminal of
zypper, or where there is none to the system log.
"""

import json
import os
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from gpudoctor.hooks.judging import judge, look_afterwards, unforeseen
from gpudoctor.hooks.verdict import Verdict, say
from gpudoctor.preflight.transaction import NoTransaction, Transaction, change

_ANSWERED = ("PLUGINBEGIN", "PLUGINEND", "COMMITBEGIN", "COMMITEND", "_DISCONNECT")


class Frame(NamedTuple):
    """One message of the protocol. Headers do not matter here."""

    command: str
    body: str


def serve(reading: BinaryIO, writing: BinaryIO) -> int:
    """Answer until libzypp disconnects or is gone. Returns 0."""
    while (frame := read_frame(reading)) is not None:
        if frame.command == "COMMITBEGIN":
            _tell(_before(frame.body))
        elif frame.command == "COMMITEND":
            _tell(look_afterwards(noted_only=True))
        answer = b"ACK\n\n\0" if frame.command in _ANSWERED else b"_ENOMETHOD\n\n\0"
        try:
            writing.write(answer)
            writing.flush()
        except BrokenPipeError:
            break
        if frame.command == "_DISCONNECT":
            break
    return 0


def read_frame(reading: BinaryIO) -> Frame | None:
    """The next message, None at the end of all."""
    data = bytearray()
    while (byte := reading.read(1)) != b"\0":
        if not byte:
            return None
        data += byte
    head, _, body = data.decode("utf-8", "replace").lstrip("\n").partition("\n\n")
    return Frame(head.partition("\n")[0].strip(), body)


def read_commit(body: str) -> Transaction:
    """What is about to be installed and removed. Raises NoTransaction if it is not libzypp's list of steps."""
    try:
        steps = json.loads(body)["TransactionStepList"]
        changes = []
        for step in steps:
            kind = step.get("type", "")
            if kind:  # else it is implied by another step, or no package
                solvable = step["solvable"]
                epoch = f"{solvable['e']}:" if solvable.get("e") else ""
                version = f"{epoch}{solvable['v']}-{solvable['r']}"
                going = kind == "-"
                changes.append(change(solvable["n"], solvable["a"], version if going else "", "" if going else version))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoTransaction(f"libzypp gave a list of steps that cannot be read: {body[:80]!r}") from error
    return Transaction("rpm", tuple(changes), (), "zypper")


def _before(body: str) -> Verdict:
    try:
        transaction = read_commit(body)
    except NoTransaction as reason:
        return unforeseen(str(reason))
    return judge(transaction, False, "")


def _tell(verdict: Verdict) -> None:
    lines = [line for line in verdict.lines if line]
    if not lines:
        return
    say(*lines)  # into libzypp's own log
    terminal = _terminal_of(os.getppid())
    if terminal is not None:
        with suppress(OSError), open(terminal, "w", errors="replace") as file:
            file.write("".join(f"gpudoctor: {line}\n" for line in lines))
            return
    from syslog import LOG_USER, LOG_WARNING, openlog, syslog

    openlog("gpudoctor", facility=LOG_USER)
    for line in lines:
        syslog(LOG_WARNING, line)


def _terminal_of(process: int) -> str | None:
    """The terminal on which a process prints, None if it prints elsewhere."""
    for number in (2, 1):
        with suppress(OSError):
            place = os.readlink(f"/proc/{process}/fd/{number}")
            if place.startswith(("/dev/pts/", "/dev/tty")):
                return place
    return None
