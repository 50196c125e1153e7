"""`check --baseline FILE` and `--save-baseline FILE`: acknowledge what is known."""

import os
import sys
from datetime import date

from gpudoctor.acknowledged import Entry, acknowledge, as_toml, entries_for, load_baseline
from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver
from gpudoctor.cli.options import CheckOptions
from gpudoctor.findings import Report
from gpudoctor.registry import load_plugins


def acknowledged_before(options: CheckOptions) -> tuple[Entry, ...]:
    """What the files acknowledge; of one that is to be written, the entries of the other are added where it has none.

    Raises BadSource for a file that cannot be meant, BadUsage for one that cannot be written.
    """
    load_plugins()  # only they say which checks there are
    known = load_baseline(options.baseline, options.timeout) if options.baseline is not None else ()
    path = options.save_baseline
    if path == "-":
        raise BadUsage("--save-baseline names a file: standard output is the report's")
    if path is not None and os.path.exists(path):
        problems = {entry.problem for entry in known}
        known += tuple(entry for entry in load_baseline(path, options.timeout) if entry.problem not in problems)
    return known


def with_acknowledged(report: Report, known: tuple[Entry, ...], options: CheckOptions) -> Report:
    """The report with what is acknowledged, and the file of it where one is wanted. Raises BadUsage for a file that
    cannot be written.
    """
    today = date.today()
    if options.save_baseline is not None:
        return _saved(report, options.save_baseline, known, today, quiet=options.quiet)
    acknowledged, notes = acknowledge(report, known, today)
    if not options.quiet:
        for note in notes:
            print(f"gpudoctor: {options.baseline}: {note}", file=sys.stderr)
    return acknowledged


def _saved(report: Report, path: str, before: tuple[Entry, ...], today: date, *, quiet: bool) -> Report:
    """`before`: entries that are taken over, where they hold."""
    entries = entries_for(report, before, today)
    deliver(as_toml(entries), path)
    new = sum(entry not in before for entry in entries)
    if not quiet:
        print(
            f"gpudoctor: {path}: {len(entries)} acknowledged, {new} of them new"
            + (": write there why (`reason`), and until when (`expires`)" if new else ""),
            file=sys.stderr,
        )
    return acknowledge(report, entries, today)[0]
