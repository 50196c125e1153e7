"""The one line that says what matters most about a machine, for formats that have no room for more."""

from gpudoctor.findings import Report
from gpudoctor.registry import Facts
from gpudoctor.reports.machine import in_words, machine_summary
from gpudoctor.reports.text import visible


def headline(report: Report, facts: Facts) -> str:
    """Why this machine fails: "kernel.headers-missing: The headers of..."; else what it is that works. One line."""
    match report.failure:
        case "":
            return visible(_machine(report, facts))
        case "unknown":
            if report.untold:
                return visible(report.untold)
            undecided = [outcome for outcome in report.outcomes if outcome.matters]
            more = f" (and {len(undecided) - 1} more)" if len(undecided) > 1 else ""
            first = undecided[0]
            return visible(f"{first.check.id} could not be told{more}: {first.why}")
        case failure:
            failing = [
                ranked
                for ranked in report.findings
                if ranked.acknowledged is None and ranked.severity.name.lower() == failure
            ]
            more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
            first_one = failing[0]
            return visible(f"{first_one.check.id}{more}: {first_one.headline}")


def _machine(report: Report, facts: Facts) -> str:
    machine = machine_summary(facts)
    seen = in_words(machine.gpus) or ("no GPU seen" if machine.gpus_told else "which GPUs there are could not be told")
    words = [seen, f"driver {machine.driver}" if machine.driver else ""]
    known = sum(ranked.acknowledged is not None for ranked in report.findings)
    words += [f"{known} acknowledged"] if known else []
    passed = [verdict for verdict in report.verdicts if verdict not in report.exits.failing]
    words += [f"{' and '.join(passed)} let pass" if passed else ""]
    return ", ".join(word for word in words if word)
