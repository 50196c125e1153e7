"""`gpudoctor fix --history`: the runs there were, and what became of them."""

import json
import time

from gpudoctor.cli.check import deliver
from gpudoctor.cli.fix import FixOptions
from gpudoctor.host import BadSource
from gpudoctor.journal import Journal, Progress, load, runs
from gpudoctor.reports.text import visible
from gpudoctor.state import state_folder


def history(options: FixOptions) -> int:
    """Print them, the oldest first. Returns 0."""
    folder = state_folder()
    found = [_load(folder, run) for run in runs(folder)]
    if options.format == "json":
        rows = [_as_data(run, journal) for run, journal in found]
        deliver(json.dumps({"schema": 1, "command": "fix --history", "runs": rows}, indent=1) + "\n", options.output)
        return 0
    lines = [_line(run, journal) for run, journal in found] or [f"No repair has been carried out (none in {folder})."]
    deliver("".join(f"{visible(line)}\n" for line in lines), options.output)
    return 0


def _load(folder: str, run: str) -> tuple[str, Journal | BadSource]:
    try:
        return run, load(folder, run)
    except BadSource as reason:
        return run, reason


def _line(run: str, journal: Journal | BadSource) -> str:
    if isinstance(journal, BadSource):
        return f"{run}  cannot be read: {journal}"
    done = sum(record.progress is Progress.DONE for record in journal.records)
    return f"{run}  {journal.stage.value}, {done} of {len(journal.steps)} steps done: {', '.join(journal.cures)}"


def _as_data(run: str, journal: Journal | BadSource) -> dict[str, object]:
    if isinstance(journal, BadSource):
        return {"run": run, "problem": str(journal)}
    return {
        "run": run,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(journal.began)),
        "stage": journal.stage.value,
        "cures": list(journal.cures),
        "steps": [
            {"action": str(step.action), "progress": record.progress.value, "note": record.note}
            for step, record in zip(journal.steps, journal.records, strict=True)
        ],
    }
