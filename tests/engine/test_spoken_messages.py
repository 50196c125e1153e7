"""Patterns of messages, said as people see them."""

import re

import pytest

from gpudoctor.registry import load_plugins, registry
from gpudoctor.spoken_messages import Letters, spoken


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"GPU\(s\) lost", ["GPU(s) lost"]),
        (r"(CUDA|HIP) error \d+: .* lost", ["CUDA error N: … lost", "HIP error N: … lost"]),
        (r"(?<!no )\berror\W{1,3}802\b(?!.*fine)", ["error 802"]),
        (r"libcudnn(_\w+)?\.so[.\d]*: cannot open", ["libcudnn.so: cannot open"]),
        (r"double.bit '[^']+'", ["double bit 'X'"]),
        (r"cu1[0-2]|cu9", ["cu10", "cu9"]),
        (r"drivers? ?(and|/) ?library", ["driver and library", "driver / library"]),
    ],
)
def test_a_pattern_is_said_as_its_messages(pattern: str, said: list[str]) -> None:
    assert spoken(pattern) == said


def test_what_is_said_is_what_the_pattern_finds() -> None:
    """But for the few that exclude by what stands elsewhere, or have two blanks."""
    load_plugins()
    patterns = [symptom for check in registry.checks.values() for symptom in check.symptoms]
    letters = Letters("7", "X", " x ")
    texts = {pattern: [one + end for one in spoken(pattern, letters) for end in ("", " ")] for pattern in patterns}
    missed = [pattern for pattern in patterns if not any(re.search(pattern, one, re.I) for one in texts[pattern])]
    assert len(missed) * 100 < len(patterns), missed
