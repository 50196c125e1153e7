"""What else nvidia-smi prints: newer drivers, sick cells in each form, rows without a header, instances."""

import re

import pytest
from nvidia_smi_runs import DRIVER, UUIDS, assert_healthy, run_of

from gpudoctor.facts.nvidia_smi import read_nvidia_smi

NEW_TABLE = """\
Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error
Thu Aug 27 18:05:38 2026
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 610.57.04              KMD Version: 610.57.04     CUDA UMD Version: 13.3     |
+-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
|   0  NVIDIA GeForce RTX 5090        Off |   00000000:16:00.0  On |                  N/A |
|ERR!   34C    P8           ERR! /  575W  |     512MiB /  32607MiB |      0%   E. Process |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+
|   2  NVIDIA GB10                     On |   0000000F:01:00.0 Off |                  N/A |
| N/A   40C    P0              4W /  N/A  |          Not Supported |      0%      Default |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+

+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|        ID   ID                                                               Usage      |
|=========================================================================================|
|    0   N/A  N/A            6194      C   7  | odd | name ERR! GPU is lost         88MiB |
+-----------------------------------------------------------------------------------------+
WARNING: infoROM is corrupted at gpu 000F:01:00.0
"""


def test_the_table_of_driver_610() -> None:
    """It says KMD Version, goes on past a GPU that fails, and marks single sick values in a row that is well."""
    found = read_nvidia_smi(NEW_TABLE, 0)
    assert (found.driver_version, found.cuda_version, found.complete) == ("610.57.04", 13030, True)
    assert [(gpu.number, gpu.pci_address, gpu.return_code) for gpu in found.gpus] == [
        (0, "0000:16:00.0", 0),
        (1, "0000:34:00.0", 999),
        (2, "000f:01:00.0", 0),
    ]
    first, failed, last = found.gpus
    assert first.field_errors == {"fan": "NVML_ERROR_UNKNOWN", "power_w": "NVML_ERROR_UNKNOWN"}
    assert (first.persistence_mode, first.memory_total_bytes) == (False, 32607 << 20)
    assert first.values["compute_mode"] == "exclusive_process"
    assert failed.field_errors == {}
    assert (last.name, last.persistence_mode, last.memory_total_bytes) == ("NVIDIA GB10", True, None)
    assert last.field_errors == {"inforom": "NVML_ERROR_CORRUPTED_INFOROM"}


def test_versions_of_driver_610_in_the_long_forms() -> None:
    remark = "[Deprecated; will be removed in CUDA 14.0. Use CUDA UMD Version instead]"
    text = run_of("550.163.01", "a100x2", "-q").text.replace(
        "CUDA Version                              : 12.2\n",
        f"CUDA Version                              : 12.2 {remark}\n"
        "KMD Version                               : 610.57.04\nCUDA UMD Version                          : 13.3\n",
    )
    found = read_nvidia_smi(text, 0)
    assert (found.driver_version, found.cuda_version, len(found.gpus)) == ("610.57.04", 13030, 2)
    old = read_nvidia_smi(re.sub("KMD.*\nCUDA UMD.*\n", "", text), 0)
    assert (old.driver_version, old.cuda_version) == (DRIVER, 12020)
    xml = run_of("550.163.01", "a100x2", "-q -x").text.replace(
        "<attached_gpus>",
        "<!-- driver_version is deprecated --><kmd_version>610.57.04</kmd_version>"
        "<cuda_umd_version>13.3</cuda_umd_version><attached_gpus>",
    )
    found = read_nvidia_smi(xml, 0)
    assert (found.driver_version, found.cuda_version, len(found.gpus)) == ("610.57.04", 13030, 2)


@pytest.mark.parametrize(
    ("cell", "code", "error"),
    [
        ("GPU is lost", 15, "NVML_ERROR_GPU_IS_LOST"),
        ("[GPU requires reset]", 16, "NVML_ERROR_RESET_REQUIRED"),
        ("Unknown Error", 0, "NVML_ERROR_UNKNOWN"),
        ("ERR!", 0, "NVML_ERROR_UNKNOWN"),
    ],
)
@pytest.mark.parametrize(
    ("question", "second_gpu", "temperature", "clock_label", "clock"),
    [
        ("-q -x", '<gpu id="00000000:0B:00.0">', "<gpu_temp>64 C<", "clocks/mem_clock", "<mem_clock>1410 MHz<"),
        (
            "-q",
            "GPU 00000000:0B:00.0",
            "GPU Current Temp                  : 64 C\n",
            "clocks/memory",
            "Memory                            : 1410 MHz\n",
        ),
    ],
)
@pytest.mark.parametrize("version", ["470.256.02", "550.163.01"])
def test_sick_cells_in_the_second_gpu(
    version: str,
    question: str,
    second_gpu: str,
    temperature: str,
    clock_label: str,
    clock: str,
    cell: str,
    code: int,
    error: str,
) -> None:
    """Newer releases list a sick GPU with its errors in place of the values they belong to."""
    first, start, second = run_of(version, "a100x2", question).text.partition(second_gpu)
    for healthy in ("81920 MiB", temperature, clock):
        assert healthy in second
        second = second.replace(healthy, re.sub(r"\d+ (MiB|C|MHz)", cell, healthy), 1)
    found = read_nvidia_smi(first + start + second, 0)
    assert_healthy(found.gpus[0], 0)
    gpu = found.gpus[1]
    assert (gpu.return_code, gpu.return_name) == (code, error if code else "NVML_SUCCESS")
    assert gpu.field_errors == dict.fromkeys(("memory_total_bytes", "temperature_c", clock_label), error)
    assert (gpu.uuid, gpu.memory_total_bytes, found.complete) == (UUIDS[1], None, True)


@pytest.mark.parametrize(
    "cell",
    ["N/A", "[N/A]", "[Not Supported]", "Insufficient Permissions", "Requested functionality has been deprecated"],
)
def test_a_missing_value_is_no_sickness(cell: str) -> None:
    for question, value in (("-q -x", "34 C"), ("-q", "34 C"), ("--query-gpu", "34, P0")):
        text = run_of("535.261.03", "a100x2", question).text
        assert value in text
        gpu = read_nvidia_smi(text.replace(value, value.replace("34 C", cell).replace("34,", f"{cell},")), 0).gpus[0]
        assert (gpu.return_code, gpu.field_errors, gpu.values["temperature_c"]) == (0, {}, None)


def test_rows_without_header_and_units() -> None:
    text = run_of("535.261.03", "lost", "--query-gpu").text
    header, first, second = text.splitlines()
    bare = read_nvidia_smi("\n".join((header, first.replace(" MiB", ""), second)) + "\n", 0)
    assert bare == read_nvidia_smi(text, 0)
    found = read_nvidia_smi(f"{first.replace(' MiB', '')}\n{second}\n", 0)
    healthy, lost = found.gpus
    assert_healthy(healthy, 0)
    assert (found.driver_version, lost.number, lost.return_code, lost.uuid) == (DRIVER, 1, 15, "")
    assert len(lost.field_errors) == len(bare.gpus[1].field_errors)
    (gpu,) = read_nvidia_smi("NVIDIA H200, [Unknown Error], 143771\n", 0).gpus
    assert (gpu.name, gpu.return_code, gpu.field_errors) == ("NVIDIA H200", 0, {"column 2": "NVML_ERROR_UNKNOWN"})
    (gpu,) = read_nvidia_smi("name\nNVIDIA H200\n", 0).gpus
    assert gpu.name == "NVIDIA H200"


def test_a_failing_gpu_among_rows() -> None:
    """Driver 610 answers for the others, and ends with success."""
    rows = [f"{number}, 0000000{number}:01:00.0, NVIDIA GeForce RTX 3080" for number in (0, 1, 3)]
    text = "\n".join(["Unable to determine the device handle for GPU2: 0002:01:00.0: Unknown Error", *rows, ""])
    found = read_nvidia_smi(text, 0)
    assert [(gpu.number, gpu.return_code, gpu.pci_address[:4]) for gpu in found.gpus] == [
        (0, 0, "0000"),
        (1, 0, "0001"),
        (2, 999, "0002"),
        (3, 0, "0003"),
    ]


def test_a_gpu_that_is_listed_and_fails_is_one_gpu() -> None:
    text = run_of("535.261.03", "a100x2").text
    for target in ("GPU 0000:0B:00.0", "GPU1", "GPU1: 0000:0B:00.0"):
        found = read_nvidia_smi(f"Unable to determine the fan speed for {target}: GPU is lost\n{text}", 15)
        assert [(gpu.number, gpu.return_code, gpu.pci_address) for gpu in found.gpus] == [
            (0, 0, "0000:07:00.0"),
            (1, 15, "0000:0b:00.0"),
        ]


def test_instances_of_a_gpu_are_no_gpus() -> None:
    text = (
        "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-01000100-0000-0000-0000-000000000000)\n"
        "  MIG 1g.10gb     Device  0: (UUID: MIG-0b9ad4f9-30b2-5b82-8b1c-e2d6a1b8a8e8)\n"
    )
    (gpu,) = read_nvidia_smi(text, 0).gpus
    assert gpu.name == "NVIDIA H100 80GB HBM3"
    xml = run_of("550.163.01", "a100x2", "-q -x").text.replace(
        "None\n\t\t</mig_devices>",
        "<mig_device><index>0</index><fb_memory_usage><total>Unknown Error</total></fb_memory_usage></mig_device>\n"
        "\t\t</mig_devices>",
    )
    for number, gpu in enumerate(read_nvidia_smi(xml, 0).gpus):
        assert_healthy(gpu, number)
