"""What the last benchmark says to one check: its findings, or why it says nothing."""

import time
from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, NotAsked, Severity, Unavailable
from gpudoctor.facts.bench import BenchedGpu, CurrentBench

_AGAIN = "`gpudoctor bench` measures again"
_MOST_EVIDENCE = 8


def benched(check: str, bench: CurrentBench, remedy: str) -> Iterator[Finding]:
    """One finding for each GPU of which the last benchmark has something to say under this id.

    Raises NotApplicable where no benchmark that still counts has a verdict on it, Unavailable where that is not told.
    """
    judged = [gpu for gpu in bench.gpus if check in gpu.judged or any(one.check == check for one in gpu.verdicts)]
    if not judged:
        raise _no_verdict(bench)
    for gpu in judged:
        verdicts = [one for one in gpu.verdicts if one.check == check]
        if not verdicts:
            continue
        first = next((one for one in verdicts if one.failed), verdicts[0])
        others = [one for one in verdicts if one is not first]
        more = f" The same of: {', '.join(one.subject for one in others)}." if others else ""
        yield Finding(
            f"GPU {gpu.pci_address or gpu.uuid} ({gpu.name}): {first.text}{more}",
            gpu.pci_address or gpu.uuid or gpu.name,
            (Evidence(gpu.source, _when(gpu)), *(Evidence(one.subject, one.text) for one in others[:_MOST_EVIDENCE])),
            remedy,
            Severity.ERROR if any(one.failed for one in verdicts) else Severity.WARNING,
        )


def _no_verdict(bench: CurrentBench) -> Exception:
    if bench.gpus:
        return NotApplicable("the last benchmark has no verdict on it: `gpudoctor bench` says what it did not measure")
    if bench.unknown:
        return Unavailable("; ".join(dict.fromkeys(bench.unknown)))
    if bench.outdated:
        why = "; ".join(dict.fromkeys(bench.outdated))
        return NotApplicable(f"the last benchmark does not count any more: {why}; {_AGAIN}")
    if bench.unread:
        why = "; ".join(bench.unread)
        return NotApplicable(f"no benchmark of this user's is on record, and another's cannot be read ({why})")
    return NotAsked("no benchmark is on record")


def _when(gpu: BenchedGpu) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(gpu.at))
    return f"benchmark of {when}, level {gpu.level}" + (f", driver {gpu.driver}" if gpu.driver else "")
