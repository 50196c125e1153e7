"""`gpudoctor diff`: what changed between two snapshots, or between a snapshot and this machine now."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.changes import Side, changes_between
from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver, diagnose_with, wants_colour
from gpudoctor.cli.snapshot import recorded
from gpudoctor.cli.source import open_host
from gpudoctor.host import Host
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.reports.diff import Labels
from gpudoctor.snapshot import SnapshotHost, load
from gpudoctor.time_limit import limit


class DiffOptions(NamedTuple):
    """`gpudoctor diff`. `after`: None means this machine."""

    before: str
    after: str | None
    format: str
    output: str | None
    timeout: float
    python: Sequence[str] = ()  # of this machine, as with `check`


def diff(options: DiffOptions) -> int:
    """Compare, print or write the report. Returns the exit code, judged by what became worse."""
    began = time.monotonic()
    if options.before == options.after == "-":
        raise BadUsage("standard input holds one snapshot; name a file for the other")
    if options.python and options.after is not None:
        raise BadUsage("--python names environments of this machine, and two snapshots are compared")
    before = load(options.before, options.timeout)
    if options.after is not None:
        after: Host = load(options.after, options.timeout)
    else:
        after = _this_machine(options.timeout, options.python)
    one, other = _side(before), _side(after)
    changes = changes_between(one, other)
    duration_ms = round((time.monotonic() - began) * 1000)
    labels = Labels(_named(options.before), "this machine" if options.after is None else _named(options.after))
    if options.format == "json":
        from gpudoctor.reports.diff_json import as_json

        load_plugins(fixes=True)  # the report names the fixes of each finding
        text = as_json(changes, one, other, labels, duration_ms)
    else:
        from gpudoctor.reports.diff import as_text

        colour = options.output is None and wants_colour()
        text = as_text(changes, one, other, labels, duration_ms, colour=colour)
    deliver(text, options.output)
    return changes.exit_code


def _side(host: Host) -> Side:
    facts = Facts(host)
    return Side(facts, diagnose_with(facts))


def _this_machine(timeout: float, pythons: Sequence[str]) -> Host:
    """As a snapshot of it would be: with the same words for its names, else every home folder would be another."""
    with limit(timeout):
        return SnapshotHost(recorded(open_host(timeout=timeout, pythons=pythons)))


def _named(path: str) -> str:
    return "standard input" if path == "-" else path
