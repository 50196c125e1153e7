"""The plan as JSON, schema 1: every step as data, to be reviewed, stored and compared."""

import json

from gpudoctor import __version__
from gpudoctor.repair import Action, Chosen, Manual, Reboot, RemoveFile, Run, Step, WriteFile
from gpudoctor.reports.plan import PlanReport

SCHEMA = 1


def as_json(planned: PlanReport) -> str:
    """One object and a final line break."""
    report, plan, place = planned
    document = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "command": "fix",
        "dry_run": True,
        "status": report.status,
        "findings": [
            {"id": ranked.check.id, "severity": ranked.severity.name.lower(), "summary": ranked.finding.summary}
            for ranked in report.findings
        ],
        "here": place.here,
        "notice": place.notice,
        "fixes": [_chosen(chosen) for chosen in plan.chosen],
        "steps": [step_as_data(step) for step in plan.steps],
        "reboots": plan.reboots,
        "alternatives": [
            {**_chosen(chosen), "steps": [step_as_data(step) for step in chosen.steps]} for chosen in plan.alternatives
        ],
        "left": list(plan.left),
        "unknown": [{"fix": id, "reason": reason} for id, reason in plan.unknown],
    }
    return json.dumps(document, indent=1) + "\n"


def _chosen(chosen: Chosen) -> dict[str, object]:
    return {"id": chosen.fix.id, "title": chosen.fix.title, "cures": list(chosen.cures)}


def step_as_data(step: Step) -> dict[str, object]:
    """A step as a JSON object; `undo` null: it cannot be undone, file actions are undone from the journal."""
    return {
        "action": action_as_data(step.action),
        "why": step.why,
        "phase": step.phase.name.lower(),
        "risk": step.risk.name.lower(),
        "root": step.root,
        "verify": None if step.verify is None else action_as_data(step.verify),
        "undo": None if step.undo is None else action_as_data(step.undo),
    }


def action_as_data(action: Action) -> dict[str, object]:
    match action:
        case Run(argv):
            return {"kind": "run", "argv": list(argv)}
        case WriteFile(path, text):
            return {"kind": "write-file", "path": path, "text": text, "diff": list(action.diff)}
        case RemoveFile(path):
            return {"kind": "remove-file", "path": path}
        case Reboot():
            return {"kind": "reboot"}
        case Manual(instruction):
            return {"kind": "manual", "instruction": instruction}
