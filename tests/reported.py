"""A report with everything in it that a format may stumble over, and the machine that it is about."""

from functools import cache

from gpu_machines import answer, facts, nvml

from gpudoctor.exit_codes import ExitRule
from gpudoctor.findings import Acknowledgement, Evidence, Finding, Outcome, Ranked, Report, Severity, Status
from gpudoctor.registry import Facts, load_plugins, registry

# What would end a cell, a tag, a string, a line, a command or a character set.
EVIL = 'RTX <script>alert(1)</script> | `x` & "q" \\ %0A ::error::\r\n\x1b[31m]]> \x00 ä \udcff'


@cache
def machine() -> Facts:
    """Two GPUs that answer; one of them has a name that nobody should trust."""
    values = {"temperature_c": 45, "power_w": 71.5, "power_limit_w": 700.0, "utilization_percent": 3}
    load_plugins(fixes=True)
    return facts(
        nvml(
            answer(0)._replace(name=EVIL, values={**values, "memory_used_bytes": 1 << 30}),
            answer(1)._replace(values={"temperature_c": None}),
        )
    )


def found(
    id: str = "driver.library-mismatch",
    severity: Severity = Severity.ERROR,
    subject: str = "0000:01:00.0",
    *,
    summary: str = "It does not fit.",
    acknowledged: Acknowledgement | None = None,
) -> Ranked:
    load_plugins(fixes=True)
    proof = (Evidence("/proc/driver/nvidia/version", EVIL), Evidence("NVML", "code 18"))
    finding = Finding(summary, subject, proof, f"Run `reboot`, then look at {EVIL}.")
    return Ranked(registry.checks[id], finding, severity, ("driver.nvml-failed",), acknowledged)


def undecided(id: str = "health.ecc-uncorrectable", status: Status = Status.UNKNOWN) -> Outcome:
    load_plugins(fixes=True)
    return Outcome(registry.checks[id], status, reason=f"NVML gave no answer in 10 s\n{EVIL}", matters=True)


def report(*rows: Ranked | Outcome, fail_on: str = "", exit_map: str = "nagios") -> Report:
    """Of these findings and outcomes; each finding has an outcome, and one check is fine."""
    load_plugins(fixes=True)
    ranked = tuple(row for row in rows if isinstance(row, Ranked))
    outcomes = [Outcome(one.check, Status.FOUND, (one.finding,)) for one in ranked]
    outcomes += [row for row in rows if isinstance(row, Outcome)]
    outcomes.append(Outcome(registry.checks["pci.no-gpu"], Status.OK))
    return Report(tuple(outcomes), ranked, ExitRule(fail_on, exit_map))


KNOWN = Acknowledgement(f"The vendor is asked {EVIL}", "2027-01-31")

FULL = report(
    found(summary=f"Bad {EVIL}."),
    found("gpu.mig-no-instances", Severity.WARNING, subject=EVIL),
    found("health.ecc-uncorrectable", Severity.INFO, subject=""),
    found("driver.nvml-failed", Severity.ERROR, acknowledged=KNOWN),
    undecided("kernel.module-missing"),
    undecided("kernel.headers-missing", Status.CRASHED),
)
