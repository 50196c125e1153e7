"""The documentation as a site: complete, without a dead link, readable and searchable where there is no network."""

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin

import pytest
from documented import TREE
from justhtml import JustHTML
from playwright.sync_api import sync_playwright

from gpudoctor.explanation import parts, patterns
from gpudoctor.findings import Check
from gpudoctor.registry import load_plugins, registry
from gpudoctor.repair import fixes_for
from gpudoctor.spoken_messages import spoken

pytestmark = pytest.mark.slow

load_plugins(fixes=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "html"
    done = subprocess.run(
        [sys.executable, TREE / "tools/documentation.py", folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), "a warning is an error"
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Any]:
    return {path: JustHTML(path.read_text("utf-8"), sanitize=False) for path in site.rglob("*.html")}


def said_by(check: Check) -> Iterable[str]:
    return dict.fromkeys(message for symptom in check.symptoms for message in spoken(symptom))


def words(node: Any) -> str:
    return " ".join(node.to_text(separator="", strip=False).split())


def test_every_check_has_a_page_with_all_that_explain_tells(site: Path, pages: dict[Path, Any]) -> None:
    for check in registry.checks.values():
        page = pages[site / f"checks/{check.id}.html"]
        title = f"{check.id}: {' '.join(check.title.split()).rstrip('.')}".replace("`", "")
        assert words(page.query("h1")[0]).startswith(title)
        assert words(page.query("title")[0]).startswith(title)
        shown = page.query("article pre")
        assert len(shown) == (2 if check.symptoms else 0)
        for node, rows in zip(shown, (said_by(check), patterns(check)), strict=False):
            assert node.to_text(separator="", strip=False).splitlines() == [*rows], check.id
        article = words(page.query("article")[0])
        for told in (*parts(check), *([] if patterns(check) else [(None, check.no_symptom)])):
            assert told[1].replace("`", "") in article, check.id
        for other in (*check.after, *fixes_for(check.id), check.severity.name.lower()):
            assert other in article, check.id


def test_every_link_leads_to_a_page_and_a_place_in_it(site: Path, pages: dict[Path, Any]) -> None:
    ids = {path: {node.attrs["id"] for node in page.query("[id]")} for path, page in pages.items()}
    links = [(path, node.attrs["href"]) for path, page in pages.items() for node in page.query("a[href]")]
    assert len(links) > 1000
    for path, link in links:
        if re.match(r"https?:", link):
            continue
        target, _, place = link.partition("#")
        there = Path(unquote(urljoin(path.as_uri(), target).removeprefix("file://"))) if target else path
        assert there.is_file(), f"{path.name}: {link}"
        assert not place or there.suffix != ".html" or unquote(place) in ids[there], f"{path.name}: {link}"
    reached = {link.partition("#")[0] for path, link in links if path == site / "checks/index.html"}
    assert {f"{id}.html" for id in registry.checks} <= reached


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Any]) -> None:
    for path, page in pages.items():
        loaded = [node.attrs["src"] for node in page.query("[src]")]
        loaded += [node.attrs["href"] for node in page.query("link[href]")]
        for address in loaded:
            there = Path(urljoin(path.as_uri(), address.partition("?")[0]).removeprefix("file://"))
            assert there.is_file(), f"{path.name}: {address}"
    for path in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", path.read_text("utf-8")), path


def test_no_page_names_a_path_of_the_machine_it_was_made_on(site: Path) -> None:
    mine = {str(TREE), sys.prefix, sys.base_prefix, os.path.expanduser("~/"), str(site)}
    mine -= {"/usr", "/root/"}  # which messages and advice name as well
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".txt", ".svg"):
            text = html.unescape(path.read_text("utf-8"))
            assert [one for one in mine if one in text] == [], path


def test_the_search_finds_a_message_without_a_network(site: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip(f"none of {', '.join(names)} is installed")
    with sync_playwright() as driver:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
        browser = driver.chromium.launch(executable_path=chromium, args=sandbox)
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{(site / 'search.html').as_uri()}?q={quote('Driver/library version mismatch')}")
        first = page.locator("ul.search li a").first
        first.wait_for()
        assert first.inner_text().startswith("driver.library-mismatch: ")
        browser.close()
    assert not [address for address in asked if not address.startswith(("file:", "data:"))]
