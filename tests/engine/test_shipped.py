"""Rules that every shipped check, fix and fact keeps."""

import ast
import re
import sys
from pathlib import Path

import gpudoctor
from gpudoctor.host import Host
from gpudoctor.registry import load_plugins, needs, registry
from gpudoctor.repair import Findings

load_plugins(fixes=True)

ENGINE = Path(gpudoctor.__file__).parent
HEADINGS = ("What:", "Proof:", "Repair:", "Reference:")


def test_no_plugin_is_broken() -> None:
    assert not registry.broken


def test_every_module_of_the_folders_is_loaded() -> None:
    """What lies in checks/ and fixes/ is what the entry points bring: none is left out of the installation."""
    tree = Path(__file__).parents[2]
    for folder in ("checks", "fixes"):
        on_disk = {path.stem for path in (tree / folder).glob("[!_]*.py")}
        loaded = {name.rpartition(".")[2] for name in registry.loaded if name.startswith(f"gpudoctor.{folder}.")}
        if on_disk:  # the tests also run where only the wheel is
            assert on_disk == loaded
        assert loaded


def test_every_check_explains_itself() -> None:
    for check in registry.checks.values():
        text = check.explanation
        assert all(heading in text for heading in HEADINGS), check.id
        assert check.title.endswith("."), check.id
        assert bool(check.symptoms) != bool(check.no_symptom), f"{check.id}: symptoms, or why there are none"
        for pattern in check.symptoms:
            assert not re.search(pattern, "all is well"), check.id


def test_ids_are_words_and_causes_exist() -> None:
    for check in registry.checks.values():
        assert re.fullmatch(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*", check.id), check.id
        assert set(check.after) <= registry.checks.keys(), check.id
        # The driver calls a fault of its links "NVLINK_ERROR": there it is no severity.
        assert not re.search(r"(?<!nvlink-)error|warning|critical", check.id), check.id


def test_every_cure_names_a_check_and_every_error_has_a_fix() -> None:
    cured = {id for fix in registry.fixes.values() for id in fix.cures}
    assert cured <= registry.checks.keys()
    assert registry.checks.keys() - cured == set()


def test_every_fact_that_is_asked_for_has_a_provider() -> None:
    known = {*registry.providers, Host, Findings}
    for provider in (*registry.providers.values(), *(c.function for c in registry.checks.values())):
        assert {need.kind for need in needs(provider).values()} <= known, provider.__qualname__
    for fix in registry.fixes.values():
        assert {need.kind for need in needs(fix.function).values()} <= known, fix.id


def test_checks_and_fixes_never_touch_the_host() -> None:
    for function in (*(c.function for c in registry.checks.values()), *(f.function for f in registry.fixes.values())):
        assert Host not in {need.kind for need in needs(function).values()}, function.__qualname__


def test_nobody_imports_a_plugin_by_name() -> None:
    for path in (*ENGINE.rglob("*.py"), *Path(__file__).parents[1].rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "gpudoctor.checks" not in text and "gpudoctor.fixes" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith(("gpudoctor.checks", "gpudoctor.fixes"))], path


def test_every_package_is_installed() -> None:
    """setuptools lists packages by hand because of the folder mapping: a new one must not be forgotten."""
    on_disk = {path.parent.relative_to(ENGINE).as_posix() for path in ENGINE.rglob("__init__.py")} - {"."}
    if sys.version_info >= (3, 11):
        import tomllib

        pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
        listed = {
            name.removeprefix("gpudoctor.").replace(".", "/") for name in pyproject["tool"]["setuptools"]["packages"]
        }
        assert on_disk | {"checks", "fixes"} == listed - {"gpudoctor"}


def test_every_check_has_a_call_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (Path(__file__).parents[1] / "checks").glob("*.py"))
    assert [id for id in registry.checks if f'"{id}"' not in tests] == []
