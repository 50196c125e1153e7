"""Fixes, the steps they are made of, and the plan that orders them."""

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from gpudoctor.findings import Finding, Report, Severity, Status
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts, needs, registry

F = TypeVar("F", bound=Callable[..., Any])


class Effort(enum.IntEnum):
    """How much a fix interferes; the least invasive that cures a finding is chosen."""

    EXPLAIN = 0
    ENVIRONMENT_VARIABLE = 1
    PYTHON_PACKAGE = 2
    RELOAD = 3
    REBOOT = 4
    BUILD_MODULE = 5
    FINISH_PACKAGES = 6
    INITRAMFS = 7
    KEY_ENROLMENT = 8
    SWITCH_FLAVOUR = 9
    ONE_ORIGIN = 10
    CHANGE_BRANCH = 11
    NEW_TOOLKIT = 12  # this and the next only where a user asks for them
    NEW_LIBRARY = 13


# Programs that also end well with other codes than 0. zypper(8): 102 reboot needed, 103 zypper itself was updated,
# 106 a repository was left out, 107 a package's script failed.
SUCCESS_CODES = {"zypper": (0, 102, 103, 106, 107)}

# What package managers need in their environment to ask nothing and to restart nothing by themselves; and our own hook
# must not stop a repair that ends with the restart which the hook would warn of.
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "GPUDOCTOR_ENFORCE": "false"}


class Risk(enum.IntEnum):
    LOW = 1  # undone by gpudoctor, disturbs nothing
    MEDIUM = 2  # changes packages or stops services
    HIGH = 3  # cannot be undone, or may leave the machine without a display


class Phase(enum.IntEnum):
    """Steps of several fixes are carried out in this order."""

    SIMULATE = 0
    STOP = 1
    REMOVE = 2
    INSTALL = 3
    CONFIGURE = 4
    BUILD = 5
    REBUILD = 6  # depmod, initramfs
    RELOAD = 7
    REBOOT = 8
    AFTERWARDS = 9


class Run(NamedTuple):
    """A command, never through a shell."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        import shlex

        return shlex.join(self.argv)

    def succeeds_with(self, exit_code: int) -> bool:
        """Did the command do what it is for, by its exit code?"""
        return exit_code in SUCCESS_CODES.get(self.argv[0], (0,))


class WriteFile(NamedTuple):
    """A file's whole new text. `was`: the text that it replaces, to show the change by; None: there is no such file."""

    path: str
    text: str
    was: str | None = None

    def __str__(self) -> str:
        return f"{'write' if self.was is None else 'change'} {self.path}"

    @property
    def diff(self) -> tuple[str, ...]:
        """The change as lines of a unified diff; () where there was no such file."""
        if self.was is None:
            return ()
        from difflib import unified_diff

        old, new = self.was.splitlines(), self.text.splitlines()
        return tuple(unified_diff(old, new, self.path, self.path, n=1, lineterm=""))


class RemoveFile(NamedTuple):
    path: str

    def __str__(self) -> str:
        return f"remove {self.path}"


class Reboot(NamedTuple):
    """Restart the machine; what comes after is taken up again then."""

    def __str__(self) -> str:
        return "systemctl reboot"


class Manual(NamedTuple):
    """What only a person can do: at the console, in the firmware, with a screwdriver."""

    instruction: str

    def __str__(self) -> str:
        return self.instruction


Action = Run | WriteFile | RemoveFile | Reboot | Manual


# The way back from a step that proves something and changes nothing.
NOTHING_TO_UNDO = Run(("true",))


class Step(NamedTuple):
    """One change as data. File actions are undone from the journal; `undo` is for the others (None: it cannot be).

    An `undo` that is the action itself: it makes something from other files, and is run again when those are back.
    """

    action: Action
    why: str
    phase: Phase = Phase.CONFIGURE
    risk: Risk = Risk.LOW
    root: bool = True
    verify: Run | None = None
    undo: Run | Manual | None = None

    @property
    def changes_nothing(self) -> bool:
        """Is it a trial, a download or a proof?"""
        return isinstance(self.action, Run) and (self.phase is Phase.SIMULATE or self.undo == NOTHING_TO_UNDO)

    @property
    def derives(self) -> bool:
        """Does it only make something anew from other files: a cache, an initramfs?"""
        return self.undo is not None and self.undo == self.action


class Fix(NamedTuple):
    """A registered fix; see `fix` for the fields."""

    id: str
    cures: tuple[str, ...]
    effort: Effort
    function: Callable[..., Iterable[Step]]

    @property
    def title(self) -> str:
        return (self.function.__doc__ or self.id).strip().partition("\n")[0]


class Findings(NamedTuple):
    """For fixes: the findings that this fix is asked to cure, with the id of the check of each."""

    items: tuple[tuple[str, Finding], ...]


class Chosen(NamedTuple):
    """A fix and its steps. `cures`: the open finding ids it is chosen for."""

    fix: Fix
    steps: tuple[Step, ...]
    cures: tuple[str, ...]


class Plan(NamedTuple):
    """The chosen fixes, all steps in order, what else would do, and what is left for a person."""

    chosen: tuple[Chosen, ...]
    steps: tuple[Step, ...]
    alternatives: tuple[Chosen, ...]  # for the same findings, more invasive
    left: tuple[str, ...]  # ids of findings that no fix cures here
    unknown: tuple[tuple[str, str], ...]  # fixes that could not be planned, and why

    @property
    def reboots(self) -> bool:
        return any(isinstance(step.action, Reboot) for step in self.steps)


def fix(id: str, *, cures: Sequence[str], effort: Effort) -> Callable[[F], F]:
    """Register a fix: a generator of steps from facts, which yields nothing where it is not applicable."""

    def register(function: F) -> F:
        needs(function)
        registry.fixes[id] = Fix(id, tuple(cures), effort, function)
        return function

    return register


def fixes_for(check_id: str) -> tuple[str, ...]:
    """Ids of the registered fixes that cure findings of this check, the least invasive first."""
    able = [fix for fix in registry.fixes.values() if check_id in fix.cures]
    return tuple(fix.id for fix in sorted(able, key=lambda fix: (fix.effort, fix.id)))


def make_plan(report: Report, fixes: Iterable[Fix], facts: Facts) -> Plan:
    """For each finding (not those of mere information) the least invasive fix that applies here."""
    open_ids = list(dict.fromkeys(ranked.check.id for ranked in report.findings if ranked.severity > Severity.INFO))
    found = {outcome.check.id: outcome for outcome in report.outcomes if outcome.status is Status.FOUND}
    candidates, unknown = [], []
    for able in sorted(fixes, key=lambda fix: (fix.effort, fix.id)):
        cured = tuple(id for id in open_ids if id in able.cures)
        if not cured:
            continue
        items = tuple((id, finding) for id in cured for finding in found[id].findings)
        try:
            steps = tuple(facts.with_known(Findings(items)).call(able.function))
        except Unavailable as reason:
            unknown.append((able.id, str(reason)))
            continue
        if steps:
            candidates.append(Chosen(able, steps, cured))
    candidates.sort(key=_invasiveness)
    chosen, alternatives, left = [], [], list(open_ids)
    for candidate in candidates:
        useful = tuple(id for id in candidate.cures if id in left)
        if useful:
            chosen.append(candidate._replace(cures=useful))
            left = [id for id in left if id not in useful]
        else:
            alternatives.append(candidate)
    # One command may cure what several fixes were chosen for.
    distinct: dict[tuple[Action, Phase], Step] = {}
    for step in (step for candidate in chosen for step in candidate.steps):
        known = distinct.setdefault((step.action, step.phase), step)
        distinct[step.action, step.phase] = known._replace(
            root=known.root or step.root, risk=max(known.risk, step.risk)
        )
    ordered = tuple(sorted(distinct.values(), key=lambda step: step.phase))
    return Plan(tuple(chosen), _one_reboot(ordered), tuple(alternatives), tuple(left), tuple(unknown))


def _invasiveness(candidate: Chosen) -> tuple[int, int, int, str]:
    return (candidate.fix.effort, max(step.risk for step in candidate.steps), len(candidate.steps), candidate.fix.id)


def _one_reboot(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Several fixes may each want a restart; one does."""
    first = next((step for step in steps if isinstance(step.action, Reboot)), None)
    return tuple(step for step in steps if step is first or not isinstance(step.action, Reboot))
