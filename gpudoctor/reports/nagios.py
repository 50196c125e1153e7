"""The report as a monitoring plugin prints it (Nagios, Icinga, Naemon, Checkmk): one line with performance data, then
the other findings, a line each.

Nagios Plugin API: https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/pluginapi.html
Performance data: https://www.monitoring-plugins.org/doc/guidelines.html#AEN197
"""

from collections.abc import Iterator

from gpudoctor.facts.answers import Nvml
from gpudoctor.findings import Report, Severity
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts
from gpudoctor.reports.headline import headline
from gpudoctor.reports.machine import machine_summary
from gpudoctor.reports.text import visible

_STATES = {"error": "CRITICAL", "warning": "WARNING", "unknown": "UNKNOWN", "": "OK"}
_LONGEST = 240  # characters of a line's text: what monitors show in a table
_MOST = 20  # further lines; Nagios reads 4 KiB


def as_nagios(command: str, report: Report, facts: Facts, duration_ms: int) -> str:
    """The state in it is the one of the exit code in the map "nagios"."""
    text = _plain(f"GPU {_STATES[report.failure]} - {headline(report, facts)}")
    lines = [f"{text} | {' '.join(_performance(report, facts, duration_ms))}", *_further(report)]
    return "\n".join(lines) + "\n"


def as_failure(reason: str) -> str:
    """The line for a check that could not run at all; its exit code is 3."""
    return _plain(f"GPU UNKNOWN - {reason}") + "\n"


def _plain(text: str) -> str:
    """In one line that is not too long, and without the character that begins the performance data."""
    plain = visible(text).replace("|", "/")
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 3]}..."


def _performance(report: Report, facts: Facts, duration_ms: int) -> Iterator[str]:
    """'label'=value[unit];warn;crit;min;max. A threshold of 0 with a minimum of 0: none of them is allowed."""
    standing = [ranked.severity for ranked in report.findings if ranked.acknowledged is None]
    yield f"errors={standing.count(Severity.ERROR)};;0;0"
    yield f"warnings={standing.count(Severity.WARNING)};0;;0"
    yield f"unknown={bool(report.untold) + sum(outcome.matters for outcome in report.outcomes)};;;0"
    yield f"acknowledged={len(report.findings) - len(standing)};;;0"
    machine = machine_summary(facts)
    if machine.gpus_told:
        yield f"gpus={len(machine.gpus)};;;0"
    yield f"time={duration_ms / 1000:.3f}s;;;0"
    nvml = facts.get_or_reason(Nvml)
    for gpu in () if isinstance(nvml, Unavailable) else nvml.gpus:
        name, values = f"gpu{gpu.number}", gpu.values
        yield from _gauge(f"{name}_temperature", values.get("temperature_c"))
        yield from _gauge(f"{name}_utilization", values.get("utilization_percent"), "%", 100)
        yield from _gauge(f"{name}_power", values.get("power_w"), most=values.get("power_limit_w"))
        yield from _gauge(f"{name}_memory_used", values.get("memory_used_bytes"), "B", gpu.memory_total_bytes)


def _gauge(label: str, value: object, unit: str = "", most: object = None) -> Iterator[str]:
    """Nothing for what the driver did not tell: a 0 would be a lie, and U is not understood by all."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        limit = f";;;0;{most:g}" if isinstance(most, float) else f";;;0;{most}" if isinstance(most, int) else ""
        yield f"{label}={value:g}{unit}{limit}" if isinstance(value, float) else f"{label}={value}{unit}{limit}"


def _further(report: Report) -> Iterator[str]:
    for ranked in report.findings[:_MOST]:
        state = "ACKNOWLEDGED" if ranked.acknowledged else ranked.severity.name
        yield _plain(f"{state} {ranked.check.id}: {ranked.headline}")
    if len(report.findings) > _MOST:
        yield f"and {len(report.findings) - _MOST} more"
