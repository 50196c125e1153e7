"""nvidia-smi's texts and exit codes as the NVML fact: what the real program printed, and its return codes."""

import re
import sys

import pynvml
import pytest
from nvidia_smi_runs import A100_BYTES, DATA, DRIVER, RUNS, Run, assert_healthy, read, refused, run_of

from gpudoctor.facts import nvidia_smi_cells
from gpudoctor.facts.nvidia_smi import read_nvidia_smi
from gpudoctor.host import Unavailable
from gpudoctor.knowledge import nvml_codes, table_dates
from gpudoctor.registry import load_plugins, registry


def test_the_fixture_holds_every_question_to_every_machine() -> None:
    assert len(RUNS) == 5 * len(DATA["machines"]) * 5
    assert {run.machine for run in RUNS} == DATA["machines"].keys()


@pytest.mark.parametrize("run", [run for run in RUNS if run.machine.startswith("init")], ids=str)
def test_a_start_that_failed(run: Run) -> None:
    code = int(run.machine.removeprefix("init"))
    name = {value: name for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_")}[code]
    found = read(run)
    assert (found.return_code, found.return_name, found.gpus, found.complete) == (code, name, (), True)
    assert found.message == run.text.splitlines()[0]
    assert (found.driver_version, found.cuda_version, found.library_path) == ("", None, "")
    assert found.nvml_version == ("535.261" if code == 18 and run.version[:3] != "470" else "")


def test_the_same_error_with_another_exit_code() -> None:
    old, new = run_of("470.256.02", "init18"), run_of("550.163.01", "init18")
    assert (old.exit_code, new.exit_code) == (255, 18)
    assert read(old).return_code == read(new).return_code == 18


@pytest.mark.parametrize("run", [run for run in RUNS if run.machine == "a100x2" and not refused(run)], ids=str)
def test_two_healthy_gpus(run: Run) -> None:
    found = read(run)
    assert (found.return_code, found.message, found.complete, len(found.gpus)) == (0, "", True, 2)
    for number, gpu in enumerate(found.gpus):
        assert_healthy(gpu, number)
        assert gpu.memory_total_bytes == (None if run.question == "-L" else A100_BYTES)
        assert gpu.compute_capability == ((8, 0) if run.question.startswith("--query") else None)
        if run.question in ("", "-q", "-q -x"):
            assert gpu.persistence_mode == (number == 0)
            assert gpu.values["memory_used_bytes"] == (512 << 20, 40000 << 20)[number]
            assert gpu.values["temperature_c"] == (34, 64)[number]
    assert found.driver_version == ("" if run.question == "-L" else DRIVER)
    assert found.cuda_version == (12020 if run.question in ("", "-q", "-q -x") else None)


@pytest.mark.parametrize("run", [run for run in RUNS if run.machine == "lost" and not refused(run)], ids=str)
def test_a_lost_gpu_does_no_harm_to_the_other(run: Run) -> None:
    found = read(run)
    assert found.return_code == 0
    first, second = found.gpus
    assert_healthy(first, 0)
    assert (second.number, second.return_code, second.return_name) == (1, 15, "NVML_ERROR_GPU_IS_LOST")
    assert set(second.field_errors.values()) <= {"NVML_ERROR_GPU_IS_LOST"}
    assert (second.name, second.uuid, second.memory_total_bytes) == ("", "", None)
    assert found.complete == (run.question != "-L")  # it may have stopped there


def test_a_lost_gpu_with_exit_code_zero() -> None:
    run = run_of("535.309.01", "lost", "--query-gpu")
    assert run.exit_code == 0
    assert [gpu.return_code for gpu in read(run).gpus] == [0, 15]
    assert "memory_total_bytes" in read(run).gpus[1].field_errors


@pytest.mark.parametrize("run", [run for run in RUNS if run.machine == "handle15" and not refused(run)], ids=str)
def test_a_gpu_that_cannot_even_be_addressed(run: Run) -> None:
    found = read(run)
    assert (found.return_code, found.gpus[0].number, found.gpus[0].return_code) == (0, 0, 15)
    if run.question == "-L":  # which alone goes on to the next
        assert_healthy(found.gpus[1], 1)
    else:
        assert len(found.gpus) == 1
    assert found.complete == (run.question == "-L")


@pytest.mark.parametrize("run", [run for run in RUNS if run.machine == "nogpu" and not refused(run)], ids=str)
def test_no_gpu(run: Run) -> None:
    assert run.exit_code in (0, 6)
    found = read(run)
    assert (found.return_code, found.gpus, found.complete) == (0, (), True)


@pytest.mark.parametrize("run", [run for run in RUNS if refused(run)], ids=str)
def test_a_question_that_it_does_not_accept_tells_nothing_of_the_driver(run: Run) -> None:
    with pytest.raises(Unavailable, match=r'did not accept the question .*"compute_cap"'):
        read(run)


# The sentences are nvidia-smi's, as it prints them on machines that are no stub.
@pytest.mark.parametrize(
    ("text", "exit_code", "code"),
    [
        ("Failed to initialize NVML: Insufficient Permissions\n", 4, 4),
        ("Failed to initialize NVML: Insufficient Permissions\n", None, 4),
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\n", 0, 18),
        ("Failed to initialize NVML: Driver Not Loaded\n", 9, 9),
        ("Failed to initialize NVML: Unknown Error\n", 255, 999),
        ("Failed to initialize NVML: Timeout\n", 10, 10),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure", None, 9),
        # No known words: then the exit code, and where that is none of NVML's, an error without a name.
        ("Failed to initialize NVML: The flux is low\n", 23, 23),
        ("Failed to initialize NVML: The flux is low\n", 255, 999),
        ("Failed to initialize NVML: The flux is low\n", None, 999),
    ],
)
def test_the_words_decide_before_the_exit_code(text: str, exit_code: int | None, code: int) -> None:
    found = read_nvidia_smi(text, exit_code)
    assert (found.return_code, found.return_name) == (code, nvml_codes()[code])


@pytest.mark.parametrize(
    ("line", "number", "address", "code"),
    [
        ("Unable to determine the device handle for GPU 0000:0B:00.0: Unknown Error", 0, "0000:0b:00.0", 999),
        ("Unable to determine the device handle for GPU0000:65:00.0: Unknown Error", 0, "0000:65:00.0", 999),
        ("Unable to determine the device handle for GPU3: 0000:5F:00.0: Unknown Error", 3, "0000:5f:00.0", 999),
        ("Unable to determine the device handle for GPU2: Unknown Error", 2, "", 999),
        ("Unable to determine the device handle for GPU 0000:01:00.0: Not Found", 0, "0000:01:00.0", 6),
        ("Unable to determine the device handle for gpu 1: GPU is lost.  Reboot the system", 1, "", 15),
        ("Unable to determine the device handle for GPU0: GPU requires reset", 0, "", 16),
        ("Unable to determine the device handle for GPU0: something new", 0, "", 999),
    ],
)
def test_sentences_about_one_gpu(line: str, number: int, address: str, code: int) -> None:
    found = read_nvidia_smi(line + "\n", 255)
    (gpu,) = found.gpus
    assert (found.return_code, found.complete) == (0, False)
    assert (gpu.number, gpu.pci_address, gpu.return_code, gpu.return_name) == (
        number,
        address,
        code,
        nvml_codes()[code],
    )
    with_end = read_nvidia_smi(line + "\nNo devices were found\n", 6)
    assert (with_end.gpus, with_end.complete) == (found.gpus, True)


def test_names_of_return_codes_are_those_of_the_binding() -> None:
    names = {value: name for name, value in vars(pynvml).items() if re.match("NVML_SUCCESS$|NVML_ERROR_", name)}
    known = nvml_codes()
    assert {code: known.get(code) for code in names} == names
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", table_dates()["nvml_codes"])


def test_the_codes_that_stand_as_numbers_in_the_code_are_the_tables() -> None:
    known = nvml_codes()
    load_plugins()
    plugin = registry.checks["driver.nvml-failed"].function.__module__.rpartition(".")[0]
    codes = sys.modules[f"{plugin}._return_codes"]
    for room in (codes, nvidia_smi_cells):
        for name in ("GPU_IS_LOST", "RESET_REQUIRED", "UNKNOWN", "NO_PERMISSION", "LIBRARY_NOT_FOUND"):
            code = getattr(room, name, None)
            assert code is None or known[code] == f"NVML_ERROR_{name}"
    assert known[codes.VERSION_MISMATCH] == "NVML_ERROR_LIB_RM_VERSION_MISMATCH"


def test_a_row_with_its_borders_doubled_is_no_row() -> None:
    head = "| NVIDIA-SMI 535.161.08   Driver Version: 535.161.08   CUDA Version: 12.2   |"
    rows = [
        "|   0  NVIDIA H100   On | 00000000:07:00.0 Off | 0 |",
        "| N/A 34C P0 62W / 400W | 1MiB / 9MiB | 0% Default |",
    ]
    found = read_nvidia_smi("\n".join([head, *rows, "||  | |", "+---+", ""]), 0)
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA H100"]
