"""apt's history.log and dpkg's own log."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpudoctor.facts.history import PackageEvent
from gpudoctor.facts.log_times import seconds_of
from gpudoctor.facts.package_names import is_of_interest

_ACTIONS = ("Install", "Upgrade", "Downgrade", "Reinstall", "Remove", "Purge")
_VERBS = ("install ", "upgrade ", "remove ", "purge ")


class Run(NamedTuple):
    """One run of apt."""

    start: float
    end: float | None  # None: the log has no end for it
    events: tuple[PackageEvent, ...]


def newest_logs(names: Iterable[str], rotated: int) -> list[str]:
    """history.log and the newest rotated ones, oldest first: "history.log.2.gz", "history.log.1.gz", "history.log"."""
    found = {}
    for name in names:
        number = name.removesuffix(".gz").removeprefix("history.log").removeprefix(".")
        if name.startswith("history.log") and (number.isdecimal() or name == "history.log"):
            found[name] = int(number or 0)
    newest = sorted(found, key=lambda name: found[name])[: rotated + 1]
    return newest[::-1]


def unpack(data: bytes, limit: int) -> str:
    """The text in a gzip file, at most `limit` bytes of it. Of a damaged file, what comes before the damage: old
    logs are evidence, and the newest one is not packed.
    """
    import zlib  # here for start-up

    try:
        return zlib.decompressobj(wbits=31).decompress(data, limit).decode("utf-8", "surrogateescape")
    except zlib.error:
        return ""


def read_runs(text: str, source: str) -> list[Run]:
    """Runs in a history.log, with their events of interest; lines that are none of apt's are passed over."""
    runs = []
    for block in f"\n{text}".split("\nStart-Date:")[1:]:
        when, _, rest = block.partition("\n")
        start = seconds_of(when)
        if start is None:
            continue
        fields = dict(line.partition(": ")[::2] for line in rest.split("\n"))
        end = fields.get("End-Date")
        command = fields.get("Commandline", "").strip()
        events = [
            PackageEvent(start, when.strip(), action.lower(), name, old, new, command, end is not None, source)
            for action in _ACTIONS
            for name, old, new in _changes(action, fields.get(action, ""))
        ]
        runs.append(Run(start, None if end is None else seconds_of(end), tuple(events)))
    return runs


def _changes(action: str, text: str) -> list[tuple[str, str, str]]:
    """(name, old, new) in "libcuda1:amd64 (535.261.03-1, 535.309.01-1), dkms:amd64 (3.0.10-8, automatic)"."""
    changes = []
    for item in text.split("), "):
        full_name, found, inside = item.strip().removesuffix(")").partition(" (")
        name = full_name.partition(":")[0]
        if not found or not is_of_interest(name):
            continue
        versions = [word for word in inside.split(", ") if word != "automatic"]
        first, last = (versions[0], versions[-1]) if versions else ("", "")
        if action == "Install":
            changes.append((name, "", first))
        elif action in ("Remove", "Purge"):
            changes.append((name, first, ""))
        else:  # a reinstallation names one version: it is old and new
            changes.append((name, first, last))
    return changes


def read_dpkg_log(text: str, source: str) -> list[PackageEvent]:
    """What dpkg did: "2026-11-23 20:21:25 upgrade libcuda1:amd64 535.261.03-1 535.309.01-1"."""
    events = []
    for line in text.split("\n"):
        if not line.startswith(_VERBS, 20):  # behind date and time; most lines are about states
            continue
        match line.split(" "):
            case [date, clock, ("install" | "upgrade" | "remove" | "purge") as action, full_name, old, new]:
                name = full_name.partition(":")[0]
                time = seconds_of(f"{date} {clock}") if is_of_interest(name) else None
                if time is not None:
                    old, new = ("" if version == "<none>" else version for version in (old, new))
                    kind = "reinstall" if action == "upgrade" and old == new else action
                    events.append(PackageEvent(time, f"{date} {clock}", kind, name, old, new, "", True, source))
            case _:
                pass
    return events


def outside(runs: Sequence[Run], direct: Iterable[PackageEvent]) -> list[PackageEvent]:
    """dpkg's events that no run of apt accounts for: somebody called dpkg. A run without an end accounts for what it
    named until the next run starts.
    """
    next_starts = [*(run.start for run in runs[1:]), float("inf")]
    spans = [
        (run.start - 1, (next_start if run.end is None else run.end) + 1, {event.package for event in run.events})
        for run, next_start in zip(runs, next_starts, strict=False)
    ]
    return [
        event
        for event in direct
        if not any(start <= event.time <= end and event.package in names for start, end, names in spans)
    ]
