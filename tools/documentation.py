"""Builds the documentation as a site: docs/, a page for each check, and the fields of the JSON report.

    python tools/documentation.py            writes it to build/site
    python tools/documentation.py FOLDER     writes it there

Every warning is an error. The site needs nothing from elsewhere: it can be read, and searched, from a disk.
"""

import argparse
import json
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from check_pages import check_pages, report_fields
from sphinx.application import Sphinx

from gpudoctor import __version__
from gpudoctor.registry import load_plugins, registry

TREE = Path(__file__).parents[1]
SETTINGS = {
    "project": "gpudoctor",
    "author": "the authors of gpudoctor",
    "release": __version__,
    "extensions": ["myst_parser"],
    "myst_heading_anchors": 3,
    "html_theme": "furo",
    "html_title": f"gpudoctor {__version__}",
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_show_copyright": False,
    "html_last_updated_fmt": None,
    "nitpicky": True,
    "smartquotes": False,  # who copies a message or an option gets the letters that the program prints
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the documentation as a site.")
    parser.add_argument("folder", nargs="?", default=str(TREE / "build/site"), help="where it goes [build/site]")
    folder = Path(parser.parse_args().folder).resolve()
    broken = load_plugins(fixes=True)
    if broken:
        print(f"documentation: {broken[0].name}: {broken[0].reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as work:
        source = prepared(Path(work) / "docs")
        failed = built(source, folder, Path(work) / "doctrees")
    print(f"documentation: {'failed' if failed else f'{folder}: {len(registry.checks)} checks'}")
    return failed


def prepared(source: Path) -> Path:
    """All Markdown, written and generated, in one folder."""
    source.mkdir()
    for path in (TREE / "docs").iterdir():
        if path.suffix in (".md", ".svg"):
            shutil.copy(path, source)
    (source / "checks").mkdir()
    for name, text in check_pages():
        (source / "checks" / name).write_text(text, encoding="utf-8")
    schema = json.loads((files("gpudoctor.reports") / "report.schema.json").read_text(encoding="utf-8"))
    with (source / "json.md").open("a", encoding="utf-8") as page:
        page.write(f"\n## The fields\n\n{report_fields(schema)}")
    return source


def built(source: Path, folder: Path, doctrees: Path) -> int:
    """Sphinx's exit code. What the folder held before is gone: no page of a check that was renamed stays behind."""
    if (folder / ".buildinfo").is_file():
        shutil.rmtree(folder)
    site = Sphinx(
        source, None, folder, doctrees, "html", SETTINGS, status=None, warning=sys.stderr, warningiserror=True
    )
    site.build()
    return site.statuscode


if __name__ == "__main__":
    sys.exit(main())
