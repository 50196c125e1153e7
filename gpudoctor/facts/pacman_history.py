"""pacman's log."""

from gpudoctor.facts.history import PackageEvent
from gpudoctor.facts.log_times import seconds_of

_ACTIONS = {
    "installed": "install",
    "upgraded": "upgrade",
    "downgraded": "downgrade",
    "reinstalled": "reinstall",
    "removed": "remove",
}


def read_log(text: str, source: str) -> list[PackageEvent]:
    """Events in lines like "[2026-11-22T06:50:11+0000] [ALPM] upgraded linux (6.1-1 -> 6.2-1)", with the time zone as
    written; other lines are passed over. A transaction that starts and does not complete leaves its events incomplete.
    """
    events: list[PackageEvent] = []
    command = ""
    unfinished: int | None = None  # where the events of the transaction begin that has not completed yet
    for line in text.split("\n"):
        when, _, rest = line.removeprefix("[").partition("] ")
        origin, _, words = rest.partition("] ")
        if origin == "[PACMAN" and words.startswith("Running "):
            command = words.removeprefix("Running ").strip("'")
        if origin != "[ALPM":
            continue
        if words.startswith("transaction "):
            if unfinished is not None and words != "transaction completed":
                events[unfinished:] = _interrupted(events[unfinished:])
            unfinished = len(events) if words == "transaction started" else None
            continue
        verb, _, what = words.partition(" ")
        name, found, versions = what.partition(" (")
        time = seconds_of(when) if found and verb in _ACTIONS else None
        if time is None:
            continue
        old, _, new = versions.removesuffix(")").partition(" -> ")
        action = _ACTIONS[verb]
        if action == "install":
            old, new = "", old
        elif action == "reinstall":
            new = old
        events.append(PackageEvent(time, when, action, name, old, new, command, True, source))
    if unfinished is not None:
        events[unfinished:] = _interrupted(events[unfinished:])
    return events


def _interrupted(events: list[PackageEvent]) -> list[PackageEvent]:
    return [event._replace(complete=False) for event in events]
