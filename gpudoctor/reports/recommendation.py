"""The answer of `gpudoctor recommend`, as text with the command first, or as JSON."""

import json
import shlex
from typing import NamedTuple

from gpudoctor import __version__
from gpudoctor.facts.package_manager import Argv
from gpudoctor.python.recommend import Recommendation, Target

SCHEMA = 1
ROWS = 12  # of what does not fit; JSON has them all


class Answer(NamedTuple):
    """What was asked, for which machine, and what came out. `commands`: to be run one after the other."""

    request: str  # "torch==2.9.1"
    target: Target
    place: str  # the environment that the command is for, "" for any
    recommendation: Recommendation
    commands: tuple[Argv, ...]
    caution: str

    @property
    def status(self) -> str:
        if self.recommendation.best:
            return "found"
        return "unknown" if self.recommendation.unknown else "none"

    @property
    def exit_code(self) -> int:
        return {"found": 0, "none": 2, "unknown": 3}[self.status]


def as_json(answer: Answer) -> str:
    """One object and a final line break."""
    best, target = answer.recommendation.best, answer.target
    document = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "command": "recommend",
        "request": answer.request,
        "status": answer.status,
        "exit_code": answer.exit_code,
        "for": {
            "driver": target.driver,
            "gpus": [{"name": gpu.name, "compute_capability": _dotted(gpu.capability)} for gpu in target.gpus],
            "python": _dotted(target.python),
            "machine": target.machine,
            "environment": answer.place,
        },
        "commands": [list(argv) for argv in answer.commands],
        "requirements": list(best.requirements) if best else [],
        "index_url": best.index_url if best else "",
        "version": best.version if best else "",
        "cuda": _dotted(best.cuda) if best else "",
        "why": best.why if best else "",
        "caution": answer.caution,
        "rejected": [{"build": one.what, "why": one.why} for one in answer.recommendation.rejected],
        "instead": list(answer.recommendation.instead),
        "unknown": answer.recommendation.unknown,
    }
    return json.dumps(document, indent=1) + "\n"


def as_text(answer: Answer, *, colour: bool) -> str:
    """80 columns, or the terminal's own width; the commands stand on lines of their own, to be copied."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from gpudoctor.reports.page import new_page, text_of
    from gpudoctor.reports.text import visible

    outcome, page = answer.recommendation, new_page(colour=colour)
    if outcome.unknown:
        page.print(Text(f"Cannot tell: {visible(outcome.unknown)}."))
        return text_of(page)

    def paragraph(heading: str, *sentences: str) -> None:
        page.print(Text(heading, style="bold"))
        for sentence in sentences:
            page.print(Padding(Text(visible(sentence)), (0, 0, 0, 2), expand=False))

    for argv in answer.commands:
        page.print(Text(visible(shlex.join(argv)), style="bold green"), soft_wrap=True)
    if not outcome.best:
        page.print(Text(f"No build of {answer.request} fits.", style="bold red"))
    paragraph("For", _machine(answer))
    if outcome.best:
        paragraph("Why", outcome.best.why)
    if answer.caution:
        paragraph("Mind", f"{answer.caution[:1].upper()}{answer.caution[1:]}.")
    if outcome.instead:
        paragraph("Instead", *outcome.instead)
    if outcome.rejected:
        page.print(Text("Not chosen", style="bold"))
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
        table.add_column(ratio=2)
        table.add_column(ratio=3)
        for one in outcome.rejected[:ROWS]:
            table.add_row(Text(one.what), Text(visible(one.why), style="dim"))
        if outcome.rejected[ROWS:]:
            table.add_row(Text(f"and {len(outcome.rejected) - ROWS} more"), Text("--format json has all", style="dim"))
        page.print(table)
    return text_of(page)


def _machine(answer: Answer) -> str:
    target = answer.target
    python = f"Python {_dotted(target.python)}" if target.python else "any Python (--python-version names one)"
    words = (f"driver {target.driver}", *(gpu.words for gpu in target.gpus), python, target.machine, answer.place)
    return ", ".join(word for word in words if word)


def _dotted(pair: tuple[int, int] | None) -> str:
    return f"{pair[0]}.{pair[1]}" if pair else ""
