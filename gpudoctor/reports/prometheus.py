"""The report for Prometheus: a file for the textfile collector of node_exporter (`--output /.../gpudoctor.prom`).

Names and types stay the same whatever was found, and there are no time stamps: the collector tells a file's age.
https://github.com/prometheus/node_exporter#textfile-collector
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gpudoctor import __version__
from gpudoctor.findings import Report, Severity, Status
from gpudoctor.registry import Facts
from gpudoctor.reports.machine import machine_summary
from gpudoctor.reports.text import visible

_STATUSES = ("ok", "info", "warning", "error", "unknown")


class _Sample(NamedTuple):
    labels: Mapping[str, str]
    value: float


def as_prometheus(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """In the text format 0.0.4, all of them gauges."""
    return "".join(
        f"# HELP gpudoctor_{name} {explanation}\n# TYPE gpudoctor_{name} gauge\n"
        + "".join(f"gpudoctor_{name}{_labels(sample.labels)} {sample.value:g}\n" for sample in samples)
        for name, explanation, samples in _metrics(command, report, facts, duration_ms)
    )


def _metrics(
    command: str, report: Report, facts: Facts, duration_ms: int
) -> Iterator[tuple[str, str, Iterable[_Sample]]]:
    machine = machine_summary(facts)
    about = {"version": __version__, "command": command, "source": machine.source}
    about |= {"os": machine.os, "kernel": machine.kernel, "driver": machine.driver}
    yield "info", "The doctor and the machine that it looked at.", [_Sample(about, 1)]
    statuses = [_Sample({"status": status}, report.status == status) for status in _STATUSES]
    yield "status", "1 for the status that the machine has, 0 for the others.", statuses
    yield "exit_code", "What the command ended with.", [_Sample({}, report.exit_code)]
    yield (
        "gpus",
        "GPUs that were seen; no sample where that could not be told.",
        [_Sample({}, len(machine.gpus))] if machine.gpus_told else [],
    )
    standing = Counter((ranked.severity, ranked.acknowledged is not None) for ranked in report.findings)
    counts = [
        _Sample({"severity": severity.name.lower(), "acknowledged": _truth(known)}, standing[severity, known])
        for severity in sorted(Severity, reverse=True)
        for known in (False, True)
    ]
    yield "findings", "Findings by severity.", counts
    yield "finding", "1 for each finding there is.", _findings(report)
    became = Counter(outcome.status for outcome in report.outcomes)
    yield "checks", "Checks by what became of them.", [_Sample({"status": s.value}, became[s]) for s in Status]
    undecided = [_Sample({"id": outcome.check.id}, 1) for outcome in report.outcomes if outcome.matters]
    yield "undecided", "1 for each check that could not tell, and matters.", undecided
    yield "duration_seconds", "How long it took.", [_Sample({}, duration_ms / 1000)]


def _findings(report: Report) -> Iterable[_Sample]:
    """Two findings of one check on one subject are one series: a series twice in a file makes all of it void."""
    labels = {
        (*ranked.problem, ranked.severity): {
            "id": ranked.check.id,
            "severity": ranked.severity.name.lower(),
            "subject": ranked.finding.subject,
            "environment": ranked.finding.environment,
            "acknowledged": _truth(ranked.acknowledged is not None),
        }
        for ranked in report.findings
    }
    return [_Sample(one, 1) for one in labels.values()]


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    # The collector wants UTF-8, and names on the machine need not be.
    utf8 = visible(value).encode("utf-8", "replace").decode("utf-8")
    return utf8.replace("\\", r"\\").replace('"', r"\"")
