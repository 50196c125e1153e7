"""Every table: its date, its sources, its shape on disk, and that it is read only when asked for."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpudoctor.knowledge
from gpudoctor.knowledge import is_data_centre, known_gpus, table_dates

FOLDER = Path(gpudoctor.knowledge.__file__).parent
FILES = sorted(FOLDER.glob("*.json"))
NAMES = [path.stem for path in FILES]


@pytest.fixture(params=FILES, ids=NAMES)
def text(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_the_tables_are_all_here() -> None:
    assert set(NAMES) >= {
        *("cuda", "cuda_components", "forward_compatibility", "torch", "companions", "triton", "cudnn"),
        *("tensorflow", "jax", "onnxruntime", "cupy", "wheel_collisions", "gpus", "nvml_codes"),
    }
    assert all(re.fullmatch(r"20[2-9]\d-[01]\d-[0-3]\d", date) for date in table_dates().values())
    assert min(table_dates().values()) >= "2026-11-23"  # the day on which they began
    assert list(table_dates()) == NAMES


def test_each_states_its_purpose_date_and_sources(text: str) -> None:
    table = json.loads(text)
    assert list(table)[:3] == ["about", "date", "sources"]
    assert table["about"].endswith(".")
    assert table["sources"]
    assert all(isinstance(source, str) and source for source in table["sources"])


def test_each_is_small_enough_for_a_check_and_reads_row_by_row(text: str) -> None:
    assert len(text) < 60_000
    assert max(map(len, text.splitlines())) < 3_000
    assert text.endswith("}\n")


def test_unverified_rows_say_where_they_come_from() -> None:
    def rows(value: Any) -> Any:
        if isinstance(value, dict):
            yield value
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from rows(part)

    marked = [row for path in FILES for row in rows(json.loads(path.read_text())) if row.get("unverified") is True]
    assert len(marked) >= 15  # nvcc 11.0 to 11.6, cuDNN from 9.11, variants of old and of the newest torch
    nvcc = [row for row in marked if "gcc" in row]
    assert {row["cuda"] for row in nvcc} == {"11.0", "11.1", "11.2", "11.3", "11.4", "11.5", "11.6"}
    assert all(row["source"].startswith("archived CUDA installation guides") for row in nvcc)


def test_a_table_is_read_only_when_it_is_asked_for() -> None:
    program = """
import builtins, sys
opened, true_open = [], builtins.open
def recording(file, *rest, **named):
    opened.append(str(file))
    return true_open(file, *rest, **named)
builtins.open = recording
from gpudoctor import compatibility
from gpudoctor.knowledge import companions, cuda, cudnn, torch, wheels
print([name for name in opened if name.endswith(".json")])
cuda.minimum_driver((12, 8)), cuda.minimum_driver((11, 0)), torch.releases()
print([name.rpartition("/")[2] for name in opened if name.endswith(".json")])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["[]", "['cuda.json', 'torch.json']"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H200", True),
        ("NVIDIA H100 80GB HBM3", True),
        ("NVIDIA A100-SXM4-40GB", True),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", True),
        ("Tesla T4", True),
        ("Tesla V100-SXM2-16GB", True),
        ("Tesla P100-PCIE-12GB", True),
        ("NVIDIA A10", True),
        ("NVIDIA L40S", True),
        ("NVIDIA GH200 480GB", True),
        ("NVIDIA B300 SXM6 AC", True),
        ("NVIDIA GeForce RTX 4090", False),
        ("GeForce GTX 1080 Ti", False),
        ("GeForce 710A", False),
        ("NVIDIA TITAN RTX", False),
        ("Quadro P5000", False),
        ("NVIDIA T1000", False),
        ("NVIDIA RTX A2000", False),
        ("NVIDIA RTX A5000 Laptop GPU", False),
        ("NVIDIA A800 40GB Active", False),
        ("NVIDIA CMP 170HX", False),
        ("NVIDIA P106-100", False),
        ("NVIDIA RTX A6000", None),
        ("Quadro RTX 8000", None),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", None),
        ("NVIDIA A40-48Q", None),
        ("GRID T4-16C", None),
        ("NVIDIA GB10", None),
        ("Jetson AGX Thor", None),
        ("GH100", None),
        ("", None),
    ],
)
def test_data_centre_cards_by_name(name: str, expected: bool | None) -> None:
    assert is_data_centre(name) is expected


def test_no_consumer_name_of_the_gpu_table_passes_for_a_data_centre_card() -> None:
    names = {gpu.name for gpu in known_gpus().values()}
    data_centre = {name for name in names if is_data_centre(name)}
    assert not [name for name in data_centre if "GeForce" in name or "Quadro" in name or "TITAN" in name]
    assert {name for name in names if name.startswith("Tesla ")} <= data_centre
    assert len(data_centre) > 90
