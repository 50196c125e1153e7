"""A page that rich lays out, taken as text."""

import io

from rich.console import Console

from gpudoctor.reports.text import WIDTH


def new_page(*, colour: bool) -> Console:
    """A console that prints into memory: as wide as the terminal with colour, else 80 columns."""
    return Console(
        file=io.StringIO(), force_terminal=colour, no_color=not colour, highlight=False, width=None if colour else WIDTH
    )


def text_of(page: Console) -> str:
    """What was printed on a page, without the blanks that rich fills lines up with."""
    file = page.file
    assert isinstance(file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
