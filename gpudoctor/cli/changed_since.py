"""`check --changed-since FILE`: for cron and timers, which are to speak up when something has changed and only then."""

import os
import sys
from collections.abc import Callable

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver
from gpudoctor.cli.options import CheckOptions
from gpudoctor.findings import Report
from gpudoctor.last_look import (
    changes_between,
    changes_in_words,
    known_before,
    require_memory,
    state_after,
    write_state,
)
from gpudoctor.reports.formats import TEXT


def tell_changes(report: Report, options: CheckOptions, tell: Callable[[Report], int]) -> int:
    """Returns 0 and prints nothing while all is as it was; else tells it and returns the report's exit code.

    As text what has come and gone is told; `tell` prints or writes a whole report, which other formats show then.
    The file is written when all was told: what could not be is told the next time. Raises BadUsage or BadSource for
    a file that cannot be read, must not be trusted, or cannot be written.
    """
    name = options.changed_since or ""
    path = os.path.abspath(name)
    try:
        require_memory(path)
        before = known_before(path, lambda words: print(f"gpudoctor: {words}", file=sys.stderr))
    except OSError as error:
        raise BadUsage(f"cannot read {name}: {error.strerror}") from error
    now = state_after(report, before)
    words = changes_in_words(before, now)
    code = 0
    if words and (options.format or TEXT) == TEXT:
        deliver(words, options.output)
        code = report.exit_code
    elif words:
        code = tell(report._replace(changes=changes_between(before, now)))
    sys.stdout.flush()  # a disk that is full says so here, before it is noted as told
    try:
        write_state(path, now)
    except OSError as error:
        raise BadUsage(f"cannot write {name}, so this will be told again: {error.strerror}") from error
    return code
