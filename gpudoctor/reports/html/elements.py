"""Trees of HTML elements, and the one function that writes them: the only place where text becomes markup.

There is no way to put ready-made markup into a tree. A string is text, whatever is in it, so nobody can forget to
escape; that is what a template library would have to be trusted for, and nothing has to be installed for it.
"""

import html
from typing import NamedTuple, Union

Node = Union["Element", str]

# HTML's elements without an end tag, of those that are used here.
_VOID = frozenset({"meta", "br", "wbr"})
# After these a line may end without a blank appearing on the page.
_BLOCKS = frozenset(
    (
        *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "article"),
        *("h1", "h2", "h3", "h4", "p", "div", "ul", "li", "dl", "dt", "dd", "pre", "figure", "figcaption", "svg"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    )
)
# Text that the parser takes as it stands: only our own style sheet is ever put there.
_RAW = frozenset({"style"})


class Element(NamedTuple):
    """One element: tag, attributes in order, and what is inside."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Node, ...]


def element(tag: str, *children: Node | None, **attributes: object) -> Element:
    """None among the children is left out, and so is an attribute that is None or False; True has no value.

    `class_`, `for_`: names that Python keeps for itself. `aria_label` is aria-label.
    """
    written = tuple(
        (name.rstrip("_").replace("_", "-"), "" if value is True else str(value))
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return Element(tag, written, tuple(child for child in children if child is not None))


def rendered(root: Element) -> str:
    """The markup in ASCII: what is not, stands there as a character reference, so that any encoding can carry it."""
    parts: list[str] = []
    _write(root, parts)
    return "".join(parts).encode("ascii", "xmlcharrefreplace").decode("ascii")


def shown(text: str) -> str:
    """The text with what a page cannot show, or must not, written out: \\x1b, \\u202e, \\udcff.

    HTML has no control characters and no lone surrogates, and marks that turn the direction of text would let a name
    look like another. Blanks of other kinds become spaces.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in "\n\t"
        else " "
        if character.isspace()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _write(node: Node, parts: list[str]) -> None:
    if isinstance(node, str):
        parts.append(html.escape(shown(node)))
        return
    attributes = "".join(f' {name}="{html.escape(shown(value))}"' for name, value in node.attributes)
    parts.append(f"<{node.tag}{attributes}>")
    if node.tag not in _VOID:
        for child in node.children:
            if node.tag in _RAW:
                parts.append(_raw(child))
            else:
                _write(child, parts)
        parts.append(f"</{node.tag}>")
    if node.tag in _BLOCKS:
        parts.append("\n")


def _raw(child: Node) -> str:
    if not isinstance(child, str) or "</" in child or not child.isascii():
        raise ValueError("a style sheet is plain ASCII, and does not end its own element")
    return child
