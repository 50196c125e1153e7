"""zypper's history: lines of fields between bars, written when each package is done."""

import re

from gpudoctor.facts.history import PackageEvent
from gpudoctor.facts.log_times import seconds_of


def read_history(text: str, source: str) -> list[PackageEvent]:
    """Events in /var/log/zypp/history; comments and other lines are passed over.

    The log calls an upgrade an installation. It is told from one by an earlier line about the same package. Kernels
    are installed side by side, so theirs are installations.
    """
    events = []
    command = ""
    present: dict[tuple[str, str], str] = {}
    for line in text.split("\n"):
        if line.startswith("#") or line.count("|") < 3:
            continue
        fields = [field.replace("\\|", "|") for field in re.split(r"(?<!\\)\|", line)]
        when, action = fields[0], fields[1].strip()
        time = seconds_of(when)
        if time is None:
            continue
        match action, fields[2:]:
            case "command", [_, words, *_]:
                command = words.replace("'", "")
            case "install", [name, version, arch, *_]:
                old = "" if name.startswith("kernel-") else present.get((name, arch), "")
                present[name, arch] = version
                kind = _kind(old, version)
                events.append(PackageEvent(time, when, kind, name, old, version, command, True, source))
            case "remove", [name, version, arch, *_]:
                present.pop((name, arch), None)
                events.append(PackageEvent(time, when, action, name, version, "", command, True, source))
            case _:
                pass
    return events


def _kind(old: str, new: str) -> str:
    if not old:
        return "install"
    if old == new:
        return "reinstall"
    return "downgrade" if _numbers(new) < _numbers(old) else "upgrade"


def _numbers(version: str) -> list[int]:
    """Enough of rpm's order to tell up from down; letters do not count."""
    epoch, _, rest = version.rpartition(":")
    return [int(word) for word in re.findall("[0-9]+", f"{epoch or 0}:{rest}")]
