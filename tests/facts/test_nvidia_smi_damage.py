"""Cut outputs of nvidia-smi, other programs' lines around them, junk, and what means harm."""

import re

import pytest
from nvidia_smi_runs import RUNS, Run, assert_healthy, read, refused, run_of

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.nvidia_smi import read_nvidia_smi
from gpudoctor.host import Unavailable


def _is_part_of(part: Nvml, whole: Nvml) -> None:
    assert part.return_code == whole.return_code == 0
    assert part.driver_version in ("", whole.driver_version)
    assert part.cuda_version in (None, whole.cuda_version)
    assert len(part.gpus) <= len(whole.gpus)
    for seen, gpu in zip(part.gpus, whole.gpus, strict=False):
        assert seen.number == gpu.number
        for field in ("uuid", "pci_address", "name", "memory_total_bytes", "persistence_mode", "compute_capability"):
            assert getattr(seen, field) in ("", None, getattr(gpu, field)), field
        assert seen.field_errors.keys() <= gpu.field_errors.keys()


@pytest.mark.parametrize("machine", ["a100x2", "lost"])
@pytest.mark.parametrize("version", ["470.256.02", "535.261.03", "550.163.01"])
def test_a_table_cut_anywhere(version: str, machine: str) -> None:
    run = run_of(version, machine)
    whole = read(run)
    seen = set()
    for length in (*range(0, len(run.text), 97), *range(900, 1300)):
        try:
            found = read_nvidia_smi(run.text[:length], None)
        except Unavailable:
            continue
        _is_part_of(found, whole)
        assert found.complete <= (found.gpus == whole.gpus)
        seen.add(len(found.gpus))
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("question", ["-L", "-q", "-q -x", "--query-gpu"])
@pytest.mark.parametrize("machine", ["a100x2", "lost"])
def test_other_forms_cut_anywhere(machine: str, question: str) -> None:
    run = run_of("550.163.01", machine, question)
    whole = read(run)
    seen = set()
    for length in range(0, len(run.text), 7 if len(run.text) < 1000 else 397):
        try:
            found = read_nvidia_smi(run.text[:length], None)
        except Unavailable:
            continue
        _is_part_of(found, whole)
        # -L and rows do not tell how many there are: cut right behind one they look whole.
        looks_whole = question in ("-L", "--query-gpu") and "\n" in run.text[length - 1 : length + 1]
        assert found.complete <= (looks_whole or len(found.gpus) == len(whole.gpus))
        seen.add(len(found.gpus))
    assert 1 in seen


def test_a_failure_that_the_text_does_not_show_makes_it_incomplete() -> None:
    run = run_of("550.163.01", "a100x2")
    assert not read_nvidia_smi(run.text, 15).complete


@pytest.mark.parametrize("run", [run for run in RUNS if run.version == "550.163.01" and not refused(run)], ids=str)
def test_lines_of_other_tools_around_it_change_nothing(run: Run) -> None:
    before = "$ nvidia-smi\nlibibverbs: Warning: couldn't load driver, ignored\nUnknown Error\n"
    after = "\nname\nDone in 3 s, exit 1\nGPU burn: GPU is lost? no\n\udcff\x00 | a | b | c |\n"
    found = read_nvidia_smi(before + run.text + after, run.exit_code)
    alone = read(run)
    assert found._replace(complete=True) == alone._replace(complete=True)
    assert read_nvidia_smi(run.text.replace("\n", "\r\n"), run.exit_code) == alone


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "sh: 1: nvidia-smi: not found\n",
        "Tue Nov 24 00:00:00 2026\n",
        "GPU is lost\n",
        "name\nfoo\nbar\n",
        "NVIDIA drivers, as they say, are here\n",
        "0000:07:00.0 VGA compatible controller: NVIDIA Corporation\n",
        "<?xml version='1.0'?><html><gpu id='0'>x</gpu></html>",
        "<nvidia_smi_log>",
        "\x00\x01\udcff\udcfe" * 100,
        "+---+\n| a |\n+---+\n",
        'Field "x" is not a valid field to query.\n\n',
        "Option --frob is not recognized. Please run 'nvidia-smi -h'.\n",
    ],
)
@pytest.mark.parametrize("exit_code", [None, 0, 9, 127])
def test_what_is_not_its_output_is_unknown(text: str, exit_code: int | None) -> None:
    with pytest.raises(Unavailable, match="nvidia-smi") as reason:
        read_nvidia_smi(text, exit_code)
    assert exit_code is None or f"(exit code {exit_code})" in str(reason.value)


def test_entities_are_never_expanded() -> None:
    text = run_of("550.163.01", "a100x2", "-q -x").text
    bomb = '<!DOCTYPE nvidia_smi_log [<!ENTITY a "GPU is lost"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
    text = re.sub("<!DOCTYPE.*>", bomb, text)
    found = read_nvidia_smi(text.replace("<serial>1320000000001", "<serial>&a;&f;"), 0)
    assert [gpu.return_code for gpu in found.gpus] == [0, 0]
    assert not found.gpus[0].values.get("serial")
    assert_healthy(found.gpus[1], 1)


def test_junk_in_one_gpu_spares_the_others() -> None:
    text = run_of("550.163.01", "a100x2", "-q -x").text
    process = "<process_info><process_name>a & b < c \x01 [Not Found] Unknown Error</process_name></process_info>"
    found = read_nvidia_smi(text.replace("<processes>\n", f"<processes>\n{process}", 1), 0)
    assert len(found.gpus) == 2
    for number, gpu in enumerate(found.gpus):
        assert_healthy(gpu, number)
    deep = text.replace("<serial>1320000000001</serial>", "<a>" * 50_000 + "Unknown Error" + "</a>" * 50_000)
    assert_healthy(read_nvidia_smi(deep, 0).gpus[1], 1)
