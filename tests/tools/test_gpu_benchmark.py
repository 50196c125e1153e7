"""benchmarks/gpu.py: what it compares, what it calls reached, and that nothing compared is no success."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from gpudoctor.bench.result import BenchResult, DeviceResult, PhaseResult, Status

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu.py"


@pytest.fixture
def benchmark(monkeypatch):
    """The script as a module, and run(**rates of "cupy" and "torch"), which gives its exit code."""
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_benchmark", module)
    spec.loader.exec_module(module)
    return module


def result(backend, rates, status=Status.PASSED):
    rows = [
        {"what": what, "precision": precision, "detail": f"batch 64, {path}", "unit": "images/s", "median": median}
        for (what, precision, path), median in rates.items()
    ]
    phase = PhaseResult("throughput", status, numbers={"rates": rows})
    device = DeviceResult("NVIDIA H100 (GPU 0)", backend, traits={"name": "NVIDIA H100"}, status=status, phases=[phase])
    return BenchResult(backend, "default", 0, status, "It trains.", [device])


def exit_code(benchmark, monkeypatch, tmp_path, cupy, torch):
    answers = {"cupy": cupy, "torch": torch}
    asked = []

    def run(backend, given):
        asked.append(backend)
        return answers[backend]

    monkeypatch.setattr(benchmark, "run", run)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--results", str(tmp_path)])
    code = benchmark.main()
    return code, asked


SHIFT, IM2COL, CUDNN = (("training", "fp16", path) for path in ("shift", "im2col", "cuDNN 9.10.2"))


def test_the_best_path_is_held_to_the_goal_and_both_are_kept(benchmark, monkeypatch, tmp_path, capsys):
    cupy, torch = result("cupy", {IM2COL: 50.0, SHIFT: 80.0}), result("torch", {CUDNN: 100.0})
    code, asked = exit_code(benchmark, monkeypatch, tmp_path, cupy, torch)
    assert code == 0
    assert asked == ["cupy", "torch", "torch", "cupy"]  # in turn, so that a warm GPU is no advantage
    shown = capsys.readouterr().out
    assert "training fp16 shift" in shown
    assert "0.80   0.70\n" in shown
    written = json.loads((tmp_path / "nvidia-h100.json").read_text())
    assert len(written["rounds"]) == 2
    assert {row["ratio"]: row["reached"] for row in written["comparison"]} == {0.5: True, 0.8: True}


@pytest.mark.parametrize("median", [69.0, None])
def test_a_goal_that_is_missed_or_could_not_be_compared_is_no_success(benchmark, monkeypatch, tmp_path, capsys, median):
    cupy, torch = result("cupy", {SHIFT: median}), result("torch", {CUDNN: 100.0})
    code, _ = exit_code(benchmark, monkeypatch, tmp_path, cupy, torch)
    assert code == 1
    assert ("missed" if median else "Not compared") in capsys.readouterr().out


def test_a_faulty_gpu_is_no_success_however_fast(benchmark, monkeypatch, tmp_path):
    cupy, torch = result("cupy", {SHIFT: 80.0}, Status.FAILED), result("torch", {CUDNN: 100.0})
    assert exit_code(benchmark, monkeypatch, tmp_path, cupy, torch)[0] == 1


def test_without_a_gpu_or_without_torch_it_says_so(benchmark, monkeypatch, tmp_path, capsys):
    skipped = BenchResult("torch", "default", 0, reason="No Python environment with PyTorch was found.")
    code, _ = exit_code(benchmark, monkeypatch, tmp_path, result("cupy", {SHIFT: 80.0}), skipped)
    assert code == 3
    assert "No Python environment with PyTorch was found." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
