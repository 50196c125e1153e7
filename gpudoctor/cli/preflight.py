"""`gpudoctor preflight`: would this upgrade break the GPU?"""

from typing import NamedTuple

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import add_to_job_summary, deliver, monitors_told, wants_colour
from gpudoctor.cli.source import open_host
from gpudoctor.exit_codes import ExitRule
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.host import Unavailable
from gpudoctor.preflight.ask import ask
from gpudoctor.preflight.foresee import foresee
from gpudoctor.preflight.simulation import simulation_in
from gpudoctor.preflight.transaction import NoTransaction, Transaction
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.reports.formats import FORMATS, TEXT, render
from gpudoctor.reports.machine import machine_summary
from gpudoctor.time_limit import limit


class PreflightOptions(NamedTuple):
    """`gpudoctor preflight`."""

    command: str | None
    simulation: str | None
    format: str
    output: str | None
    root: str | None
    kernel: str | None
    snapshot: str | None
    timeout: float
    fail_on: str | None = None
    exit_map: str | None = None
    quiet: bool = False


def preflight(options: PreflightOptions) -> int:
    """Foresee, print or write the report. Returns the exit code, judged by what would become worse."""
    with monitors_told(options.format, options.output):
        return _preflight(options)


def _preflight(options: PreflightOptions) -> int:
    import time

    began = time.monotonic()
    if options.simulation and options.command:
        raise BadUsage("--simulation gives a plan and --command has one made; one of them is enough")
    exits = ExitRule(options.fail_on or "", options.exit_map or FORMATS[options.format].exit_map)
    try:
        # Before the time begins: it may still be coming through a pipe.
        given = simulation_in(options.simulation) if options.simulation else None
        with limit(options.timeout):
            facts = Facts(open_host(options.root, options.kernel, options.snapshot, options.timeout))
            foresight = foresee(facts, given or _asked(options, facts))._replace(exits=exits)
            machine_summary(facts)  # what only the report's head asks is found out within the time, too
    except (NoTransaction, Unavailable) as reason:
        raise BadUsage(str(reason)) from reason
    duration_ms = round((time.monotonic() - began) * 1000)
    if options.format == "json":
        from gpudoctor.reports.preflight import as_json

        load_plugins(fixes=True)  # the report names the fixes of each finding
        text = as_json(foresight, facts, duration_ms)
    elif options.format != TEXT:
        text = render(options.format, "preflight", foresight.report, facts, duration_ms)
    else:
        from gpudoctor.reports.preflight import as_text

        text = as_text(foresight, facts, duration_ms, colour=options.output is None and wants_colour())
    if not (options.quiet and options.output is None and foresight.exit_code == 0):
        deliver(text, options.output)
    if options.format == "github":
        add_to_job_summary("preflight", foresight.report, facts, duration_ms)
    return foresight.exit_code


def _asked(options: PreflightOptions, facts: Facts) -> Transaction:
    if facts.host.source != "live":
        raise BadUsage(
            "the package manager of a mounted root or a snapshot cannot be asked: give what it planned with "
            "--simulation FILE"
        )
    return ask(facts.host, facts.get(PackageManager), options.command or "", options.timeout)
