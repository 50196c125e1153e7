"""The plan as JSON, schema 1: every step as data, to be reviewed, stored and compared."""

import json

from gpudoctor import __version__
from gpudoctor.plan_data import scope_as_data, step_as_data
from gpudoctor.repair import Chosen
from gpudoctor.reports.plan import PlanReport

SCHEMA = 1


def as_json(planned: PlanReport, *, dry_run: bool = True) -> str:
    """One object and a final line break."""
    return json.dumps(as_data(planned, dry_run=dry_run), indent=1) + "\n"


def as_data(planned: PlanReport, *, dry_run: bool = True) -> dict[str, object]:
    """`machine` and `hash` are what `fix --plan` goes by."""
    report, plan, place = planned.report, planned.plan, planned.place
    return {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "command": "fix",
        "dry_run": dry_run,
        "machine": planned.machine,
        "scope": scope_as_data(planned.scope),
        "hash": planned.hash,
        "status": report.status,
        "findings": [
            {"id": ranked.check.id, "severity": ranked.severity.name.lower(), "summary": ranked.finding.summary}
            for ranked in report.findings
        ],
        "here": place.here,
        "notice": place.notice,
        "fixes": [_chosen(chosen) for chosen in plan.chosen],
        "cures": list(planned.cures),
        "steps": [step_as_data(step) for step in plan.steps],
        "reboots": plan.reboots,
        "alternatives": [
            {**_chosen(chosen), "steps": [step_as_data(step) for step in chosen.steps]} for chosen in plan.alternatives
        ],
        "left": list(plan.left),
        "unknown": [{"fix": id, "reason": reason} for id, reason in plan.unknown],
    }


def _chosen(chosen: Chosen) -> dict[str, object]:
    return {"id": chosen.fix.id, "title": chosen.fix.title, "cures": list(chosen.cures)}
