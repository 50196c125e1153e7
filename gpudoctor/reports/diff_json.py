"""The report of `diff` as JSON: all that changed, nothing folded."""

import json

from gpudoctor import __version__
from gpudoctor.changes import Changes, Side
from gpudoctor.reports.diff import Labels, verdict
from gpudoctor.reports.json_report import SCHEMA, finding_of, host_of, outcome_of


def as_json(changes: Changes, before: Side, after: Side, labels: Labels, duration_ms: int) -> str:
    """One object, schema 1, and a final line break. The fixes' plugins must be loaded."""
    label, sentence = verdict(changes)
    document = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "command": "diff",
        "status": changes.status,
        "exit_code": changes.exit_code,
        "verdict": f"{label.lower()}: {sentence}",
        "before": {"name": labels.before, "host": host_of(before.facts)},
        "after": {"name": labels.after, "host": host_of(after.facts)},
        "no_longer_told": [outcome_of(one) for one in changes.lost],
        "lost_gpus": [one.item.name for one in changes.lost_gpus],
        "two_machines": [*changes.strangers],
        "findings": {
            "new": [{**finding_of(one.ranked), "before": one.before and outcome_of(one.before)} for one in changes.new],
            "gone": [{**finding_of(one.ranked), "now": one.now and outcome_of(one.now)} for one in changes.gone],
            "changed": [{"before": finding_of(one.before), "after": finding_of(one.after)} for one in changes.changed],
        },
        "outcomes": [
            {"check": one.after.check.id, "before": outcome_of(one.before), "after": outcome_of(one.after)}
            for one in changes.outcomes
        ],
        "machine": [
            {
                "part": one.part,
                "environment": one.item.group,
                "name": one.item.name,
                "before": one.before,
                "after": one.after,
            }
            for one in changes.parts
        ],
        "not_compared": [one._asdict() for one in changes.untold],
        "duration_ms": duration_ms,
    }
    # ASCII only, as in the report of `check`.
    return json.dumps(document, indent=1) + "\n"
