"""`check --baseline FILE` and `--save-baseline FILE`: acknowledge what is known."""

import os
import sys
from datetime import date

from gpudoctor.acknowledged import acknowledge, as_toml, entries_for, load_baseline
from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver
from gpudoctor.cli.options import CheckOptions
from gpudoctor.diagnose import Report


def with_acknowledged(report: Report, options: CheckOptions) -> Report:
    """The report with what the files acknowledge. Raises BadSource for a file that cannot be meant, BadUsage for one
    that cannot be written.
    """
    today = date.today()
    if options.save_baseline is not None:
        return _saved(report, options.save_baseline, options.baseline, today, options.timeout)
    assert options.baseline is not None
    acknowledged, notes = acknowledge(report, load_baseline(options.baseline, options.timeout), today)
    if not options.quiet:
        for note in notes:
            print(f"gpudoctor: {options.baseline}: {note}", file=sys.stderr)
    return acknowledged


def _saved(report: Report, path: str, other: str | None, today: date, timeout: float | None) -> Report:
    """`other`: a file whose entries are taken over, where they hold."""
    if path == "-":
        raise BadUsage("--save-baseline names a file: standard output is the report's")
    before = load_baseline(other, timeout) if other else ()
    if os.path.exists(path):
        known = {entry.problem for entry in before}
        before += tuple(entry for entry in load_baseline(path, timeout) if entry.problem not in known)
    entries = entries_for(report, before, today)
    deliver(as_toml(entries), path)
    new = sum(entry not in before for entry in entries)
    print(
        f"gpudoctor: {path}: {len(entries)} acknowledged, {new} of them new"
        + (": write there why, and until when" if new else ""),
        file=sys.stderr,
    )
    return acknowledge(report, entries, today)[0]
