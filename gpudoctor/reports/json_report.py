"""The report as JSON, schema 1: `report.schema.json` beside this file describes it.

Fields are added, never renamed, within a schema number.
"""

import json

from gpudoctor import __version__
from gpudoctor.exit_codes import VERDICTS
from gpudoctor.findings import Outcome, Ranked, Report
from gpudoctor.last_look import UNKNOWN, State
from gpudoctor.registry import Facts
from gpudoctor.repair import fixes_for
from gpudoctor.reports.machine import machine_summary

SCHEMA = 1


def as_json(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """One object and a final line break. The fixes' plugins must be loaded."""
    return as_text(document_of(command, report, facts, duration_ms))


def document_of(command: str, report: Report, facts: Facts, duration_ms: int) -> dict[str, object]:
    """The report as one object. The fixes' plugins must be loaded."""
    document: dict[str, object] = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "command": command,
        "status": report.status,
        "exit_code": report.exit_code,
        "exit_codes": {verdict: report.exits.code(verdict) for verdict in VERDICTS},
        "host": host_of(facts),
        "findings": [finding_of(ranked) for ranked in report.findings],
        "outcomes": [outcome_of(outcome) for outcome in report.outcomes],
        "duration_ms": duration_ms,
        **({"untold": report.untold} if report.untold else {}),
    }
    if report.changes is not None:
        document["changes"] = {name: _changed(state) for name, state in report.changes._asdict().items()}
    return document


def as_text(document: dict[str, object]) -> str:
    """The object and a final line break."""
    # ASCII only: names on the machine need not be UTF-8, and JSON escapes carry them anywhere.
    return json.dumps(document, indent=1) + "\n"


def host_of(facts: Facts) -> dict[str, object]:
    """The machine that a report is about."""
    machine = machine_summary(facts)
    return {
        "source": machine.source,
        "os": machine.os,
        "kernel": machine.kernel,
        "driver": machine.driver,
        "gpus": list(machine.gpus),
        "usable_gpus": machine.usable_gpus,
        "confinement": machine.confinement,
        "before_asking": None if machine.before_asking is None else list(machine.before_asking),
        "pythons": [
            {**one._asdict(), "found_by": list(one.found_by), "frameworks": list(one.frameworks)}
            for one in machine.pythons
        ],
        "trials": [{**trial._asdict(), "libraries": list(trial.libraries)} for trial in machine.trials],
    }


def finding_of(ranked: Ranked) -> dict[str, object]:
    """One row of "findings". The fixes' plugins must be loaded."""
    finding = ranked.finding
    return {
        "id": ranked.check.id,
        "severity": ranked.severity.name.lower(),
        "subject": finding.subject,
        "environment": finding.environment,
        "summary": finding.summary,
        "evidence": [{"source": evidence.source, "value": evidence.value} for evidence in finding.evidence],
        "remedy": finding.remedy,
        "explains": list(ranked.explains),
        "fixes": list(fixes_for(ranked.check.id)),
        **({"certainty": ranked.certainty} if ranked.certainty else {}),
        "acknowledged": None if ranked.acknowledged is None else ranked.acknowledged._asdict(),
    }


def _changed(problems: State) -> list[dict[str, object]]:
    return [
        {
            "id": id,
            "severity": known.severity.lower(),
            "subject": subject,
            "environment": "" if known.severity == UNKNOWN else environment,
            "summary": known.summary,
        }
        for (id, subject, environment), known in problems.items()
    ]


def outcome_of(outcome: Outcome) -> dict[str, object]:
    """One row of "outcomes"."""
    row: dict[str, object] = {"check": outcome.check.id, "status": outcome.status.value}
    if outcome.reason:
        row["reason"] = outcome.reason
    if outcome.matters:
        row["matters"] = True
    if outcome.not_running:
        row["not_running"] = True
    if outcome.not_recorded:
        row["not_recorded"] = True
    return row
