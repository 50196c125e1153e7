"""A page as somebody else's parser reads it."""

import base64
import hashlib
import re
from itertools import pairwise
from typing import Any

from justhtml import JustHTML


def read_page(text: str) -> Any:
    """The document. Raises StrictModeError for the first thing that is no HTML."""
    return JustHTML(text, strict=True, sanitize=False)


def texts(page: Any, selector: str) -> list[str]:
    return [" ".join(node.to_text().split()) for node in page.query(selector)]


def require_sound(text: str) -> Any:
    """What holds for every page, whatever is on it: it needs nothing, runs nothing, and can be found one's way in."""
    assert text.isascii()
    page = read_page(text)
    nodes = page.query("*")
    names = {node.name for node in nodes}
    assert not names & {"script", "iframe", "object", "embed", "img", "link", "base", "form", "audio", "video", "use"}
    attributes = [(name, value or "") for node in nodes for name, value in (node.attrs or {}).items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src", "srcset", "action")]
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert all(value.startswith("#") and value[1:] in ids for name, value in attributes if name == "href")
    assert all(value in ids for name, value in attributes if name == "aria-labelledby")
    for told in (page.to_text(), *(value for _, value in attributes)):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", told)
    _require_policy(page)
    _require_order(page)
    return page


def _require_policy(page: Any) -> None:
    """Nothing from elsewhere, and of styles the one that is here."""
    (style,) = page.query("style")
    css = "".join(child.data for child in style.children)
    assert not re.search(r"url\(|@import|expression\(", css)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    (policy,) = [m.attrs["content"] for m in page.query("meta") if m.attrs.get("http-equiv")]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _require_order(page: Any) -> None:
    """Headings leave out no level, tables say what their cells are about, what is folded has a name, marks a word."""
    assert page.query("html")[0].attrs["lang"] == "en"
    levels = [int(node.name[1]) for node in page.query("h1, h2, h3, h4, h5, h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    assert all(node.attrs.get("scope") in ("col", "row") for node in page.query("th"))
    assert all(texts(node, "caption")[0] for node in page.query("table"))
    assert all(node.children[0].name == "summary" and texts(node, "summary")[0] for node in page.query("details"))
    for mark in page.query(".badge, .outcome"):
        assert mark.to_text().strip()
        assert mark.query("svg")[0].attrs["aria-hidden"] == "true"
