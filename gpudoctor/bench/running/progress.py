"""Shows on standard error how far a benchmark is: a bar for each GPU on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from gpudoctor.bench.measures import Sample
from gpudoctor.bench.running.children import Moment
from gpudoctor.reports.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Show = Callable[[tuple[Moment, ...]], None]

FRAME = 0.1  # seconds between two pictures on a terminal
STILL_RUNNING = 30.0  # seconds after which a plain line says that a phase goes on


@contextmanager
def progress_shown(names: Sequence[str], stream: TextIO | None = None) -> Iterator[Show]:
    """Gives what `run_children` calls with where the children of these names stand.

    However this is left, Ctrl-C included, the terminal is as before. NO_COLOR and TERM=dumb are respected.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield _plain_lines(stream)
        return
    from rich.console import Console  # here: plain lines need no library
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=stream, highlight=False, markup=False, force_terminal=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[phase]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%", markup=False),
        TextColumn("{task.fields[readings]}", markup=False),
    )
    # Without rich's own thread: children are started meanwhile, and a fork beside a thread can inherit a held lock.
    with Progress(*columns, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as bars:
        tasks = {name: bars.add_task(visible(name), total=1.0, phase="", readings="") for name in names}
        yield _bars(bars, tasks)
        bars.refresh()


def _bars(bars: Progress, tasks: dict[str, TaskID]) -> Show:
    shown_notes = dict.fromkeys(tasks, 0)
    last = 0.0

    def show(moments: tuple[Moment, ...]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < FRAME and not all(moment.over for moment in moments):
            return
        last = now
        for moment in moments:
            for note in moment.notes[shown_notes[moment.name] :]:
                bars.console.print(visible(f"{moment.name}: {note}"), soft_wrap=True)
            shown_notes[moment.name] = len(moment.notes)
            bars.update(
                tasks[moment.name], completed=moment.fraction, phase=_standing(moment), readings=readings(moment.sample)
            )
        bars.refresh()

    return show


def _plain_lines(stream: TextIO) -> Show:
    standing: dict[str, str] = {}
    said_at: dict[str, float] = {}
    shown_notes: dict[str, int] = {}

    def show(moments: tuple[Moment, ...]) -> None:
        now = time.monotonic()
        for moment in moments:
            name, where = moment.name, _standing(moment)
            lines = [f"{name}: {note}" for note in moment.notes[shown_notes.get(name, 0) :]]
            shown_notes[name] = len(moment.notes)
            changed = where != standing.get(name, "starting")
            if where and (changed or (not moment.over and now - said_at.get(name, now) > STILL_RUNNING)):
                seen = readings(moment.sample)
                lines.append(f"{name}: {where}, {moment.fraction:.0%}{', ' if seen else ''}{seen}")
            if lines or name not in said_at:
                said_at[name] = now
            if where:
                standing[name] = where
            for line in lines:
                print(visible(line), file=stream, flush=True)

    return show


def _standing(moment: Moment) -> str:
    """In a word or two; "" between two phases."""
    if moment.over:
        return "failed" if moment.failure else "done"
    return moment.phase or ("starting" if not moment.fraction else "")


def readings(sample: Sample | None) -> str:
    """The temperature, clock and power of a GPU as far as they are told: "61 °C, 1980 MHz, 512 W"."""
    if sample is None:
        return ""
    parts = [
        None if sample.temperature_c is None else f"{sample.temperature_c} °C",
        None if sample.sm_mhz is None else f"{sample.sm_mhz} MHz",
        None if sample.power_w is None else f"{sample.power_w:.0f} W",
    ]
    return ", ".join(part for part in parts if part)
