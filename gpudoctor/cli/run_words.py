"""What became of a run of `gpudoctor fix`, in words and as JSON."""

import json
from collections.abc import Sequence

from gpudoctor.cli.check import deliver
from gpudoctor.cli.fix import FixOptions
from gpudoctor.findings import Report, Status
from gpudoctor.journal import Journal, Progress, Record, Stage
from gpudoctor.repair import Manual, Reboot, Run, Step
from gpudoctor.reports.plan import PlanReport
from gpudoctor.reports.plan_json import as_data
from gpudoctor.reports.text import wrapped


def outcome(journal: Journal) -> str:
    number = next((n for n, record in enumerate(journal.records, 1) if not is_done(record)), len(journal.steps))
    again, back = f"`gpudoctor fix --resume {journal.run}`", f"`gpudoctor fix --undo {journal.run}`"
    match journal.stage:
        case Stage.WAITING_FOR_RESTART:
            return f"the machine has to be restarted; {again} goes on afterwards."
        case Stage.WAITING_FOR_PERSON:
            return (
                f"step {number} is for a person: {journal.steps[number - 1].action} When it is done, {again} goes on"
                " (with --yes without asking whether it is done)."
            )
        case Stage.STOPPED:
            return f"stopped before step {number}; {again} goes on, {back} takes it back."
    reason = journal.records[number - 1].note
    if not any(_changes(step) and _begun(record) for step, record in zip(journal.steps, journal.records, strict=True)):
        return f"step {number} failed ({reason}). Nothing was changed."
    return (
        f"step {number} failed: {reason}. When its cause is removed, {again} goes on; {back} takes back what was done."
    )


def verdict(journal: Journal, still: Sequence[str]) -> str:
    if not still:
        return f"repaired, and the diagnosis agrees: no {', '.join(journal.cures)} any more."
    return (
        f"all steps were carried out, but {'; '.join(still)}. `gpudoctor check` says more, "
        f"`gpudoctor fix --undo {journal.run}` takes it back."
    )


def still_there(journal: Journal, report: Report) -> list[str]:
    """Which of the findings that the run was to cure are not proven gone, in words."""
    found = []
    for outcome in report.outcomes:
        if outcome.check.id in journal.cures:
            if outcome.findings:
                found.append(f"{outcome.check.id} is still there: {outcome.findings[0].summary.rstrip('.')}")
            elif outcome.status in (Status.UNKNOWN, Status.CRASHED):
                found.append(f"whether {outcome.check.id} is gone could not be told: {outcome.reason.rstrip('.')}")
    return found


def answer(journal: Journal, words: Sequence[str], options: FixOptions, planned: PlanReport | None) -> None:
    """The answer on standard output."""
    if options.format != "json":
        deliver("".join(f"{line}\n" for sentence in words for line in wrapped(sentence, "", hanging="  ")), None)
        return
    result = {
        "run": journal.run,
        "stage": journal.stage.value,
        "cures": list(journal.cures),
        "steps": [
            {"action": str(step.action), "progress": record.progress.value, "note": record.note}
            for step, record in zip(journal.steps, journal.records, strict=True)
        ],
        "message": " ".join(words),
    }
    document = {**({} if planned is None else as_data(planned, dry_run=False)), "result": result}
    deliver(json.dumps({"schema": 1, "command": "fix", **document}, indent=1) + "\n", options.output)


def way_back(step: Step) -> str:
    match step.action, step.undo:
        case Reboot(), _:
            return "needs no undoing"
        case Manual(), _:
            return "a person did it"
        case Run(), None:
            return "cannot be undone"
        case _, Manual(instruction):
            return f"cannot be undone by gpudoctor: {instruction}"
        case _, Run() as command:
            return str(command)
    return "the file as it was"


def _changes(step: Step) -> bool:
    return not (step.changes_nothing or isinstance(step.action, Manual))


def _begun(record: Record) -> bool:
    return record.progress is not Progress.PENDING


def is_done(record: Record) -> bool:
    return record.progress is Progress.DONE


def count(steps: Sequence[Step]) -> str:
    return f"{len(steps)} step{'' if len(steps) == 1 else 's'}"
