"""The report as SARIF 2.1.0, which code scanning and editors read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; what GitHub wants of it:
https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import quote

from gpudoctor import __version__
from gpudoctor.findings import Check, Outcome, Ranked, Report, Severity, Status
from gpudoctor.registry import Facts
from gpudoctor.reports.json_report import host_of
from gpudoctor.reports.text import sentence

Json = dict[str, object]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def as_sarif(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """Findings are results, acknowledged ones suppressed; what could not be told is a notification of the run."""
    checks = list({ranked.check.id: ranked.check for ranked in report.findings}.values())
    told = [outcome for outcome in report.outcomes if outcome.matters]
    undecided = list({outcome.check.id: outcome.check for outcome in told}.values())
    run: Json = {
        "tool": {
            "driver": {
                "name": "gpudoctor",
                "version": __version__,
                "rules": [_rule(check) for check in checks],
                "notifications": [_descriptor(check) for check in undecided],
            }
        },
        "invocations": [
            {
                # The doctor itself did its work, whatever it found; a crash of a check is the one thing that is not.
                "executionSuccessful": not any(outcome.status is Status.CRASHED for outcome in report.outcomes),
                "exitCode": report.exit_code,
                "toolExecutionNotifications": [
                    *_untold(report),
                    *(_notification(outcome, undecided) for outcome in told),
                ],
            }
        ],
        "results": [_result(ranked, checks, _location(ranked, report, facts)) for ranked in report.findings],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "command": command,
            "status": report.status,
            "host": host_of(facts),
            "duration_ms": duration_ms,
        },
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1) + "\n"


def _rule(check: Check) -> Json:
    return {
        **_descriptor(check),
        "fullDescription": {"text": check.title},
        "help": {"text": check.explanation or check.title},
        "defaultConfiguration": {"level": _LEVELS[check.severity]},
        "properties": {"tags": [check.id.partition(".")[0]]},
    }


def _descriptor(check: Check) -> Json:
    return {"id": check.id, "shortDescription": {"text": check.title}}


def _result(ranked: Ranked, checks: list[Check], location: Json) -> Json:
    finding = ranked.finding
    same = "\n".join(ranked.problem).encode("utf-8", "surrogatepass")
    result: Json = {
        "ruleId": ranked.check.id,
        "ruleIndex": checks.index(ranked.check),
        "level": _LEVELS[ranked.severity],
        "message": {"text": "\n".join((ranked.headline, *_details(ranked)))},
        "locations": [location],
        # The same problem on the next run is the same alert, though its words may have changed.
        "partialFingerprints": {"gpudoctorProblem/v1": sha256(same).hexdigest()},
        "properties": {
            "subject": finding.subject,
            "environment": finding.environment,
            "evidence": [{"source": one.source, "value": one.value} for one in finding.evidence],
            "explains": list(ranked.explains),
        },
    }
    if ranked.acknowledged:
        reason = f"{ranked.acknowledged.reason} (until {ranked.acknowledged.expires})"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return result


def _details(ranked: Ranked) -> Iterator[str]:
    yield from (f"{evidence.source}: {evidence.value}" for evidence in ranked.finding.evidence)
    if ranked.finding.remedy:
        yield f"What to do: {ranked.finding.remedy}"
    if ranked.explains:
        yield f"It explains: {', '.join(ranked.explains)}"


def _location(ranked: Ranked, report: Report, facts: Facts) -> Json:
    """GitHub shows no result without a file: the one that proves it, or else what it is about; a text and its line."""
    finding = ranked.finding
    line = 1
    if facts.host.source == "text":
        path = report.text_file or "stdin"
        lines = (one.source.removeprefix("line ") for one in finding.evidence if one.source.startswith("line "))
        line = next((int(number) for number in lines if number.isdecimal()), 1)
    else:
        paths = [one.source for one in finding.evidence] + [finding.environment, finding.subject]
        # One reading can be of several files: the first of them is shown.
        path = re.split(r"(?:,| and) (?=/)", next((path for path in paths if path.startswith("/")), "/"))[0]
    # A relative path stays one: it is meant from the folder of the repository.
    uri = f"{'file://' if path.startswith('/') else ''}{quote(path, errors='surrogateescape')}"
    location: Json = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": line}}}
    subject = finding.subject or finding.environment
    if subject:
        location["logicalLocations"] = [{"fullyQualifiedName": subject, "kind": "resource"}]
    return location


def _untold(report: Report) -> Iterator[Json]:
    if report.untold:
        yield {"level": "warning", "message": {"text": sentence(report.untold)}}


def _notification(outcome: Outcome, undecided: list[Check]) -> Json:
    return {
        "descriptor": {"id": outcome.check.id, "index": undecided.index(outcome.check)},
        "level": "error" if outcome.status is Status.CRASHED else "warning",
        "message": {"text": f"{outcome.check.id} could not be told: {outcome.reason or 'no reason given'}"},
    }
