"""`gpudoctor hook run watch`: check, and report only what has come and gone since the last time."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.diagnose import Outcome, Problem, Report, Severity, Status, diagnose
from gpudoctor.hooks.notify import deliver, require_target
from gpudoctor.hooks.verdict import say
from gpudoctor.hooks.wording import worth_telling
from gpudoctor.host import BadSource
from gpudoctor.registry import NoPlugins
from gpudoctor.reports.text import visible
from gpudoctor.state import make_folder, replace_file, require_own, state_folder

COULD_NOT_TELL = 3


class WatchOptions(NamedTuple):
    """`gpudoctor hook run watch`; see `wish.Wish`."""

    notify: tuple[str, ...] = ()
    expect_gpus: int | None = None


class Known(NamedTuple):
    """What the last report said of a problem."""

    severity: str
    summary: str
    remedy: str


State = Mapping[Problem, Known]


def watch_command(words: Sequence[str]) -> int:
    """Returns 0 if all is told that was to be told, else 3 with the reason on standard error."""
    try:
        return _watch(_options(words))
    except (BadSource, NoPlugins, OSError) as error:
        say(str(error))
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
    before = _read(path)
    report = _report(options)
    now = state_after(report, before or {})
    text = changes_in_words(before or {}, now)
    if text:
        deliver(options.notify, _subject(before or {}, now), text, _worst(now))
    # Written only when it was told: what could not be is told the next time.
    replace_file(path, json.dumps([[*problem, *known] for problem, known in sorted(now.items())], indent=1).encode())
    return 0


def _report(options: WatchOptions) -> Report:
    from gpudoctor.facts.expected import ExpectedGpus
    from gpudoctor.machine import LiveHost
    from gpudoctor.registry import Facts, load_plugins, registry

    load_plugins()
    return diagnose(
        Facts(LiveHost(), {ExpectedGpus: ExpectedGpus(options.expect_gpus)}), tuple(registry.checks.values())
    )


def state_after(report: Report, before: State) -> State:
    """What is wrong now. A problem that was known stays so where its check could not tell this time."""
    found = {
        ranked.problem: Known(ranked.severity.name, visible(ranked.finding.summary), visible(ranked.finding.remedy))
        for ranked in worth_telling(report.findings)
    }
    for outcome in report.outcomes:
        if outcome.matters:
            found[outcome.check.id, "", "unknown"] = Known("UNKNOWN", _reason(outcome), "")
    silent = {outcome.check.id for outcome in report.outcomes if _is_silent(outcome)}
    kept = {problem: known for problem, known in before.items() if problem[0] in silent and problem[2] != "unknown"}
    return {**kept, **found}


def _is_silent(outcome: Outcome) -> bool:
    """Nothing that it found before may be taken for mended: it could not look, or a cause hides it."""
    return outcome.status in (Status.UNKNOWN, Status.CRASHED, Status.BLOCKED)


def _reason(outcome: Outcome) -> str:
    last = outcome.reason.strip().splitlines()[-1:] or ["no reason given"]
    return visible(f"{outcome.check.id} could not be told: {last[0]}")


def came_since(before: State, now: State) -> list[Known]:
    """What is new, and what has become an error that was a warning."""
    return [
        known
        for problem, known in now.items()
        if problem not in before or (known.severity == "ERROR" and before[problem].severity != "ERROR")
    ]


def changes_in_words(before: State, now: State) -> str:
    """A report for a person, "" if nothing has changed."""
    came = came_since(before, now)
    went = [known for problem, known in before.items() if problem not in now]
    if not came and not went:
        return ""
    paragraphs = [["New:", *_listed(came)]] if came else []
    paragraphs += [["Gone:", *(f"  {known.severity} {known.summary}" for known in went)]] if went else []
    still = len(now) - len(came)
    last = [f"{still} more as before."] if still else []
    if came:
        last.append("`gpudoctor check` shows all of it with its proof, `gpudoctor fix` repairs it.")
    elif not now:
        last.append("Nothing is wrong any more.")
    return "\n\n".join("\n".join(paragraph) for paragraph in (*paragraphs, last)) + "\n"


def _listed(came: Iterable[Known]) -> Iterable[str]:
    for known in came:
        yield f"  {known.severity} {known.summary}"
        if known.remedy:
            yield f"    {known.remedy}"


def _subject(before: State, now: State) -> str:
    host = os.uname().nodename
    came = came_since(before, now)
    if not came:
        return f"gpudoctor on {host}: " + ("better" if now else "nothing is wrong any more")
    more = f" (and {len(came) - 1} more)" if len(came) > 1 else ""
    return f"gpudoctor on {host}: {came[0].summary}{more}"


def _worst(now: State) -> Severity:
    return max(
        (Severity[known.severity] for known in now.values() if known.severity in Severity.__members__),
        default=Severity.INFO,
    )


def _read(path: str) -> State | None:
    """What was told last; None the first time, and where the file is damaged: then all is told anew."""
    try:
        require_own(path)
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)
        return {
            (str(id), str(subject), str(place)): Known(str(severity), str(summary), str(remedy))
            for id, subject, place, severity, summary, remedy in rows
        }
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        say(f"{path} is damaged: everything is reported anew")
        return None
