"""What the head of NVIDIA's .run files says: shell scripts with an archive behind them, made by makeself.

The driver's come from NVIDIA's own makeself 1.6.0-nv, which takes its checksum over all but the first three lines of
the script; the toolkit's from makeself 2, which takes it over the archive alone.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version

HEAD_SIZE = 512 * 1024  # bytes; the driver's script has about 40 KiB of help in it


class RunfileHead(NamedTuple):
    """One head. "", 0 and None for what it does not say."""

    kind: str  # "driver", "cuda", "" something else that makeself packed
    label: str  # "NVIDIA Accelerated Graphics Driver for Linux-x86_64 580.95.05"
    version: str  # of what is in it: "580.95.05"; a toolkit's head may not tell
    architecture: str  # "x86_64", "aarch64"
    archive: int  # byte at which the archive begins
    checked: int  # byte from which on the checksum is taken, to the end of the file
    md5: str
    size: int | None  # bytes of the whole file
    unpacked: int  # bytes that the archive unpacks to


def read_head(head: bytes) -> RunfileHead | None:
    """From the first HEAD_SIZE bytes of a file; None if makeself has not made it, or the head is cut off."""
    if not head.startswith((b"#!/bin/sh", b"#! /bin/sh")):
        return None
    first = head[:8192].decode("utf-8", "replace")
    values = _assignments(first)
    lines = _script_lines(values, head)
    archive = _offset(head, lines)
    if "label" not in values or "CRCsum" not in values or not archive:
        return None
    script = head[:archive].decode("utf-8", "replace")
    label, kind = values["label"], _kind(values)
    since = re.search(r"tail -n \+([0-9]+) \$0 *\| *cksum", script)
    sizes = [int(word) for word in values.get("filesizes", "").split() if word.isdecimal()]
    unpacked = re.search(r"Uncompressed size *: *([0-9]+) *KB", script)
    md5 = values.get("MD5", "")
    return RunfileHead(
        kind,
        label,
        _version(kind, label, values),
        values.get("TARGET_ARCH", ""),
        archive,
        _offset(head, int(since[1]) - 1) if since else archive,
        md5 if md5.strip("0") else "",
        archive + sum(sizes) if sizes else None,
        int(unpacked[1]) * 1024 if unpacked else 0,
    )


def _assignments(script: str) -> Mapping[str, str]:
    """The variables that the script sets before it does anything, without quotes. The first value of each counts."""
    found: dict[str, str] = {}
    for match in re.finditer(r"^(\w+)=(\"[^\"\n]*\"|[^\s\"'`$;]*)$", script, re.MULTILINE):
        found.setdefault(match[1], match[2].strip('"'))
    return found


def _script_lines(values: Mapping[str, str], head: bytes) -> int:
    """How many lines stand before the archive; 0 if nothing tells."""
    skip = values.get("skip", "")
    if skip.isdecimal():
        # NVIDIA's counts the archive's own first line, makeself 2.4 the last one of the script.
        return int(skip) - 1 if "TARGET_ARCH" in values else int(skip)
    told = re.search(rb'offset=`head -n ([0-9]+) "\$0"', head)
    return int(told[1]) if told else 0


def _offset(head: bytes, lines: int) -> int:
    """The byte behind so many lines; 0 if there are not so many."""
    place = 0
    for _ in range(lines):
        place = head.find(b"\n", place) + 1
        if not place:
            return 0
    return place


def _kind(values: Mapping[str, str]) -> str:
    script = values.get("script", "").rpartition("/")[2].partition(" ")[0]
    return {"nvidia-installer": "driver", "cuda-installer": "cuda"}.get(script, "")


def _version(kind: str, label: str, values: Mapping[str, str]) -> str:
    """What label and version field agree on; a driver's are of one making."""
    words = label.split()
    if kind == "driver":
        told = {word for word in (words[-1] if words else "", values.get("version_string", "")) if word}
        versions = {word for word in told if is_driver_version(word)}
        return versions.pop() if len(versions) == 1 else ""
    numbers = [word for word in words if re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,2}(?:\.[0-9]{1,3})?", word)]
    return numbers[0] if kind == "cuda" and len(numbers) == 1 else ""
