"""Texts as people paste them, healthy ones among them: is the cause named first, and no wolf cried?"""

import json
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.findings import Severity
from gpudoctor.triage.judge import triage

PASTES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("pastes.json").read_text(encoding="utf-8"))["pastes"]


def named(text: str) -> list[str]:
    return [ranked.check.id for ranked in triage(text).report.findings if ranked.severity > Severity.INFO]


def hits(pastes: list[dict[str, Any]]) -> tuple[float, float, list[str]]:
    """The shares named first and among the first three, and what was named of healthy ones."""
    answers = [(paste["expect"], named(paste["text"])) for paste in pastes]
    sick = [(expect, found) for expect, found in answers if expect]
    first = sum(found[:1] != [] and found[0] in expect for expect, found in sick) / len(sick)
    three = sum(any(id in expect for id in found[:3]) for expect, found in sick) / len(sick)
    return first, three, [id for expect, found in answers if not expect for id in found]


@pytest.mark.parametrize("part", [pytest.param(0, id="some"), pytest.param(1, id="rest", marks=pytest.mark.slow)])
def test_the_cause_is_named_first(part: int) -> None:
    pastes = PASTES[::3] if part == 0 else [paste for number, paste in enumerate(PASTES) if number % 3]
    first, three, alarms = hits(pastes)
    assert alarms == []
    assert first >= 0.93
    assert three >= 0.96


def test_there_is_something_of_every_domain() -> None:
    domains = {id.partition(".")[0] for paste in PASTES for id in paste["expect"]}
    assert domains >= {"kernel", "driver", "packages", "container", "wsl", "health", "fabric", "gpu", "pci", "devices"}
    assert domains >= {"cuda", "cudnn", "env", "torch", "python", "jax", "tensorflow", "onnxruntime", "triton"}
    assert sum(not paste["expect"] for paste in PASTES) >= 20
