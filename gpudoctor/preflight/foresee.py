"""The same checks on the machine as a transaction would leave it, and on that machine once it was restarted."""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gpudoctor.diagnose import diagnose
from gpudoctor.exit_codes import ExitRule
from gpudoctor.facts.answers import DriverAnswers
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.package_run import PackageRun
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.system import Boot, Kernel, OperatingSystem
from gpudoctor.findings import Check, Evidence, Outcome, Ranked, Report, Severity, Status
from gpudoctor.host import NotRunning, Unavailable
from gpudoctor.preflight.advice import Circumstances, beforehand, words_of_the_plan
from gpudoctor.preflight.packages_after import on_this_machine
from gpudoctor.preflight.predict import predict
from gpudoctor.preflight.transaction import Transaction
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.time_limit import require_time


class When(enum.Enum):
    """When what is foreseen sets in, and for how long."""

    AT_ONCE = "from the upgrade on"
    UNTIL_RESTART = "from the upgrade on, until the next restart"
    AFTER_RESTART = "after the next restart"


class Foreseen(NamedTuple):
    """One finding that the transaction brings, or makes worse. Its remedy is what to do beforehand, and evidence that
    no file shows yet is marked as foreseen.
    """

    ranked: Ranked
    when: When
    afterwards: str  # the check's own remedy, for who goes ahead all the same


class Foresight(NamedTuple):
    """What a transaction does to the GPU."""

    now: Report  # on the machine as it is
    then: Report  # right after the transaction, before any restart
    facts: Facts  # those of `then`
    worse: tuple[Ranked, ...]  # what is not so now, or less severe; the worst first, and no mere notes
    foreseen: tuple[Foreseen, ...]  # the same with more to say
    restarted: Report | None  # of kernel, driver and packages, after the next restart; None: into what cannot be told
    transaction: Transaction  # with what it left unsaid of today's versions
    undecided: tuple[str, ...]  # why something of kernel or driver could not be foreseen; empty: all could
    exits: ExitRule = ExitRule()

    @property
    def status(self) -> str:
        """As of a report, over what becomes worse alone: "error", "warning", "unknown", "ok"."""
        if self.worse:
            return self.worse[0].severity.name.lower()
        return "unknown" if self.undecided else "ok"

    @property
    def exit_code(self) -> int:
        return self.report.exit_code

    @property
    def report(self) -> Report:
        """What becomes worse as a report, for formats that know nothing of upgrades."""
        worse = {ranked.check.id for ranked in self.worse}
        outcomes = [
            outcome._replace(status=Status.SKIPPED, findings=(), reason="no matter of this upgrade", matters=False)
            if outcome.status is Status.FOUND
            else outcome._replace(matters=False)
            for outcome in self.then.outcomes
            if outcome.check.id not in worse
        ]
        outcomes += [Outcome(ranked.check, Status.FOUND, (ranked.finding,)) for ranked in self.worse]
        if self.undecided:
            check = Check("preflight.undecided", Severity.ERROR, (), (), _LACKED, lambda: ())
            outcomes.append(Outcome(check, Status.UNKNOWN, reason="; ".join(self.undecided), matters=True))
        return Report(tuple(outcomes), self.worse, self.exits)

    @property
    def already(self) -> tuple[Ranked, ...]:
        """What is wrong now, and would be afterwards: no matter of this transaction."""
        worse = {_key(ranked) for ranked in self.worse}
        left = {_key(ranked) for ranked in self.then.findings} - worse
        return tuple(one for one in self.now.findings if one.severity > Severity.INFO and _key(one) in left)

    @property
    def mended(self) -> tuple[Ranked, ...]:
        """What is wrong now, and was looked for in vain on the machine as it will be."""
        fine = {outcome.check.id for outcome in self.then.outcomes if outcome.status is Status.OK}
        return tuple(one for one in self.now.findings if one.severity > Severity.INFO and one.check.id in fine)


_LACKED = "no check, but what all of them lacked"

# What a restart can change; what Python environments have is the same before and after it.
_DOMAINS = ("kernel.", "driver.", "packages.", "fabric.", "container.")


def foresee(facts: Facts, transaction: Transaction) -> Foresight:
    """Lay the transaction over the facts and run the registered checks on what comes of it.

    Raises NoTransaction if the transaction does not fit this machine; Unavailable if its packages cannot be read, or
    if the time was over before all was found out: two halves of a diagnosis cannot be compared.
    """
    load_plugins()
    transaction = on_this_machine(transaction, facts.get(Packages))
    checks = tuple(registry.checks.values())
    now = diagnose(facts, checks)
    require_time()
    laid = predict(facts, transaction)
    after = facts.supposing(laid)
    then = diagnose(after, checks)
    # What the driver's answer of today keeps silent, its mere absence must not bring up.
    silence: dict[type, object] = {kind: laid[kind] for kind in (DriverAnswers, DeviceUsers) if kind in laid}
    unasked = diagnose(facts.supposing(silence), checks) if silence else now
    today, later = _restarted(facts, {}, checks), _restarted(facts, laid, checks)
    require_time()
    about = Circumstances(transaction, after.get(Packages), *_manager_and_system(after, transaction))
    foreseen = tuple(
        Foreseen(_as_told_before(ranked, about), when, ranked.finding.remedy)
        for ranked, when in _comparison((now, unasked), then, today, later)
    )
    undecided: tuple[str, ...] = ()
    if any(laid.get(kind, facts.get_or_reason(kind)) != facts.get_or_reason(kind) for kind in _DECISIVE):
        undecided = tuple(dict.fromkeys(_undecided(laid, now, then, today, later)))
    worse = tuple(one.ranked for one in foreseen)
    return Foresight(now, then, after, worse, foreseen, later, transaction, undecided)


# Without a change in one of these no restart brings anything new.
_DECISIVE = (InstalledKernels, ModuleFiles, Dkms, DriverLibraries)


def _undecided(
    laid: Mapping[type, object], now: Report, then: Report, today: Report | None, later: Report | None
) -> Iterator[str]:
    """Reasons. What is unknown today already and has nothing to do with packages and kernels is left out."""
    for kind in _DECISIVE:
        answer = laid.get(kind)
        if isinstance(answer, Unavailable):
            yield str(answer)
    if later is None:
        yield "which kernel boots next cannot be told"
    for before, after in ((now, then), (today, later)):
        known = {outcome.check.id for outcome in before.outcomes if not outcome.matters} if before else set()
        for outcome in after.outcomes if after else ():
            if outcome.matters and outcome.check.id in known and outcome.check.id.startswith(_DOMAINS):
                yield f"{outcome.check.id}: {outcome.why}"


def _restarted(facts: Facts, laid: Mapping[type, object], checks: Iterable[Check]) -> Report | None:
    """The machine as it will start next: taken as a disk, on which nothing is loaded and nobody can be asked yet."""
    supposed = facts.supposing(laid)
    kernels, kernel = supposed.get_or_reason(InstalledKernels), supposed.get_or_reason(Kernel)
    if isinstance(kernels, Unavailable) or isinstance(kernel, Unavailable):
        return None
    release = kernels.next_boot or ("" if kernels.kernels else kernel.release)
    if not release:
        return None
    compiler = kernel.compiler if kernel.release == release else None
    answers: dict[type, object] = {**laid, InstalledKernels: kernels}
    answers |= {Kernel: Kernel(release, False, compiler, ()), LoadedDriver: LoadedDriver("", "", "", "", {})}
    not_yet = NotRunning("the machine was not restarted yet")
    for kind in (LoadedModules, DeviceNodes, DriverAnswers, KernelLog, Boot, PackageRun, RebootRequired):
        answers[kind] = not_yet
    return diagnose(facts.supposing(answers), (check for check in checks if check.id.startswith(_DOMAINS)))


def _comparison(
    now: Iterable[Report], then: Report, today: Report | None, later: Report | None
) -> Iterator[tuple[Ranked, When]]:
    """What is new right after the transaction, and what is new after a restart against a restart today; the worst
    first.
    """
    soon = _new(now, then)
    late = _new((today,), later) if today and later else {}
    lasting = {_key(ranked) for ranked in later.findings} if later else set()
    found = []
    for key in dict.fromkeys((*late, *soon)):
        if key not in soon or (key in late and soon[key].severity < late[key].severity):
            found.append((late[key], When.AFTER_RESTART))
        elif later is None or key in lasting or not key[0].startswith(_DOMAINS):
            found.append((soon[key], When.AT_ONCE))
        elif not any(other[1] == key[1] and ranked.severity >= soon[key].severity for other, ranked in late.items()):
            # What a check says of the next start in advance is gone after it: another then says it of the same subject.
            found.append((soon[key], When.UNTIL_RESTART))
    # What passes with a restart comes last among equals.
    yield from sorted(found, key=lambda one: (-one[0].severity, one[1] is When.UNTIL_RESTART))


def _new(before: Iterable[Report], after: Report) -> dict[tuple[str, str, str], Ranked]:
    """What was not there before, or less severe."""
    was: dict[tuple[str, str, str], Severity] = {}
    for ranked in (ranked for report in before for ranked in report.findings):
        was[_key(ranked)] = max(ranked.severity, was.get(_key(ranked), Severity.INFO))
    return {
        _key(ranked): ranked
        for ranked in after.findings
        if ranked.severity > Severity.INFO and ranked.severity > was.get(_key(ranked), Severity.INFO)
    }


def _key(ranked: Ranked) -> tuple[str, str, str]:
    return ranked.check.id, ranked.finding.subject, ranked.finding.environment


def _manager_and_system(facts: Facts, transaction: Transaction) -> tuple[PackageManager, OperatingSystem]:
    system, manager = facts.get_or_reason(OperatingSystem), facts.get_or_reason(PackageManager)
    if isinstance(system, Unavailable):
        system = OperatingSystem("", "", "", "")
    if isinstance(manager, Unavailable) or not manager.kind:
        rpm = "zypper" if system.family == "suse" else "dnf"
        manager = PackageManager({"dpkg": "apt", "rpm": rpm}.get(transaction.manager, transaction.manager))
    return manager, system


# Where evidence comes from that the transaction does not touch: it is as it stands there today.
_AS_TODAY = (
    *("/proc/", "/sys/", "/dev/", "/run/", "/etc/", "/var/log/", "/var/lib/nvidia"),
    *("NVML", "libcuda", "GPU table"),
)


def _as_told_before(ranked: Ranked, about: Circumstances) -> Ranked:
    today = (*_AS_TODAY, about.transaction.source)
    evidence = (
        one if one.source.startswith(today) else Evidence(f"{one.source} (foreseen)", one.value)
        for one in ranked.finding.evidence
    )
    finding = ranked.finding._replace(
        evidence=(*words_of_the_plan(ranked, about), *evidence), remedy=beforehand(ranked, about)
    )
    return ranked._replace(finding=finding)
