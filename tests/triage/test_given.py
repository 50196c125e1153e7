"""The same text as people give it: out of terminals, pages, chats, records and logs of other programs."""

import html
import json
import time

import pytest

from gpudoctor.triage.judge import triage
from gpudoctor.triage.paste import read_paste
from gpudoctor.triage.read import read_shown
from gpudoctor.triage.wraps import unwrapped

LINE = "PyTorch version: 2.7.0+cu128"
LINES = (LINE, "CUDA used to build PyTorch: 12.8", "Nvidia driver version: 470.57.02")


def texts(pasted: str) -> list[str]:
    return [line.text for line in read_paste(pasted).lines if line.text]


@pytest.mark.parametrize(
    "pasted",
    [
        "[31mPyTorch[0m version: 2.7.0+cu128",
        "^[[1;31mPyTorch^[[0m version: 2.7.0+cu128",
        r"\x1b[31mPyTorch\x1b[0m version: 2.7.0+cu128",
        r"\u001b[31mPyTorch\u001b[0m version: 2.7.0+cu128",
        r"\033[31mPyTorch\033[0m version: 2.7.0+cu128",
        "P\bPy\byT\bTorch version: 2.7.0+cu128",
        "<p>PyTorch <b>version</b>: 2.7.0+cu128</p>",
        "<span class='x'>PyTorch</span> version&#58; 2.7.0+cu128<br/>",
        "PyTorch version&amp;#58; 2.7.0&amp;#43;cu128",
        "[code]PyTorch version: 2.7.0+cu128[/code]",
        "**PyTorch version: 2.7.0+cu128**",
        "- `PyTorch version: 2.7.0+cu128`",
        "Py\u200bTorch\u2060 ver\u00adsion: 2.7.0+cu128\ufeff",
        "PyTorch\u00a0version:\u202f2.7.0+cu128",
        "".join(chr(ord(letter) + 0xFEE0) if letter > " " else "\u3000" for letter in LINE),  # as wide as Chinese
        "│ PyTorch version: 2.7.0+cu128      │",
        "PyTorch%20version%3A%202.7.0%2Bcu128%0A",
        '"PyTorch version: 2.7.0+cu128",',
        'time="2026-11-25T20:01:02Z" level=error msg="PyTorch version: 2.7.0+cu128"',
        "PyTorch version\uff1a2.7.0+cu128",
        '- "PyTorch version: 2.7.0+cu128"',
        json.dumps({"level": "error", "msg": LINE}),
        json.dumps({"log": LINE + "\n", "stream": "stderr"}),
        "fatal: [gpu01]: FAILED! => " + json.dumps({"rc": 1, "stdout_lines": ["x", LINE]}),
    ],
)
def test_what_pages_terminals_and_records_make_of_a_line_is_undone(pasted: str) -> None:
    assert LINE in texts(pasted)


@pytest.mark.parametrize(
    "stamp",
    [
        "Nov 25 20:01:02 gpu-node-07 kernel: ",
        "Dez 05 20:01:02 gpu01 kernel: ",
        "Tue 2026-11-24 20:01:02 UTC ",
        "[Wed Nov 25 20:01:02 2026] ",
        "6,1000,27950245,-;",
        "kern  :err   : [   27.950245] ",
        "<3>1 2026-11-25T20:01:02.003Z host app 123 - - ",
        "2026-11-25T20:01:02.123456789Z stderr F ",
        "2026-11-25T20:01:02.1234567Z ##[error]",
        "build (12.4)\tRun tests\t2026-11-25T20:01:02.1234567Z ",
        "2026-11-25T20:01:02.123456Z 01O ",
        "[pod/trainer-7d9f8c6b5-x2x4z/trainer] ",
        "#12 3.345 ",
        "srun: error: ",
        "[rank0]: ",
        "[default3]:",
        "[1,5]<stderr>:",
        "(RayWorkerWrapper pid=12345, ip=10.0.0.12) ",
        "(EngineCore_0 pid=271) ERROR 11-25 20:01:02 [core.py:396] ",
        "[2026-11-25 20:01:02,123] [ERROR] [launch.py:325:sigkill_handler] ",
        "2026-11-25 20:01:02,123 - root - ERROR - ",
        "2026-11-25 20:01:02.123 | ERROR    | __main__:main:12 - ",
        "E1125 20:01:02.123456   12345 cuda.cc:12] ",
        "2026-11-25 20:01:02.123456: E tensorflow/core/cuda_driver.cc:271] ",
        "2026/11/25 20:01:02 ",
        "[20:01:02] ",
        "E       ",
    ],
)
def test_a_stamp_can_be_nothing_else_even_before_one_line(stamp: str) -> None:
    assert texts(stamp + LINE) == [LINE]


@pytest.mark.parametrize(
    "prefixed",
    [
        lambda number, line: f"trainer-1  | {line}",
        lambda number, line: f"gpu{number:02d}: {line}",
        lambda number, line: f"{number}: {line}",
        lambda number, line: f"{number:>4} | {line}",
        lambda number, line: f"{number:>6}  {line}",
        lambda number, line: f"L{number}: {line}",
        lambda number, line: f"train.log:{number}:{line}",
        lambda number, line: f"/var/log/run.log:{line}",
        lambda number, line: f"trainer-7d9f8c6b5-x2x4z trainer {line}",
        lambda number, line: f"python3[{number}]: {line}",
        lambda number, line: f"# {line}",
        lambda number, line: f"+{line}",
    ],
)
def test_what_stands_before_all_lines_is_taken_off(prefixed) -> None:  # type: ignore[no-untyped-def]
    assert texts("\n".join(prefixed(number, line) for number, line in enumerate(LINES, 1))) == list(LINES)


@pytest.mark.parametrize(
    "text",
    [
        "GPU 0: NVIDIA A100\nGPU 1: NVIDIA A100\nGPU 2: NVIDIA A100",
        "NVRM: one\nNVRM: two\nNVRM: three",
        "nvidia-gridd[12]: one\nnvidia-gridd[12]: two\nnvidia-gridd[12]: three",
        "trainer-1 | one\ntwo",
        '"default-runtime": "nvidia",',
        '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}',
        'File "<stdin>", line 1, in <module>',
        r"C:\new\nvidia\tests",
    ],
)
def test_what_programs_say_of_themselves_stays(text: str) -> None:
    assert texts(text) == text.splitlines()


@pytest.mark.parametrize("width", [40, 80, 97, 132])
def test_words_and_numbers_cut_at_the_edge_of_a_terminal_are_put_together(width: int) -> None:
    message = f"nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update {'x' * 300}"
    cut = "\n".join(message[at : at + width] for at in range(0, len(message), width))
    assert texts(f"$ docker run\n\n{cut}\n\nend") == ["$ docker run", message, "end"]


def test_one_cut_word_is_put_together_for_messages_only() -> None:
    text = "nvidia-container-cli: requirement error: unsatisfied condi\ntion: cuda>=12.8, please update your driver"
    assert triage(text).report.findings[0].check.id == "container.requires-newer-driver"
    assert len(texts(text)) == 2


PROSE = """\
I installed the driver and rebooted it, and
then nothing worked at all, whatever I tri-
ed. The same the other day, and I do not
know why it is so, please do help me now
"""
TABLE = """\
+----------------------------------------------+
| one                                          |
| two                                          |
+----------------------------------------------+
"""


@pytest.mark.parametrize("text", [PROSE, TABLE])
def test_prose_and_tables_keep_their_lines(text: str) -> None:
    assert [piece.text for piece in unwrapped(list(enumerate(text.splitlines())))] == text.splitlines()


def test_the_number_of_a_line_that_was_cut_is_that_of_its_first_part() -> None:
    cut = "\n".join(["x" * 80, "y" * 80, "z" * 80, "w"])
    assert [(line.number, len(line.text)) for line in read_paste(f"a\n\n{cut}").lines] == [(1, 1), (2, 0), (3, 241)]


@pytest.mark.parametrize(
    "given",
    [
        lambda text: json.dumps(text),
        lambda text: json.dumps(json.dumps(text)),
        lambda text: json.dumps({"error": {"message": text}}),
        lambda text: text.replace("\n", "#012"),
        lambda text: text.replace("\n", "\\r\\n"),
        lambda text: repr(text),
        lambda text: html.escape(text).replace("\n", "&#10;"),
        lambda text: html.escape(text).replace("\n", "<br>"),
        lambda text: text.replace("\n", "\r\r\n"),
    ],
)
def test_written_line_ends_are_line_ends(given) -> None:  # type: ignore[no-untyped-def]
    read = read_shown(read_paste(given("\n".join(["it begins", *LINES, "it ends"]))))
    assert read.python.torch is not None
    assert read.python.torch.value == "2.7.0+cu128"
    assert read.driver.version is not None
    assert read.driver.version.value == "470.57.02"


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 50_000,
        '"' * 100_000,
        "<a " * 50_000,
        "%20" * 30_000,
        "a\b" * 30_000,
        "2024-05-01 12:00:00 " * 10_000,
        "2024-05-01 12:00:00 " + "-|: " * 20_000,
        "2024-05-01 12:00:00 " + "a[1]" * 20_000,
        "(" + "a pid=" * 20_000,
        "`" + " " * 50_000 + "`",
        "\\a" * 50_000,
        "\n".join("x" * 80 for _ in range(3000)),
    ],
)
def test_no_text_takes_long_to_read(text: str) -> None:
    began = time.process_time()
    read_paste(text)
    assert time.process_time() - began < 1


def test_quotation_marks_that_were_misread_are_such() -> None:
    text = "could not insert \u201cnvidia\u201d: it\u2019s rejected \u2014 why\u2026"
    misread = text.encode().decode("cp1252", "replace")
    assert texts(misread) == ['could not insert "nvidia": it\'s rejected -- why...']
