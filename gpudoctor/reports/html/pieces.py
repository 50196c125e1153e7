"""The pieces that pages are made of: marks of severity, folded parts, tables, commands, prose with code in it."""

from collections.abc import Iterable, Sequence

from gpudoctor.reports.html.elements import Element, Node, element

# A shape of its own for each kind, so that none is told by its colour alone.
_SHAPES: dict[str, tuple[Element, ...]] = {
    "error": (
        element("path", d="M5.2 1h5.6L15 5.2v5.6L10.8 15H5.2L1 10.8V5.2z"),
        element("path", d="M5.5 5.5l5 5m0-5l-5 5"),
    ),
    "warning": (element("path", d="M8 1.5L15.2 14.3H.8z"), element("path", d="M8 6v4m0 2v.3")),
    "info": (element("circle", cx=8, cy=8, r=7), element("path", d="M8 7.3v4.2M8 4.5v.3")),
    "ok": (element("circle", cx=8, cy=8, r=7), element("path", d="M4.8 8.3l2.2 2.2 4.2-4.7")),
    "unknown": (
        element("circle", cx=8, cy=8, r=7),
        element("path", d="M5.9 6.2a2.1 2.1 0 1 1 3.1 1.9c-.7.4-1 .8-1 1.5m0 2.1v.3"),
    ),
    "skipped": (element("circle", cx=8, cy=8, r=7, stroke_dasharray="2.2 2.2"), element("path", d="M5 8h6")),
}
KINDS = tuple(_SHAPES)  # the worst first


def icon(kind: str) -> Element:
    """Decoration beside a word that says the same."""
    return element("svg", *_SHAPES[kind], class_="icon", viewBox="0 0 16 16", aria_hidden="true")


def badge(kind: str, word: str) -> Element:
    """A mark with its word."""
    return element("span", icon(kind), element("span", word), class_=f"badge {kind}")


def prose(text: str) -> list[Node]:
    """Text in which `backticks` mark code; an odd one is text."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        pieces[-2:] = ["`".join(pieces[-2:])]
    return [element("code", piece) if place % 2 else piece for place, piece in enumerate(pieces) if piece]


def command(words: str) -> Element:
    """A command line to copy: one click or tap selects it whole."""
    return element("pre", element("code", words), class_="command")


def disclosure(summary: str, *inside: Node, class_: str | None = None) -> Element:
    """Folded away until somebody opens it."""
    return element("details", element("summary", element("span", summary)), *inside, class_=class_)


def section(title: str, *inside: Node | None, anchor: str = "") -> Element:
    """A part of the page under a heading of the second level. `anchor`: its id, where the title is not ours."""
    anchor = anchor or "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    return element("section", element("h2", title, id=anchor), *inside, aria_labelledby=anchor)


def pairs(rows: Iterable[tuple[str, Node]], class_: str) -> Element:
    """Names and values, as a list of descriptions."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in rows), class_=class_
    )


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Node]], class_: str | None = None) -> Element:
    """The first cell of a row names it. A table that is too wide scrolls in itself, also by keyboard."""
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
            element(
                "tbody",
                *(
                    element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
                    for row in rows
                ),
            ),
            class_=class_,
        ),
        class_="scrolls",
        role="region",
        aria_label=caption,
        tabindex=0,
    )


def listed(items: Iterable[Node], class_: str | None = None) -> Element:
    """An unordered list."""
    return element("ul", *(element("li", item) for item in items), class_=class_)


def counted(count: int, word: str) -> str:
    """1 of "check" is "1 check", 2 are "2 checks"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
