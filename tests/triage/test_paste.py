"""How a pasted text is made readable, and which messages are found in it."""

import pytest

from gpudoctor.findings import Check, Severity
from gpudoctor.symptoms import Symptom, hint, likely, may_match, sure
from gpudoctor.triage.paste import MOST_CHARACTERS, read_paste
from gpudoctor.triage.sightings import sightings


def check(*symptoms: str) -> Check:
    known = tuple(one if isinstance(one, Symptom) else Symptom(one) for one in symptoms)
    return Check("toy.broken", Severity.ERROR, (), known, "", lambda: ())


def lines_with(symptom: str, text: str) -> list[tuple[int, int]]:
    """The numbers of the pasted lines on which the message stands."""
    paste = read_paste(text)
    seen = sightings(paste, [check(symptom)]).get("toy.broken", [])
    return [(paste.lines[one.first].number, paste.lines[one.last].number) for one in seen]


@pytest.mark.parametrize(
    "pasted",
    [
        "the toy is broken",
        "> the toy is broken",
        "> > the toy is broken",
        "[   27.950245] the toy is broken",
        "2024-05-01T12:00:00.123Z the toy is broken",
        "Nov 23 20:01:02 the toy is broken",
        "\x1b[31mthe toy\x1b[0m is broken",
        "the\ttoy   is  broken",
        "the toy is\u00a0broken",
        "```\nthe toy is broken\n```",
        "<6>[    1.5] the toy is broken",
    ],
)
def test_what_surrounds_a_message_is_taken_off(pasted: str) -> None:
    assert "the toy is broken" in [line.text for line in read_paste(pasted).lines]


def test_a_written_line_end_is_one_and_both_lines_keep_the_number() -> None:
    paste = read_paste("first\nkernel: NVRM: one, but#012NVRM: two")
    assert [(line.number, line.text) for line in paste.lines] == [
        (1, "first"),
        (2, "kernel: NVRM: one, but"),
        (2, "NVRM: two"),
    ]


def test_paths_of_windows_are_no_line_ends() -> None:
    assert [line.text for line in read_paste(r"C:\nvidia\new\nothing").lines] == [r"C:\nvidia\new\nothing"]


def test_the_prompt_of_python_is_no_quotation_mark() -> None:
    assert read_paste(">>> import torch").lines[0].text == ">>> import torch"


def test_columns_of_tables_are_kept_beside_the_plain_text() -> None:
    line = read_paste("|   0  NVIDIA H200   |").lines[0]
    assert (line.raw, line.text) == ("|   0  NVIDIA H200   |", "| 0 NVIDIA H200 |")


def test_a_message_broken_into_lines_is_found() -> None:
    assert lines_with("the toy is broken, really", "so:\nthe toy is\n   broken, really\nend") == [(2, 3)]


def test_a_message_that_began_far_above_is_not_made_up() -> None:
    assert lines_with("the toy .* broken", "the toy\n" + "x\n" * 10 + "broken") == []


def test_the_kernel_log_repeats_its_speaker_in_continued_lines() -> None:
    text = "NVRM: API mismatch: the client has the version 1, but\nNVRM: this kernel module has the version 2."
    assert lines_with("but this kernel module has the version", text) == [(1, 2)]


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    paste = read_paste("x" * (MOST_CHARACTERS + 1))
    assert paste.cut
    assert sum(len(line.text) for line in paste.lines) == MOST_CHARACTERS


@pytest.mark.parametrize(
    ("symptom", "text", "found"),
    [
        (likely("broken", beside="docker"), "the toy is broken", False),
        (likely("broken", beside="docker"), "the toy is broken\nin Docker", True),
        (hint("broken", without="WSL"), "the toy is broken", True),
        (hint("broken", without="WSL"), "WSL2: the toy is broken", False),
        (sure("broken"), "nothing", False),
    ],
)
def test_surroundings_decide_where_a_symptom_names_them(symptom: Symptom, text: str, found: bool) -> None:
    assert bool(sightings(read_paste(text), [check(symptom)])) is found


@pytest.mark.parametrize(
    ("pattern", "text", "possible"),
    [
        (r"lib(cudart|cublas)\.so\.\d+: cannot open", "libcudart.so.12: cannot open", True),
        (r"lib(cudart|cublas)\.so\.\d+: cannot open", "libcudart.so.12 is there", False),
        (r"one|two", "only two here", True),
        (r"one|two", "three", False),
        (r"colou?r", "the color", True),
        (r"\bERR!", "| ERR! |", True),
        (r"[ab]c?d*", "zzz", True),  # no word is certain: it has to be tried
        (r"a{0,3}bcd", "bcd", True),
        (r"[]x]yz", "]yz", True),
        (r"(?:a|b) is gone", "B is gone", True),
    ],
)
def test_no_pattern_is_left_out_that_could_match(pattern: str, text: str, possible: bool) -> None:
    assert may_match(pattern, text.lower()) is possible
