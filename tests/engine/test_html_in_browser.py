"""The pages in headless Chromium, as a reader has them: opened, unfolded, on a phone, in the dark, on paper."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from html_machines import SCRIPT, sick_server
from playwright.sync_api import Browser, Page, sync_playwright

from gpudoctor.cli import run

pytestmark = pytest.mark.slow

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
HEALTHY = str(Path(__file__).parents[1] / "machines/bookworm-healthy.json")
PAGES = ("sick", "healthy", "bench", "curve")


class Opened(NamedTuple):
    """A page, and all that it should not have done."""

    page: Page
    said: list[str]  # console messages, errors, dialogs
    asked: list[str]  # addresses it wanted


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages as the commands write them."""
    folder = tmp_path_factory.mktemp("pages")
    snapshot = str(sick_server(folder / "server"))
    commands = {
        "sick": ["check", "--snapshot", snapshot],
        "healthy": ["check", "--snapshot", HEALTHY],
        "bench": ["bench", "--quick", "--backend", "numpy"],
        "curve": ["bench", "curve", "--backend", "numpy", "--sizes", "20,50,100"],
    }
    for name, arguments in commands.items():
        code = run([*arguments, "--format", "html", "--output", str(folder / f"{name}.html")])
        gc.enable()  # the command line leaves it off, its process being over soon
        assert code == (2 if name == "sick" else 0)
    return {name: folder / f"{name}.html" for name in commands}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is installed")
    with sync_playwright() as driver:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
        started = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, files: dict[str, Path]) -> Iterator[Open]:
    """open_page("sick", width=360, scheme="dark"). In the end it must have been quiet, and have asked nobody."""
    opened: list[Opened] = []

    def do(name: str, *, width: int = 1100, scheme: str = "light") -> Opened:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        one = Opened(page, [], [])
        page.on("console", lambda message: one.said.append(message.text))
        page.on("pageerror", lambda error: one.said.append(str(error)))
        page.on("dialog", lambda dialog: (one.said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: one.asked.append(request.url))
        page.goto(files[name].as_uri())
        opened.append(one)
        return one

    yield do
    for one, name in ((one, one.page.url) for one in opened):
        assert one.said == []
        assert one.asked == [name]
        one.page.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_quiet_needs_nothing_and_can_be_used_by_everybody(open_page: Open, name: str, scheme: str) -> None:
    page = open_page(name, scheme=scheme).page
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 360, 768, 1600])
def test_a_page_never_scrolls_sideways(open_page: Open, name: str, width: int) -> None:
    page = open_page(name, width=width).page
    for detail in page.locator("summary").all():
        detail.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 360:  # nor is anything cut off that cannot be scrolled to
        cut = "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scrolls, .unseen')"
        assert page.evaluate(f"{cut} && e.getBoundingClientRect().right > {width}).map(e => e.outerHTML)") == []


def test_our_style_is_let_through_and_follows_the_scheme(open_page: Open) -> None:
    def background(scheme: str) -> str:
        page = open_page("sick", scheme=scheme).page
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert (background("light"), background("dark")) == ("rgb(245, 246, 248)", "rgb(15, 18, 23)")


def test_the_policy_stops_what_would_slip_in(browser: Browser, files: dict[str, Path], tmp_path: Path) -> None:
    """As if we had forgotten to escape: it is there, and does nothing."""
    text = files["sick"].read_text(encoding="utf-8")
    slipped = '<script>document.title = "run"</script><p id="x" style="color: red" onclick="document.title = 1">x</p>'
    (tmp_path / "slipped.html").write_text(text.replace("<main>", f"<main>{slipped}"), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "slipped.html").as_uri())
    page.locator("#x").click()
    assert page.title() == "gpudoctor check: 3 errors found. 1 more could not be told."
    assert page.evaluate("getComputedStyle(document.getElementById('x')).color") != "rgb(255, 0, 0)"
    page.close()


def test_a_script_in_the_name_of_a_gpu_is_its_name(open_page: Open) -> None:
    page = open_page("sick").page
    assert page.locator("section", has_text="GPUs").locator("tbody th").nth(1).inner_text() == f"1: {SCRIPT}"
    assert page.locator("script").count() == 0


def test_proof_is_folded_and_opens_by_mouse_and_by_keyboard(open_page: Open) -> None:
    page = open_page("sick").page
    proof = page.locator("details.proof")
    assert proof.count() == 3
    assert not proof.nth(0).locator("dl").is_visible()
    proof.nth(1).locator("summary").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    assert proof.nth(1).locator("dl").is_visible()
    proof.nth(0).locator("summary").click()
    assert proof.nth(0).locator("dl").is_visible()
    assert not proof.nth(2).locator("dl").is_visible()


def test_a_row_leads_to_its_finding(open_page: Open) -> None:
    opened = open_page("sick")
    opened.page.get_by_role("link", name="torch.cpu-only").click()
    assert opened.page.locator("article:target .id").first.inner_text() == "torch.cpu-only"
    opened.page.goto(opened.page.url.partition("#")[0])
    opened.asked[1:] = []  # the same page again


def test_a_click_on_the_command_takes_it_whole_and_nothing_else(open_page: Open) -> None:
    page = open_page("sick").page
    page.locator("pre.command").nth(2).click()
    line = "gpudoctor fix --only torch.cpu-only --python /home/ada/train/.venv"
    assert page.evaluate("getSelection().toString()").strip() == line


def test_on_paper_the_proof_is_unfolded_and_the_page_is_light(open_page: Open) -> None:
    page = open_page("sick", scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    for proof in page.locator("details.proof").all():
        assert proof.locator("dl").is_visible()
        assert proof.locator("dl").bounding_box()["height"] > 20  # type: ignore[index]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(26, 31, 39)"


def test_pictures_keep_their_words_legible_on_a_phone(open_page: Open) -> None:
    for name in ("bench", "curve"):
        page = open_page(name, width=360).page
        heights = page.evaluate(
            "[...document.querySelectorAll('.chart text')].map(e => e.getBoundingClientRect().height)"
        )
        assert len(heights) > 8
        assert min(heights) >= 9
