"""What the README shows is what the program takes and prints."""

from pathlib import Path

import pytest
from command_line import calls
from documented import TREE, complaint, distinct, named_in, prepare, require_accepted, shown_in

README = TREE / "README.md"


def test_every_command_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    call = calls(capfd)
    run = [one for one in distinct(README) if not one.slow and not one.why_not_run]
    wrong = {f"{one.place}: {one.command}": complaint(one, call(*one.words[1:])) for one in run}
    assert run
    assert {place: why for place, why in wrong.items() if why} == {}


def test_every_command_within_a_sentence_or_a_table_is_taken() -> None:
    named = [*named_in(README), *(one for one in shown_in(README) if one.words[0] == "gpudoctor")]
    assert named
    for one in named:
        require_accepted(one.words[1:])
