"""A check is a function of facts: a test is a call, and a folder is a machine."""

from pathlib import Path

import pytest
from gpudoctor_scratch.facts import Scratch, scratch

from gpudoctor import Run
from gpudoctor.testing import MachineTree, outcome_of, steps_of


@pytest.mark.parametrize(("mode", "status"), [(0o1777, "ok"), (0o755, "found"), (None, "skipped")])
def test_the_mode_decides(mode: int | None, status: str) -> None:
    assert outcome_of("scratch.not-writable", Scratch(mode)).status.value == status


def test_what_is_not_known_is_not_called_fine() -> None:
    assert outcome_of("scratch.not-writable").status.value == "unknown"


def test_the_repair_leads_back_to_what_was() -> None:
    (step,) = steps_of("open-scratch", Scratch(0o750))
    assert (step.action, step.undo) == (Run(("chmod", "1777", "/scratch")), Run(("chmod", "0750", "/scratch")))


def test_the_fact_is_read_from_a_machine(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert scratch(MachineTree(str(tmp_path))) == Scratch(None)
    (tmp_path / "scratch").mkdir(mode=0o700)
    assert scratch(MachineTree(str(tmp_path))) == Scratch(0o700)
