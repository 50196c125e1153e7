"""The report for node-problem-detector, a custom plugin of Kubernetes nodes: it shows 80 bytes of standard output.

https://github.com/kubernetes/node-problem-detector/blob/master/docs/custom_plugin_monitor.md
"""

from gpudoctor.findings import Report
from gpudoctor.registry import Facts
from gpudoctor.reports.headline import headline
from gpudoctor.reports.text import visible

LIMIT = 80  # bytes, of `max_output_length` in its configuration


def as_npd(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """One line; goes with the exit map "npd"."""
    return line_of(headline(report, facts) if report.failure else f"GPU ok: {headline(report, facts)}")


def line_of(text: str) -> str:
    """ASCII alone, so that a byte is a character, and nothing is cut in the middle of one."""
    plain = visible(text).encode("ascii", "replace").decode()
    return (plain if len(plain) <= LIMIT else f"{plain[: LIMIT - 3].rstrip()}...") + "\n"
