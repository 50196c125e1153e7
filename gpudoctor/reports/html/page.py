"""The frame of every page: head, policy, style, header and footer."""

import base64
import hashlib
import os
import time

from gpudoctor import __version__
from gpudoctor.knowledge import table_dates
from gpudoctor.reports.html.elements import Element, Node, element, rendered
from gpudoctor.reports.html.pieces import disclosure, icon


def page(
    title: str, command: str, kind: str, verdict: str, *sections: Element | None, lead: Node | None = None, ending: str
) -> str:
    """The whole document, with a final line break.

    `kind`: one of `pieces.KINDS`, for the verdict. `lead` stands under it. `ending`: what the footer says beside
    version and dates.
    """
    style = _style()
    document = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", name="referrer", content="no-referrer"),
            element("meta", name="generator", content=f"gpudoctor {__version__}"),
            element("title", title),
            element("style", style),
        ),
        element(
            "body",
            element(
                "header",
                element("p", f"gpudoctor {command}", class_="brand"),
                element("h1", icon(kind), element("span", verdict), class_=f"verdict {kind}"),
                lead,
            ),
            element("main", *sections),
            _footer(ending),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{rendered(document)}"


def _style() -> str:
    with open(os.path.join(os.path.dirname(__file__), "page.css"), encoding="ascii") as file:
        return f"\n{file.read()}"


def _policy(style: str) -> str:
    """Nothing may be loaded or run, and no style but ours counts: if something did slip in, it would do nothing."""
    digest = base64.b64encode(hashlib.sha256(style.encode("ascii")).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _footer(ending: str) -> Element:
    now = time.gmtime()
    dates = table_dates()
    span = f"{min(dates.values())} to {max(dates.values())}" if len({*dates.values()}) > 1 else min(dates.values())
    return element(
        "footer",
        element(
            "p",
            f"gpudoctor {__version__} · {ending} · written ",
            element("time", time.strftime("%Y-%m-%d %H:%M UTC", now), datetime=time.strftime("%Y-%m-%dT%H:%MZ", now)),
        ),
        disclosure(
            f"Its tables are of {span}",
            element(
                "dl",
                *(
                    element("div", element("dt", element("code", name)), element("dd", date))
                    for name, date in dates.items()
                ),
                class_="dates",
            ),
        ),
    )
