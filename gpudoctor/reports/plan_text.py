"""The plan as a table for a person."""

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gpudoctor.repair import Manual, Step, WriteFile
from gpudoctor.reports.page import new_page, text_of
from gpudoctor.reports.plan import PlanReport
from gpudoctor.reports.text import visible


def as_text(planned: PlanReport, *, colour: bool, dry_run: bool = True) -> str:
    """80 columns, or the terminal's own width."""
    report, plan, place = planned.report, planned.plan, planned.place
    page = new_page(colour=colour)
    for ranked in report.findings:
        style = {"ERROR": "bold red", "WARNING": "bold yellow", "INFO": "bold cyan"}[ranked.severity.name]
        page.print(Text.assemble((ranked.severity.name.ljust(9), style), (ranked.check.id, "dim")))
        page.print(Padding(Text(visible(ranked.finding.summary)), (0, 0, 0, 9)))
    if place.notice:
        page.print(Text(place.notice, style="bold"))
    if plan.steps:
        page.print()
        page.print(Text("Plan, changing nothing now:" if dry_run else "Plan:", style="bold"))
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("step", ratio=1, overflow="fold")  # paths are to be copied whole
        table.add_column("risk", no_wrap=True)
        for number, step in enumerate(plan.steps, 1):
            table.add_row(str(number), _step(step), step.risk.name.lower())
        page.print(table)
        fixes = ", ".join(chosen.fix.id for chosen in plan.chosen)
        page.print(Text(f"Fixes: {fixes}." + " The plan restarts the machine." * plan.reboots, style="dim"))
    elif not report.findings:
        page.print(Text("Nothing to repair." if report.status == "ok" else "Nothing to repair was found."))
    for chosen in plan.alternatives:
        cures = ", ".join(chosen.cures)
        page.print(Text(f"Instead, for {cures}: {chosen.fix.id} ({chosen.fix.title.rstrip('.')}).", style="dim"))
    for id in plan.left:
        remedies = dict.fromkeys(one.finding.remedy for one in report.findings if one.check.id == id)
        what = " ".join(filter(None, remedies)) or f"`gpudoctor explain {id}` says what to do."
        page.print(Text(f"Left for a person: {id}. {visible(what)}"))
    for id, reason in plan.unknown:
        page.print(Text(f"Could not be planned: {id}: {visible(reason)}", style="magenta"))
    return text_of(page)


def _step(step: Step) -> Text:
    action = Text(("by hand: " if isinstance(step.action, Manual) else "") + visible(str(step.action)), style="bold")
    details = [*step.action.diff[2:]] if isinstance(step.action, WriteFile) else []
    details.append(step.why)
    if step.verify is not None:
        details.append(f"verify: {step.verify}")
    if step.undo is not None and not step.changes_nothing:
        details.append(f"undo: {step.undo}")
    return Text("\n").join([action, *(Text(visible(detail), style="dim") for detail in details)])
