"""tools/refresh_knowledge.py against a small package index on this machine."""

import datetime
import json
from pathlib import Path

import pytest
from package_index import PackageIndex
from refresh_runs import (
    KNOWLEDGE,
    TABLES,
    add_known_cudnn,
    add_known_jax,
    add_new_jax,
    as_text,
    cudnn_contents,
    differences,
    from_pip_config,
    main,
    refresh,
    table,
)

from gpudoctor.knowledge import cudnn


@pytest.mark.parametrize("name", TABLES)
def test_writes_the_style_in_which_the_tables_stand(name: str) -> None:
    text = (KNOWLEDGE / f"{name}.json").read_text()
    assert as_text(json.loads(text)) == text


def test_no_difference(index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_known_cudnn(index, knowledge)
    assert refresh(index, knowledge, "--table", "cudnn") == 0
    assert "no differences" in capsys.readouterr().out
    assert index.paths() == ["/simple/nvidia-cudnn-cu11/", "/simple/nvidia-cudnn-cu12/", "/simple/nvidia-cudnn-cu13/"]
    assert all(asked.agent.startswith("gpudoctor-refresh-knowledge") for asked in index.asked)


def test_a_new_release_is_shown_and_only_written_when_asked(
    index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_known_cudnn(index, knowledge)
    index.add("nvidia-cudnn-cu13", "99.1.0.7", contents=cudnn_contents())
    before = (knowledge / "cudnn.json").read_text()

    assert refresh(index, knowledge, "--table", "cudnn") == 1
    assert "~ wheels.nvidia-cudnn-cu13: + 99.1.0.7" in capsys.readouterr().out
    assert (knowledge / "cudnn.json").read_text() == before

    assert refresh(index, knowledge, "--table", "cudnn", "--write") == 0
    assert cudnn.cudnn_wheels(13)[-1] == "99.1.0.7"
    assert table(knowledge, "cudnn")["date"] == datetime.date.today().isoformat()
    old, new = before.splitlines(), (knowledge / "cudnn.json").read_text().splitlines()
    changed = [line[:20] for line, other in zip(old, new, strict=True) if line != other]
    assert changed == ['{"about":"cuDNN: sup', '"nvidia-cudnn-cu13":']

    assert refresh(index, knowledge, "--table", "cudnn") == 0


@pytest.mark.parametrize(
    ("version", "tag", "yanked"),
    [
        ("99.0rc1", "py3-none-manylinux_2_28_x86_64", False),
        ("99.0.dev3", "py3-none-manylinux_2_28_x86_64", False),
        ("99.0", "py3-none-win_amd64", False),
        ("99.0", "py3-none-manylinux_2_28_aarch64", False),
        ("99.0", "py3-none-manylinux_2_28_x86_64", True),
        ("0.1", "py3-none-manylinux_2_28_x86_64", False),  # older than all that the table has
    ],
)
def test_what_is_no_news(index: PackageIndex, knowledge: Path, version: str, tag: str, yanked: bool) -> None:
    add_known_cudnn(index, knowledge)
    index.add("nvidia-cudnn-cu13", version, tag, yanked=yanked)
    assert refresh(index, knowledge, "--table", "cudnn") == 0


def test_releases_that_the_index_withdrew_stay_in_the_table(index: PackageIndex, knowledge: Path) -> None:
    for project, (first, second, *_) in table(knowledge, "cudnn")["wheels"].items():
        index.add(project, first)
        index.add(project, second, yanked=True)
    assert refresh(index, knowledge, "--table", "cudnn") == 0


def test_an_index_that_nobody_serves(knowledge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served = PackageIndex()
    served.close()
    before = {path.name: path.read_text() for path in knowledge.iterdir()}
    assert refresh(served, knowledge, "--write") == 3
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"The package index {served.url} cannot be reached: Connection refused.")
    assert {path.name: path.read_text() for path in knowledge.iterdir()} == before


def test_an_address_that_is_no_index(knowledge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--index-url", "file:///opt/simple", "--knowledge", str(knowledge)]) == 3
    assert capsys.readouterr().err == "The package index file:///opt/simple is no http or https address.\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/vnd.pypi.simple.v1+json", b"{"),
        ("application/vnd.pypi.simple.v1+json", b"[]"),
        ("application/vnd.pypi.simple.v1+json", b'{"files": 3}'),
        (
            "application/vnd.pypi.simple.v1+json",
            b'{"meta":{"api-version":"9.0"},"name":"nvidia-cudnn-cu12","files":[]}',
        ),
        (
            "application/vnd.pypi.simple.v1+json",
            b'{"meta":{"api-version":"1.0"},"name":"nvidia-cudnn-cu12","files":[]}',
        ),
        ("text/plain", b"log in first"),
        ("text/html", b"<html>log in first</html>"),
        ("", b""),
    ],
)
def test_a_malformed_answer_leaves_the_table_as_it_is(
    index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str], kind: str, body: bytes
) -> None:
    add_known_cudnn(index, knowledge)
    index.add("nvidia-cudnn-cu11", "99.0", contents=cudnn_contents())  # read before, and not written either
    index.answers["/simple/nvidia-cudnn-cu12/"] = kind, body
    before = (knowledge / "cudnn.json").read_text()
    assert refresh(index, knowledge, "--table", "cudnn", "--write") == 3
    said = capsys.readouterr()
    assert "nvidia-cudnn-cu12" in said.err
    assert said.err.endswith("; the table stays as it is.\n")
    assert (knowledge / "cudnn.json").read_text() == before


def test_the_cache_spares_requests(index: PackageIndex, knowledge: Path, tmp_path: Path) -> None:
    add_known_jax(index, knowledge)
    add_new_jax(index)
    assert refresh(index, knowledge, "--table", "jax", "--cache", str(tmp_path / "cache")) == 1
    made = len(index.asked)
    assert refresh(index, knowledge, "--table", "jax", "--cache", str(tmp_path / "cache"), "--write") == 0
    assert len(index.asked) == made
    assert table(knowledge, "jax")["jax"][-1]["jax"] == "99.0"


def test_a_busy_index_is_asked_once_more(index: PackageIndex, knowledge: Path) -> None:
    add_known_cudnn(index, knowledge)
    index.status["/simple/nvidia-cudnn-cu12/"] = [503, 429]
    assert refresh(index, knowledge, "--table", "cudnn") == 0
    assert index.paths().count("/simple/nvidia-cudnn-cu12/") == 3


def test_the_limit_of_requests(index: PackageIndex, knowledge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_known_cudnn(index, knowledge)
    assert refresh(index, knowledge, "--table", "cudnn", "--most", "2") == 3
    assert len(index.asked) == 2
    assert "The limit of 2 requests is reached" in capsys.readouterr().err


def test_the_index_that_pip_is_configured_for() -> None:
    lines = [
        "global.cert='/etc/ssl/own.crt'",
        "global.index-url='https://global.example/simple'",
        "install.index-url='https://install.example/simple'",
    ]
    assert from_pip_config(lines) == ("https://install.example/simple", "/etc/ssl/own.crt")
    variable = [*lines, ":env:.index-url='https://variable.example/simple'"]
    assert from_pip_config(variable)[0] == "https://variable.example/simple"


def test_differences_name_rows_by_the_columns_that_tell_them_apart() -> None:
    old = {"pins": [["a", "1", {"torch": "==1"}], ["a", "2", {}]], "rows": [{"jax": "1", "numpy": ">=1"}]}
    new = {"pins": [["a", "1", {"torch": "==1.1"}], ["b", "1", {}]], "rows": [{"jax": "1", "numpy": ">=2"}]}
    assert list(differences(old, new)) == [
        '~ pins[a 1]: ["a","1",{"torch":"==1"}] -> ["a","1",{"torch":"==1.1"}]',
        '- pins[a 2]: ["a","2",{}]',
        '+ pins[b 1]: ["b","1",{}]',
        "~ rows[1].numpy: >=1 -> >=2",
    ]
    assert list(differences(["a", "b"], ["b", "a"], "rows")) == ["~ rows: the order of the rows"]
