"""What the real nvidia-smi printed on invented machines (facts/data/nvidia_smi_outputs.json), for the tests."""

import json
from pathlib import Path
from typing import NamedTuple

from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.nvidia_smi import read_nvidia_smi

DATA = json.loads((Path(__file__).parent / "facts" / "data" / "nvidia_smi_outputs.json").read_text())
UUIDS = [f"GPU-11111111-2222-3333-4444-55555555555{number}" for number in range(2)]
ADDRESSES = ["0000:07:00.0", "0000:0b:00.0"]
A100_BYTES = 81920 << 20
DRIVER = "535.261.03"


class Run(NamedTuple):
    version: str
    machine: str
    question: str
    text: str
    exit_code: int

    def __str__(self) -> str:
        return f"{self.version} {self.machine} {self.question.partition('=')[0] or 'table'}"


RUNS = [Run(*run, output["text"], output["exit_code"]) for output in DATA["outputs"] for run in output["runs"]]


def run_of(version: str, machine: str, question: str = "") -> Run:
    (found,) = (
        run
        for run in RUNS
        if (run.version, run.machine, run.question.partition("=")[0]) == (version, machine, question)
    )
    return found


def refused(run: Run) -> bool:
    """470 has no column compute_cap, and says so before it looks for GPUs."""
    return run.exit_code == 2


def read(run: Run) -> Nvml:
    return read_nvidia_smi(run.text, run.exit_code)


def assert_healthy(gpu: NvmlGpu, number: int) -> None:
    assert (gpu.number, gpu.return_code, gpu.return_name, gpu.field_errors) == (number, 0, "NVML_SUCCESS", {})
    assert gpu.name in ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM...")  # 470's table cuts it
    assert gpu.uuid in (UUIDS[number], "")
    assert gpu.pci_address in (ADDRESSES[number], "")
    assert gpu.uuid or gpu.pci_address
    assert gpu.memory_total_bytes in (A100_BYTES, None)
