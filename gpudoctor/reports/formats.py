"""The formats of a report by name. A format is imported when somebody asks for it, and costs nothing before."""

import sys
from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.findings import Report
from gpudoctor.registry import Facts, load_plugins


class Form(NamedTuple):
    """Where a format is written: a function of (command, report, facts, duration_ms) that returns the whole text."""

    module: str
    function: str
    fixes: bool = False  # it names the fixes of each finding, so that their plugins have to be loaded
    exit_map: str = "nagios"  # whose exit codes its readers expect


TEXT = "text"

FORMATS: Mapping[str, Form] = {
    TEXT: Form("gpudoctor.reports.text", "as_text"),
    "json": Form("gpudoctor.reports.json_report", "as_json", fixes=True),
    "markdown": Form("gpudoctor.reports.markdown", "as_markdown"),
    "junit": Form("gpudoctor.reports.junit", "as_junit"),
    "sarif": Form("gpudoctor.reports.sarif", "as_sarif"),
    "github": Form("gpudoctor.reports.github", "as_annotations"),
    "nagios": Form("gpudoctor.reports.nagios", "as_nagios"),
    "npd": Form("gpudoctor.reports.npd", "as_npd", exit_map="npd"),
    "prometheus": Form("gpudoctor.reports.prometheus", "as_prometheus"),
    "html": Form("gpudoctor.reports.html", "as_html", fixes=True),
}


def render(name: str, command: str, report: Report, facts: Facts, duration_ms: int, *, colour: bool = False) -> str:
    """The report in one of FORMATS. `colour` concerns text alone."""
    if name == TEXT:
        from gpudoctor.reports.text import as_text  # here for start-up: others do not need it

        return as_text(report, facts, duration_ms, colour=colour)
    form = FORMATS[name]
    if form.fixes:
        load_plugins(fixes=True)
    __import__(form.module)
    text: str = getattr(sys.modules[form.module], form.function)(command, report, facts, duration_ms)
    return text
