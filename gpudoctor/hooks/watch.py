"""`gpudoctor hook run watch`: check, and report only what has come and gone since the last time."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.diagnose import diagnose
from gpudoctor.findings import Report, Severity
from gpudoctor.hooks.notify import deliver, require_target
from gpudoctor.hooks.verdict import first_line, say
from gpudoctor.host import GLOBAL_TIMEOUT, BadSource
from gpudoctor.last_look import State, changes_between, changes_in_words, known_before, state_after, write_state
from gpudoctor.registry import NoPlugins
from gpudoctor.state import make_folder, state_folder

COULD_NOT_TELL = 3


class WatchOptions(NamedTuple):
    """`gpudoctor hook run watch`; see `wish.Wish`."""

    notify: tuple[str, ...] = ()
    expect_gpus: int | None = None


def watch_command(words: Sequence[str]) -> int:
    """Returns 0 if all is told that was to be told, else 3 with the reason on standard error."""
    try:
        return _watch(_options(words))
    except (BadSource, NoPlugins, OSError) as error:
        say(str(error))
    except Exception as error:  # noqa: BLE001 - by itself Python would end with 1, which no timer could tell from a warning
        say(f"its hook watch failed, so nothing is known ({type(error).__name__}: {first_line(error)})")
    except KeyboardInterrupt:
        say("interrupted")
    return COULD_NOT_TELL


def _options(words: Sequence[str]) -> WatchOptions:
    options = WatchOptions()
    for name, value in zip(words[::2], words[1::2], strict=False):
        if name == "--notify":
            options = options._replace(notify=(*options.notify, require_target(value)))
        elif name == "--expect-gpus" and value.isdecimal():
            options = options._replace(expect_gpus=int(value))
        else:
            raise BadSource(f"hook run watch: {name} {value} is not understood")
    if len(words) % 2:
        raise BadSource(f"hook run watch: {words[-1]} is not understood")
    return options


def _watch(options: WatchOptions) -> int:
    folder = state_folder()
    make_folder(folder)
    path = os.path.join(folder, "watch.json")
    before = known_before(path, say)
    report = _report(options)
    now = state_after(report, before)
    text = changes_in_words(before, now)
    if text:
        deliver(options.notify, _subject(before, now), text, _worst(now))
    # Written only when it was told: what could not be is told the next time.
    write_state(path, now)
    return 0


def _report(options: WatchOptions) -> Report:
    from gpudoctor.facts.expected import ExpectedGpus
    from gpudoctor.machine import LiveHost
    from gpudoctor.registry import Facts, load_plugins, registry
    from gpudoctor.time_limit import limit

    load_plugins()
    with limit(GLOBAL_TIMEOUT):
        facts = Facts(LiveHost(), {ExpectedGpus: ExpectedGpus(options.expect_gpus)})
        return diagnose(facts, tuple(registry.checks.values()))


def _subject(before: State, now: State) -> str:
    host = os.uname().nodename
    came = [*changes_between(before, now).came.values()]
    if not came:
        return f"gpudoctor on {host}: " + ("better" if now else "nothing is wrong any more")
    more = f" (and {len(came) - 1} more)" if len(came) > 1 else ""
    return f"gpudoctor on {host}: {came[0].summary}{more}"


def _worst(now: State) -> Severity:
    return max(
        (Severity[known.severity] for known in now.values() if known.severity in Severity.__members__),
        default=Severity.INFO,
    )
