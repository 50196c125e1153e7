"""`gpudoctor fix --dry-run`: plan the repair of what check finds, and print it as table, script or JSON."""

import sys
from typing import NamedTuple

from gpudoctor.cli import COULD_NOT_TELL, BadUsage
from gpudoctor.cli.check import deliver, diagnose_with, wants_colour
from gpudoctor.cli.source import open_host
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.plan import PlanReport, place_of

SOMETHING_TO_DO = 2


class FixOptions(NamedTuple):
    """`gpudoctor fix`, as typer understood it."""

    dry_run: bool
    script: bool
    format: str
    output: str | None
    detailed_exitcode: bool
    root: str | None
    kernel: str | None
    snapshot: str | None
    timeout: float
    python: tuple[str, ...] = ()


def fix(options: FixOptions) -> int:
    """Print the plan. Returns 0; with --detailed-exitcode 2 when there is something to do; 3 if it cannot be done."""
    if not (options.dry_run or options.script):
        print(
            "gpudoctor: this version plans repairs, and does not carry them out yet:"
            " `gpudoctor fix --dry-run` shows the plan, `gpudoctor fix --script` prints it as a script to review",
            file=sys.stderr,
        )
        return COULD_NOT_TELL
    if options.script and options.format == "json":
        raise BadUsage("--script and --format json are two formats; one of them is enough")
    facts = Facts(open_host(options.root, options.kernel, options.snapshot, options.timeout, options.python))
    report = diagnose_with(facts)
    load_plugins(fixes=True)
    plan = make_plan(report, registry.fixes.values(), facts)
    planned = PlanReport(report, plan, place_of(facts, plan))
    if options.script:
        from gpudoctor.reports.plan_script import as_script

        text = as_script(planned)
    elif options.format == "json":
        from gpudoctor.reports.plan_json import as_json

        text = as_json(planned)
    else:
        from gpudoctor.reports.plan_text import as_text

        text = as_text(planned, colour=options.output is None and wants_colour())
    deliver(text, options.output)
    if report.status == "unknown":
        return COULD_NOT_TELL
    return SOMETHING_TO_DO if options.detailed_exitcode and (plan.steps or plan.left) else 0
