"""Before and after an upgrade: what it would do to the GPU, and what it did."""

from collections.abc import Sequence

from gpudoctor.diagnose import diagnose
from gpudoctor.facts.packages import Packages
from gpudoctor.findings import Problem, Ranked, Report, Severity, Status
from gpudoctor.hooks import upgrade_note
from gpudoctor.hooks.upgrade_note import UpgradeNote
from gpudoctor.hooks.verdict import Verdict
from gpudoctor.hooks.wording import findings_in_lines, worth_telling
from gpudoctor.host import Unavailable
from gpudoctor.machine import LiveHost, RootHost
from gpudoctor.preflight.foresee import Foreseen, When, foresee
from gpudoctor.preflight.transaction import NoTransaction, Transaction
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.time_limit import require_time

# Seconds: less than a hook's deadline, so that a sick driver costs an answer about the driver and no more.
TIMEOUT, PROBE_TIMEOUT = 12.0, 5.0


# What packages can put out of order; where it is not known what was wrong before, the rest is not laid at their door.
_DOMAINS = ("kernel.", "driver.", "packages.", "cuda.", "fabric.", "container.")


def _facts() -> Facts:
    load_plugins()
    return Facts(LiveHost(TIMEOUT, PROBE_TIMEOUT))


def before(transaction: Transaction, enforce: bool, override: str) -> Verdict:
    """What of it would be worse for the GPU. `override`: how a person lets it happen all the same."""
    facts = _facts()
    try:
        foresight = foresee(facts, _with_reinstallations(transaction, facts.get(Packages)))
    except (NoTransaction, Unavailable) as reason:
        return take_stock(str(reason))
    _leave_known(foresight.now)
    undecided = "; ".join(foresight.undecided)
    unsaid = f"not everything could be foretold: {undecided}" if undecided else ""
    if not foresight.worse:
        return Verdict((unsaid,))
    lines = (_head(foresight.foreseen), *findings_in_lines(foresight.worse), unsaid)
    broken = any(ranked.severity is Severity.ERROR for ranked in foresight.worse)
    if not (enforce and broken):
        return Verdict(lines)
    upgrade_note.remove()
    stopped = f"So it is stopped, and nothing was changed. To let it happen all the same, {override}."
    return Verdict((*lines, stopped), stop=True)


def take_stock(reason: str) -> Verdict:
    """Nothing can be foretold for this reason: note what is wrong now, so that the check afterwards tells what came."""
    now = diagnose(_facts(), registry.checks.values())
    if not _half_seen():  # what was there before and was not seen would be laid at the upgrade's door
        _leave_known(now)
    return Verdict((f"what this upgrade does to the GPU cannot be told beforehand: {reason}",))


def _leave_known(now: Report) -> None:
    """Add to the note that was left already; why that may have failed was told then."""
    upgrade_note.leave(UpgradeNote(tuple(ranked.problem for ranked in now.findings)))


def _with_reinstallations(transaction: Transaction, packages: Packages) -> Transaction:
    """The old versions of packages that are installed once more; the hooks of rpm and pacman are not told those."""
    there = {(package.name, package.version) for package in packages.installed()}
    return transaction._replace(
        changes=tuple(
            change._replace(old=change.new) if not change.old and (change.name, change.new) in there else change
            for change in transaction.changes
        )
    )


def _head(foreseen: Sequence[Foreseen]) -> str:
    errors = [one for one in foreseen if one.ranked.severity is Severity.ERROR]
    if not errors:
        return "this upgrade would not be good for the GPU:"
    whens = {one.when for one in errors}
    when = whens.pop() if len(whens) == 1 else When.AT_ONCE
    return f"with this upgrade the GPU would not work {when.value}:"


def after(note: UpgradeNote) -> Verdict:
    """What is wrong now, and was not before."""
    report = diagnose(_facts(), registry.checks.values())
    upgrade_note.remove()
    came = [ranked for ranked in worth_telling(report.findings) if _came(ranked, note.known)]
    crashed = [outcome.check.id for outcome in report.outcomes if outcome.status is Status.CRASHED]
    lines = [f"our own bug in {', '.join(crashed)}; `gpudoctor check --format json` has it"] if crashed else []
    head = "after this upgrade:" if note.known is not None else "after this upgrade (it may have been so before):"
    return Verdict((*_told(head, came), *lines, _half_seen()))


def _came(ranked: Ranked, known: Sequence[Problem] | None) -> bool:
    if known is None:
        return ranked.check.id.startswith(_DOMAINS)
    return ranked.problem not in known


def kernel(release: str) -> Verdict:
    """What a kernel that was just installed lacks for the GPU, taken as if it ran."""
    load_plugins()
    facts = Facts(RootHost("/", release))
    checks = [check for check in registry.checks.values() if check.id.startswith("kernel.")]
    report = diagnose(facts, checks)
    lacking = [ranked for ranked in worth_telling(report.findings) if ranked.finding.subject == release]
    return Verdict((*_told(f"kernel {release} was installed:", lacking), _half_seen()))


def _half_seen() -> str:
    """A line where the time was over before all was looked at, "" where it was not."""
    try:
        require_time()
    except Unavailable as reason:
        return f"{reason}; `gpudoctor check` tells more"
    return ""


def _told(head: str, findings: Sequence[Ranked]) -> tuple[str, ...]:
    if not findings:
        return ()
    return (head, *findings_in_lines(findings), "`gpudoctor fix` repairs it, `gpudoctor check` tells all of it.")
