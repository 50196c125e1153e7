"""`gpudoctor fix`: plan the repair of what check finds; print it as table, script or JSON; carry it out on a yes."""

import os
import sys
from typing import NamedTuple

from gpudoctor.cli import COULD_NOT_TELL, BadUsage
from gpudoctor.cli.check import deliver, diagnose_with, wants_colour
from gpudoctor.cli.source import open_host
from gpudoctor.facts.wanted import Wanted, wanted_of
from gpudoctor.findings import Severity
from gpudoctor.machine_identity import machine_identity
from gpudoctor.plan_data import Scope
from gpudoctor.plan_file import read_plan, require_same
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.plan import PlanReport, place_of
from gpudoctor.time_limit import limit

SOMETHING_TO_DO = 2
REQUESTS = ("request",)  # the domain of checks that ask whether what was wanted is here


class FixOptions(NamedTuple):
    """`gpudoctor fix`, as typer understood it."""

    dry_run: bool = False
    script: bool = False
    yes: bool = False
    allow: str | None = None  # the highest risk of a step: "low", "medium", "high"
    plan: str | None = None  # a reviewed plan's file
    resume: bool = False
    undo: bool = False
    history: bool = False
    run: str | None = None  # for resume and undo, None the last one
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    format: str = "text"
    output: str | None = None
    detailed_exitcode: bool = False
    root: str | None = None
    kernel: str | None = None
    snapshot: str | None = None
    timeout: float = 20.0
    python: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    runfile: str | None = None
    no_opengl: bool = False

    @property
    def scope(self) -> Scope:
        return Scope(
            self.only,
            self.skip,
            tuple(os.path.abspath(path) if self.live else path for path in self.python),
            self.to,
            os.path.abspath(self.runfile) if self.runfile else "",
            not self.no_opengl,
        )

    def within(self, scope: Scope) -> "FixOptions":
        """The same for another scope."""
        only, skip, pythons, to, runfile, opengl = scope
        return self._replace(only=only, skip=skip, python=pythons, to=to, runfile=runfile or None, no_opengl=not opengl)

    @property
    def live(self) -> bool:
        return not (self.root or self.snapshot)


def fix(options: FixOptions) -> int:
    """Print the plan, and carry it out where that is wanted.

    Returns 0 if it is done or planned; with --detailed-exitcode 2 when there is something to do; 3 if it failed, is not
    finished, or cannot be done.
    """
    _refuse_contradictions(options)
    if options.history:
        from gpudoctor.cli.history import history

        return history(options)
    if options.resume or options.undo:
        from gpudoctor.cli.runs import resume, undo

        return resume(options) if options.resume else undo(options)
    reviewed = None if options.plan is None else read_plan(options.plan)
    if reviewed is not None:
        options = options.within(reviewed.scope)
    planned = plan_repair(options)
    if reviewed is not None:
        require_same(reviewed, planned)
    printed_only = options.dry_run or options.script or not options.live
    if printed_only or options.format == "text" or not planned.plan.steps:
        deliver(_printed(planned, options, dry_run=printed_only), options.output if printed_only else None)
    if printed_only:
        if planned.report.status == "unknown":
            return COULD_NOT_TELL
        to_do = options.detailed_exitcode and (planned.plan.steps or planned.plan.left)
        return SOMETHING_TO_DO if to_do else 0
    if not planned.plan.steps:
        return _nothing_to_do(planned)
    from gpudoctor.cli.runs import perform

    sys.stdout.flush()  # the plan stands before what its steps print, also in a file
    return perform(planned, options)


def plan_repair(options: FixOptions) -> PlanReport:
    """Diagnose the machine as it is now, and plan. Nothing is carried out in here, so that the time may end it."""
    scope = options.scope
    wanted = wanted_of(scope.to, scope.runfile, opengl=scope.opengl)
    with limit(options.timeout):
        host = open_host(options.root, options.kernel, options.snapshot, options.timeout, options.python)
        facts = Facts(host, {Wanted: wanted})
        # A request is planned for by itself: what else is wrong has a plan of its own.
        report = diagnose_with(facts, options.only or (REQUESTS if wanted.requests else ()), options.skip)
        load_plugins(fixes=True)
        plan = make_plan(report, registry.fixes.values(), facts)
        return PlanReport(report, plan, place_of(facts, plan), machine_identity(facts.host), scope)


def _printed(planned: PlanReport, options: FixOptions, *, dry_run: bool) -> str:
    if options.script:
        from gpudoctor.reports.plan_script import as_script

        return as_script(planned)
    if options.format == "json":
        from gpudoctor.reports.plan_json import as_json

        return as_json(planned, dry_run=dry_run)
    from gpudoctor.reports.plan_text import as_text

    return as_text(planned, colour=options.output is None and wants_colour(), dry_run=dry_run)


def _nothing_to_do(planned: PlanReport) -> int:
    errors = any(ranked.severity is Severity.ERROR for ranked in planned.report.findings)
    if errors:
        print("gpudoctor: nothing of this can be repaired by gpudoctor", file=sys.stderr)
    return COULD_NOT_TELL if errors or planned.report.status == "unknown" else 0


def _refuse_contradictions(options: FixOptions) -> None:
    """Raises BadUsage for options that do not go together."""
    modes = {
        "--dry-run": options.dry_run or options.script,
        "--resume": options.resume,
        "--undo": options.undo,
        "--history": options.history,
        "--plan": options.plan is not None,
    }
    if (options.runfile or options.no_opengl) and not options.to:
        raise BadUsage(
            "--runfile and --no-opengl say how to come by what is asked for with --to, as in --to driver=580"
        )
    if options.to and (options.resume or options.undo or options.history or options.plan is not None):
        raise BadUsage("--to asks for a new plan; a run or a reviewed plan has its own")
    chosen = [name for name, wanted in modes.items() if wanted]
    if len(chosen) > 1:
        raise BadUsage(f"{' and '.join(chosen)} are two things to do; one of them at a time")
    if options.script and options.format == "json":
        raise BadUsage("--script and --format json are two formats; one of them is enough")
    if chosen and chosen[0] != "--dry-run" and not options.live:
        raise BadUsage(f"{chosen[0]} is for this machine; a disk or a snapshot is only planned for")
    if options.run and not (options.resume or options.undo):
        raise BadUsage(f"{options.run}: the name of a run goes with --resume or --undo")
    acting = options.live and not (options.dry_run or options.script or options.history)
    if acting and options.output and options.format != "json":
        raise BadUsage("--output takes a plan (--dry-run, --script) or, with --format json, the result of a run")
    if acting and options.format == "json" and not options.yes:
        raise BadUsage("--format json cannot ask: add --yes to carry the plan out, or --dry-run to see it")
