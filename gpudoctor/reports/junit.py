"""The report as JUnit XML, the form that CI systems show as tests: one test a check, and one a finding.

https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from gpudoctor.findings import Ranked, Report, Status
from gpudoctor.registry import Facts
from gpudoctor.reports.machine import machine_summary
from gpudoctor.reports.text import finding_lines, sentence

Element = ElementTree.Element


def as_junit(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """What makes the exit code another one than 0 is a failure or (what could not be told) an error; nothing else is.

    Skipped is what nobody can say anything about here, and what is acknowledged.
    """
    cases = [*_untold(command, report), *(_found(ranked, report) for ranked in report.findings), *_outcomes(report)]
    seconds = f"{duration_ms / 1000:.3f}"
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
    }
    suites = Element("testsuites", {"name": "gpudoctor", **counts, "time": seconds})
    skipped = str(sum(case.find("skipped") is not None for case in cases))
    suite = ElementTree.SubElement(
        suites, "testsuite", {"name": f"gpudoctor {command}", **counts, "skipped": skipped, "time": seconds}
    )
    suite.append(_properties(report, facts))
    suite.extend(cases)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _properties(report: Report, facts: Facts) -> Element:
    machine = machine_summary(facts)
    properties = Element("properties")
    words = {"source": machine.source, "os": machine.os, "kernel": machine.kernel, "driver": machine.driver}
    for name, value in {**words, "gpus": ", ".join(machine.gpus), "status": report.status}.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _allowed(value)})
    return properties


def _found(ranked: Ranked, report: Report) -> Element:
    finding = ranked.finding
    subjects = [subject for subject in (finding.subject, finding.environment) if subject]
    case = _case(ranked.check.id, f" [{', '.join(dict.fromkeys(subjects))}]" if subjects else "")
    told = "\n".join(finding_lines(ranked, colour=False))
    if ranked.acknowledged:
        known = f"acknowledged until {ranked.acknowledged.expires}: {ranked.acknowledged.reason}"
        _add(case, "skipped", message=f"{known} ({ranked.headline})")
    elif (severity := ranked.severity.name.lower()) in report.exits.failing:
        _add(case, "failure", told, message=ranked.headline, type=severity)
    else:
        _add(case, "system-out", told)
    return case


def _untold(command: str, report: Report) -> Iterator[Element]:
    if report.untold:
        case = _case(f"{command}.anything-known", "")
        failing = "unknown" in report.exits.failing
        _add(case, "error" if failing else "skipped", message=sentence(report.untold), type="unknown")
        yield case


def _outcomes(report: Report) -> Iterator[Element]:
    shown = {ranked.check.id for ranked in report.findings}
    for outcome in report.outcomes:
        if outcome.status is Status.FOUND and outcome.check.id in shown and not outcome.matters:
            continue  # its findings are tests of their own
        case = _case(outcome.check.id, " (what it could not tell)" if outcome.status is Status.FOUND else "")
        if outcome.matters and "unknown" in report.exits.failing:
            _add(case, "error", outcome.reason, message=outcome.why, type=outcome.status.value)
        elif outcome.status is not Status.OK:
            _add(case, "skipped", message=f"{outcome.status.value}: {outcome.why}")
        yield case


def _case(id: str, subject: str) -> Element:
    domain, _, name = id.partition(".")
    return Element("testcase", {"classname": f"gpudoctor.{domain}", "name": _allowed(name + subject), "time": "0"})


def _add(case: Element, name: str, text: str = "", **attributes: str) -> None:
    child = ElementTree.SubElement(case, name, {key: _allowed(value) for key, value in attributes.items()})
    child.text = _allowed(text) or None


def _allowed(text: str) -> str:
    """Without what no XML may hold: most control characters and lone surrogates, which damaged names bring."""
    return "".join(one if one.isprintable() or one in "\t\n" else " " for one in text)
