"""Real wheels, really installed: each fault is named first, and the command of the plan mends it.

The environment lies in the folder of an imaginary Debian machine with A100s and driver 580, so that the whole machine
is judged. What an index does not offer is skipped with the reason. All together take about six minutes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import gpudoctor as gpudoctor_command
from diagnoses import Diagnosis, diagnosed
from live_machines import debian

import gpudoctor.probes
from gpudoctor import Phase, Run
from gpudoctor.testing import MachineTree

pytestmark = pytest.mark.slow

DRIVER = "580.95.05"
VENV = "/home/ada/venv"
needs_311 = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="these old versions have wheels for Python 3.11")


class Machine:
    """A machine whose user has one environment."""

    def __init__(self, folder: Path) -> None:
        environ = f"VIRTUAL_ENV={VENV}\0HOME=/home/ada\0PATH={VENV}/bin:/usr/bin\0"
        extra: dict[str, str | bytes] = {"/proc/self/environ": environ}
        self.host: MachineTree = debian(
            folder, loaded=DRIVER, on_disk=DRIVER, user_space=DRIVER, packaged=DRIVER, gpus=2, extra=extra
        )
        self.prefix = folder / VENV.lstrip("/")
        subprocess.run([sys.executable, "-m", "venv", str(self.prefix)], check=True)
        # The base Python lies outside of the machine's folder: for the doctor it is put there as well.
        base = os.path.realpath(self.prefix / "bin/python")
        for link in (self.prefix / "bin").glob("python*"):
            target = os.readlink(link)
            if target.startswith("/") and not (inside := folder / target.lstrip("/")).exists():
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(base, inside)

    def install(self, *words: str) -> None:
        """pip install, or a skip where the index does not have it."""
        done = subprocess.run(
            [str(self.prefix / "bin/python"), "-m", "pip", "install", "--quiet", "--no-compile", *words],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"pip cannot install {' '.join(words)} here: {done.stderr.strip().splitlines()[-1:]}")

    def repair(self, seen: Diagnosis) -> list[str]:
        """Carry out what the plan says, in the real folder. Returns the commands."""
        commands = []
        for step in seen.plan.steps:
            if isinstance(step.action, Run) and step.phase is not Phase.SIMULATE:
                argv = [word.replace(VENV, str(self.prefix)) for word in step.action.argv]
                done = subprocess.run(argv, capture_output=True, text=True)
                assert done.returncode == 0, (argv, done.stderr[-2000:])
                if step.verify:
                    proof = [word.replace(VENV, str(self.prefix)) for word in step.verify.argv]
                    assert subprocess.run(proof).returncode == 0, proof
                commands.append(str(step.action))
        return commands


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    yield Machine(tmp_path)
    shutil.rmtree(tmp_path)  # gigabytes, which pytest would keep for three runs


def check_and_mend(machine: Machine, fault: str, commands: list[str]) -> Diagnosis:
    """The fault is the first, the plan is these commands, and nothing is wrong after them."""
    seen = diagnosed(machine.host)
    assert seen.found[:1] == [fault], seen.text
    done = machine.repair(seen)
    assert done == commands
    # What the report says to its reader is the same.
    assert all(command in seen.first.remedy for command in commands), seen.first.remedy
    after = diagnosed(machine.host)
    assert after.found == [], after.text
    return seen


PIP = f"{VENV}/bin/python -m pip"


def test_in_an_environment_of_uvs_uv_does_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(machine.prefix)], check=True)
    wheels = ("cupy-cuda12x==14.2.0", "cupy-cuda13x==14.2.0")
    done = subprocess.run(
        ["uv", "pip", "install", "--quiet", "--python", str(machine.prefix), *wheels], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"uv cannot install {' '.join(wheels)} here: {done.stderr[-200:]}")
    commands = [
        f"uv pip uninstall --python {VENV} cupy-cuda12x cupy-cuda13x",
        f"uv pip install --python {VENV} 'cupy-cuda13x[ctk]==14.2.0'",
    ]
    check_and_mend(machine, "cupy.multiple-packages", commands)


def test_onnxruntime_twice(machine: Machine) -> None:
    machine.install("onnxruntime==1.32.0", "onnxruntime-gpu==1.31.1")
    seen = check_and_mend(
        machine,
        "onnxruntime.both-packages",
        [f"{PIP} uninstall -y onnxruntime onnxruntime-gpu", f"{PIP} install 'onnxruntime-gpu[cuda,cudnn]==1.31.1'"],
    )
    assert "sha256" in seen.proof
    # The model with which `check --deep` tries onnxruntime, here on the CPU.
    source = Path(gpudoctor.probes.__file__).with_name("framework.py").read_text(encoding="utf-8")
    code = source.partition('if __name__ == "__main__":')[0] + _RUN_MODEL
    python = str(machine.prefix / "bin/python")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["262144.0", "3888.0"]


_RUN_MODEL = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession(_onnx_model(), providers=["CPUExecutionProvider"])
ones = numpy.ones((SIZE, SIZE), dtype="float32")
images, weights = numpy.ones((1, 3, 8, 8), dtype="float32"), numpy.ones((4, 3, 3, 3), dtype="float32")
product, result = session.run(None, {"a": ones, "b": ones, "x": images, "w": weights})
print(product.sum(), result.sum())
"""


def test_cupy_twice(machine: Machine) -> None:
    machine.install("cupy-cuda12x==14.2.0", "cupy-cuda13x==14.2.0")
    commands = [f"{PIP} uninstall -y cupy-cuda12x cupy-cuda13x", f"{PIP} install 'cupy-cuda13x[ctk]==14.2.0'"]
    check_and_mend(machine, "cupy.multiple-packages", commands)


def test_cudnn_of_two_cuda_majors(machine: Machine) -> None:
    machine.install("--no-deps", "nvidia-cudnn-cu12==9.6.0.74")
    machine.install("--no-deps", "nvidia-cudnn-cu13==9.12.0.46")
    commands = [
        f"{PIP} uninstall -y nvidia-cudnn-cu12 nvidia-cudnn-cu13",
        f"{PIP} install --no-deps nvidia-cudnn-cu13==9.12.0.46",
    ]
    check_and_mend(machine, "python.nvidia-wheels-collide", commands)


@needs_311
def test_jax_with_an_older_plugin(machine: Machine) -> None:
    machine.install("jax==0.6.2", "jaxlib==0.6.2")
    machine.install("--no-deps", "jax-cuda12-plugin==0.5.3", "jax-cuda12-pjrt==0.5.3")
    check_and_mend(machine, "jax.plugin-mismatch", [f"{PIP} install 'jax[cuda12]==0.6.2'"])


@needs_311
def test_torch_for_the_cpu(machine: Machine) -> None:
    machine.install("torch==2.13.0")
    if not any(machine.prefix.glob("lib/python*/site-packages/torch-*+cpu.dist-info")):
        pytest.skip("the index here offers no CPU build of torch 2.13.0 under that version")
    deep = gpudoctor_command(
        "check", "--deep", "--python", str(machine.prefix), "--expect-gpus", "0", "--format", "json"
    )
    (tried,) = json.loads(deep.stdout)["host"]["trials"]
    assert (tried["framework"], tried["version"], tried["prefix"]) == ("torch", "2.13.0+cpu", str(machine.prefix))
    assert tried["failure"] == "AssertionError: Torch not compiled with CUDA enabled"
    assert f"trying torch with {machine.prefix}/bin/python, as user " in deep.stderr
    check_and_mend(machine, "torch.cpu-only", [f"{PIP} install torch===2.13.0"])


@needs_311
def test_tensorflow_without_its_libraries(machine: Machine) -> None:
    machine.install("tensorflow==2.21.0")
    commands = [f"{PIP} install 'tensorflow[and-cuda]==2.21.0'"]
    check_and_mend(machine, "tensorflow.cuda-libraries-missing", commands)


@needs_311
def test_torchvision_of_another_torch(machine: Machine) -> None:
    machine.install("torch==2.14.1", "torchvision==0.29.1")
    assert diagnosed(machine.host).found == []
    machine.install("--no-deps", "torchvision==0.28.0")
    check_and_mend(machine, "torch.companion-mismatch", [f"{PIP} install torchvision==0.29.1"])
