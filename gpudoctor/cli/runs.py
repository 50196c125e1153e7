"""Runs of `gpudoctor fix` on this machine: carry a plan out, go on with one, take one back, and say what came of it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from gpudoctor.acting import Consent, LiveMachine
from gpudoctor.cli import COULD_NOT_TELL, BadUsage
from gpudoctor.cli.fix import FixOptions, plan_repair
from gpudoctor.cli.run_words import answer, count, is_done, outcome, still_there, verdict, way_back
from gpudoctor.execute import execute, roll_back
from gpudoctor.findings import Severity
from gpudoctor.journal import (
    OVER,
    RESUMABLE,
    UNFINISHED,
    Journal,
    JournalFile,
    Progress,
    Record,
    Stage,
    begin,
    load,
    runs,
)
from gpudoctor.machine import LiveHost
from gpudoctor.machine_identity import machine_identity, this_boot
from gpudoctor.plan_data import Scope
from gpudoctor.repair import Manual, Phase, Risk, Step
from gpudoctor.repair_lock import locked
from gpudoctor.reports.plan import PlanReport
from gpudoctor.reports.text import visible
from gpudoctor.state import state_folder


def perform(planned: PlanReport, options: FixOptions) -> int:
    """Carry out a plan that was shown, after a yes. Returns the exit code."""
    if not planned.place.here:
        raise BadUsage(f"nothing was changed. {planned.place.notice}")
    steps = planned.plan.steps
    _require_allowed(steps, options)
    if not _agreed(f"Carry out {count(steps)}?", options):
        return COULD_NOT_TELL
    with _at_work() as (folder, note):
        _require_nothing_unfinished(folder)
        again = plan_repair(options)
        if again.hash != planned.hash:
            raise BadUsage(
                "the machine has changed since this plan was made, and it would be another plan now; nothing was "
                "changed. Run `gpudoctor fix` again"
            )
        try:
            journal = begin(folder, planned.machine, planned.scope, planned.cures, steps)
            JournalFile(folder, journal.run).save(journal)
        except OSError as error:
            raise _no_journal(folder, error) from error
        return _go_on(journal, folder, note, options, planned)


def resume(options: FixOptions) -> int:
    """Go on with a run that was interrupted, failed, or waits. Returns the exit code."""
    with _at_work() as (folder, note):
        journal = _chosen(folder, options, RESUMABLE, "to go on with")
        if journal.stage is Stage.UNDOING:
            raise BadUsage(f"run {journal.run} was being taken back: `gpudoctor fix --undo {journal.run}` goes on")
        if journal.stage not in RESUMABLE:
            raise BadUsage(f"run {journal.run} is over ({journal.stage.value}): there is nothing to go on with")
        journal = _with_interrupted_packages(journal, options)
        options = options.within(journal.scope)
        left = [step for step, record in zip(journal.steps, journal.records, strict=True) if not is_done(record)]
        asked_for = [record.boot for record in journal.records if record.progress is Progress.STARTED]
        if journal.stage is Stage.WAITING_FOR_RESTART and this_boot() in asked_for:
            raise BadUsage("the machine has not been restarted yet; restart it, then run this again")
        _say(f"run {journal.run}: {len(journal.steps) - len(left)} of {count(journal.steps)} done; to do:")
        for step in left:
            _say(f"  {step.action} ({step.risk.name.lower()} risk)")
        _require_allowed(left, options)
        if not _agreed("Go on with it?", options):
            return COULD_NOT_TELL
        return _go_on(journal, folder, note, options, None)


def undo(options: FixOptions) -> int:
    """Take a run back as far as that is possible. Returns 0 if all of it is gone, else 3."""
    with _at_work() as (folder, note):
        journal = _chosen(folder, options, [stage for stage in Stage if stage not in OVER], "to take back")
        if journal.stage is Stage.UNDONE:
            raise BadUsage(f"run {journal.run} is taken back already")
        begun = [
            (number, step)
            for number, (step, record) in enumerate(zip(journal.steps, journal.records, strict=True), 1)
            if record.progress not in (Progress.PENDING, Progress.UNDONE) and not step.changes_nothing
        ]
        if begun:
            _say(f"run {journal.run} ({journal.stage.value}), last step first:")
            for number, step in reversed(begun):
                _say(f"  step {number}: {step.action}")
                _say(f"    back: {way_back(step)}")
            if not _agreed("Take it back?", options):
                return COULD_NOT_TELL
        machine = LiveMachine(_consent(options), note)
        with machine.patient():
            journal = _journaled(lambda: roll_back(journal, machine, JournalFile(folder, journal.run)))
        kept = [
            f"step {number} stays ({step.action}): {record.note}"
            for number, (step, record) in enumerate(zip(journal.steps, journal.records, strict=True), 1)
            if record.progress is Progress.KEPT
        ]
        match journal.stage:
            case Stage.UNDONE:
                words = [f"Run {journal.run} is taken back." if begun else f"Run {journal.run} had changed nothing."]
            case Stage.UNDOING:
                words = [f"Stopped. `gpudoctor fix --undo {journal.run}` goes on."]
            case _:
                words = [f"Run {journal.run} is taken back but for this, which gpudoctor cannot undo:", *kept]
        answer(journal, words, options, None)
        return 0 if journal.stage is Stage.UNDONE else COULD_NOT_TELL


def _go_on(
    journal: Journal, folder: str, note: Callable[[int], None], options: FixOptions, planned: PlanReport | None
) -> int:
    keeper = JournalFile(folder, journal.run)
    consent = _consent(options)._replace(
        person_done=options.resume and options.yes and journal.stage is Stage.WAITING_FOR_PERSON
    )
    machine = LiveMachine(consent, note)
    with machine.patient():
        journal = _journaled(lambda: execute(journal, machine, keeper))
    words = [f"Run {journal.run}: {outcome(journal)}"]
    code = COULD_NOT_TELL
    if journal.stage is Stage.CARRIED_OUT:
        report = plan_repair(options).report
        still = still_there(journal, report)
        journal = journal._replace(stage=Stage.NOT_REPAIRED if still else Stage.REPAIRED)
        with suppress(OSError):  # all changes are in it already; what is missing then is only the verdict
            keeper.save(journal)
        others = [ranked for ranked in report.findings if ranked.severity is Severity.ERROR]
        code = COULD_NOT_TELL if still or others else 0
        words = [f"Run {journal.run}: {verdict(journal, still)}"]
        words += [f"Also found: {ranked.check.id}: {ranked.finding.summary}" for ranked in others if not still]
    answer(journal, words, options, planned)
    return code


def _with_interrupted_packages(journal: Journal, options: FixOptions) -> Journal:
    """With steps in front that finish packages, where the interruption left some half configured: nothing else works
    before.
    """
    begun = [n for n, record in enumerate(journal.records) if record.progress in (Progress.STARTED, Progress.FAILED)]
    if not begun:
        return journal
    finding = "packages.half-configured"
    planned = plan_repair(options.within(Scope(only=(finding,))))
    steps = [
        step
        for chosen in planned.plan.chosen
        if finding in chosen.cures and finding not in journal.cures
        for step in chosen.steps
        if step.phase < Phase.RELOAD and step not in journal.steps
    ]
    if steps:
        _say("what was interrupted has left packages half configured; that is mended first")
    at = begun[0]
    return journal._replace(
        steps=(*journal.steps[:at], *steps, *journal.steps[at:]),
        records=(*journal.records[:at], *(Record() for _ in steps), *journal.records[at:]),
    )


def _chosen(folder: str, options: FixOptions, stages: Sequence[Stage], purpose: str) -> Journal:
    """The run that the user names, or the last one in these stages. Raises BadSource or BadUsage for none, and for one
    that is not of this machine or this user.
    """
    if options.run:
        journal = load(folder, options.run)
    else:
        found = [journal for journal in (load(folder, run) for run in runs(folder)) if journal.stage in stages]
        if not found:
            raise BadUsage(f"there is no run {purpose}; `gpudoctor fix --history` lists them")
        journal = found[-1]
    if journal.machine != machine_identity(LiveHost()):
        raise BadUsage(f"run {journal.run} was made on another machine; nothing of it is done here")
    if journal.user != os.geteuid():
        raise BadUsage(f"run {journal.run} was begun by user {journal.user}, and is theirs to go on with")
    return journal


def _require_nothing_unfinished(folder: str) -> None:
    for run in runs(folder):
        journal = load(folder, run)
        if journal.stage in UNFINISHED:
            state = {
                Stage.RUNNING: "was interrupted",
                Stage.UNDOING: "was interrupted while it was taken back",
            }.get(journal.stage, f"is {journal.stage.value}")
            raise BadUsage(
                f"nothing was changed, for run {run} {state}: `gpudoctor fix --resume {run}` goes on with it, "
                f"`gpudoctor fix --undo {run}` takes it back"
            )


def _require_allowed(steps: Sequence[Step], options: FixOptions) -> None:
    """Raises BadUsage for a plan that is riskier than the user allows, or that needs a right nobody here has."""
    allowed = Risk[options.allow.upper()] if options.allow else Risk.MEDIUM if options.yes else Risk.HIGH
    for step in steps:
        if step.risk > allowed:
            raise BadUsage(
                f"nothing was changed: `{step.action}` is of {step.risk.name.lower()} risk; "
                f"--allow {step.risk.name.lower()} allows it"
            )
    changing = any(step.root and not isinstance(step.action, Manual) for step in steps)
    if changing and os.geteuid() != 0 and shutil.which("sudo") is None:
        raise BadUsage("nothing was changed: steps of this plan need root, and there is no sudo here; run it as root")


@contextmanager
def _at_work() -> Iterator[tuple[str, Callable[[int], None]]]:
    """The state folder, locked, and what notes the commands that run. Raises BadUsage where it cannot be written."""
    folder = state_folder()
    with ExitStack() as stack:
        try:
            note = stack.enter_context(locked(folder))
        except OSError as error:
            raise _no_journal(folder, error) from error
        yield folder, note


def _no_journal(folder: str, error: OSError) -> BadUsage:
    return BadUsage(f"nothing was changed, for no journal can be kept in {folder}: {error.strerror}")


def _journaled(act: Callable[[], Journal]) -> Journal:
    try:
        return act()
    except OSError as error:
        raise BadUsage(
            f"stopped, for the journal cannot be written any more ({error.strerror}); every change that was made is in "
            "it. Make room, then `gpudoctor fix --resume` goes on"
        ) from error


def _consent(options: FixOptions) -> Consent:
    return Consent(_ask if sys.stdin.isatty() else None, restart=options.yes)


def _agreed(question: str, options: FixOptions) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise BadUsage(
            "nothing was changed: nobody is there to be asked; --yes carries the plan out, --dry-run shows it"
        )
    agreed = _ask(question)
    if not agreed:
        _say("Nothing was done.")
    return agreed


def _ask(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(words: str) -> None:
    print(visible(words), file=sys.stderr, flush=True)
