"""The steps that put packages into an environment: order, proof, and the way back."""

import pytest
from framework_environments import PREFIX, SITE, distribution, environment

from gpudoctor import Finding, Findings, Manual, Phase, Run
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.python.steps import environments_in, reinstalled

PIP = (f"{PREFIX}/bin/python", "-m", "pip")
BOTH = environment(distribution("onnxruntime", "1.23.0"), distribution("onnxruntime-gpu", "1.23.2"))


def test_both_sides_of_a_collision_go_before_one_comes_back():
    made = tuple(
        reinstalled(
            BOTH, remove=["onnxruntime", "onnxruntime-gpu"], install=["onnxruntime-gpu==1.23.2"], why="It is so."
        )
    )
    out, back = made
    assert out.action == Run((*PIP, "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"))
    assert out.verify == Run(("test", "!", "-e", f"{SITE}/onnxruntime-1.23.0.dist-info"))
    assert out.undo == Run((*PIP, "install", "onnxruntime==1.23.0", "onnxruntime-gpu==1.23.2"))
    assert back.action == Run((*PIP, "install", "onnxruntime-gpu==1.23.2"))
    assert back.verify == Run(("test", "-e", f"{SITE}/onnxruntime_gpu-1.23.2.dist-info"))
    assert back.undo == Run((*PIP, "uninstall", "-y", "onnxruntime-gpu"))
    assert out.phase is Phase.REMOVE < back.phase
    assert not out.root
    assert not back.root


def test_the_way_back_leads_to_the_index_that_it_came_from():
    where = environment(distribution("torch", "2.13.0+cpu"), owner=0)
    (step,) = reinstalled(where, install=["torch==2.13.0"], why="It is so.")
    assert step.action == Run((*PIP, "install", "torch===2.13.0"))
    assert step.verify == Run(("test", "-e", f"{SITE}/torch-2.13.0.dist-info"))
    cpu = "https://download.pytorch.org/whl/cpu"
    assert step.undo == Run((*PIP, "install", "--index-url", cpu, "torch==2.13.0+cpu"))
    assert step.root


def test_the_way_back_from_a_variant_is_not_satisfied_by_it():
    where = environment(distribution("torch", "2.14.1"), distribution("torchvision", "0.29.1"))
    wanted = ["torch==2.14.1+cu126", "torchvision==0.29.1+cu126"]
    (step,) = reinstalled(where, install=wanted, index_url="https://download.pytorch.org/whl/cu126", why="It is so.")
    assert step.undo == Run((*PIP, "install", "torch===2.14.1", "torchvision===0.29.1"))


def test_an_extra_of_the_same_version_is_not_proven_by_what_was_there():
    names = ("jax", "jaxlib", "jax-cuda12-plugin", "nvidia-cublas-cu12", "numpy")
    where = environment(*(distribution(name, "0.6.2" if name == "jax" else "0.5.3") for name in names))
    (step,) = reinstalled(where, install=["jax[cuda12]==0.6.2"], why="It is so.")
    assert step.verify is None
    assert "The exit status is the proof." in step.why
    back = ("jax==0.6.2", "jaxlib==0.5.3", "jax-cuda12-plugin==0.5.3", "nvidia-cublas-cu12==0.5.3")
    assert step.undo == Run((*PIP, "install", "--no-deps", *back))


def test_an_extra_of_another_version_is_proven_by_its_folder():
    where = environment(distribution("tensorflow", "2.18.0"))
    (step,) = reinstalled(where, install=["tensorflow[and-cuda]==2.21.0"], why="It is so.")
    assert step.verify == Run(("test", "-e", f"{SITE}/tensorflow-2.21.0.dist-info"))
    assert step.undo == Run((*PIP, "install", "--no-deps", "tensorflow==2.18.0"))


def test_two_indexes_take_a_person():
    where = environment(distribution("torch", "2.13.0+cpu"), distribution("triton", "3.7.1"))
    (step,) = reinstalled(where, install=["torch==2.13.0", "triton==3.7.1"], why="It is so.")
    assert isinstance(step.undo, Manual)


def test_without_a_version_the_exit_status_is_the_proof():
    (step,) = reinstalled(environment(), install=["numpy<2"], why="It is so.")
    assert step.verify is None
    assert "exit status is the proof" in step.why


@pytest.mark.parametrize(
    "where",
    [
        environment(lock_file="/home/ada/poetry.lock"),
        environment(uv=True, lock_file="/home/ada/uv.lock"),
        environment(prefix="/usr", kind="system", managed="/usr/lib/python3.11/EXTERNALLY-MANAGED", owner=0),
        environment(prefix="/home/ada/x/.pixi/envs/default", kind="conda"),
        environment()._replace(interpreter=""),
    ],
)
def test_what_a_person_must_do(where):
    (step,) = reinstalled(where, install=["torch==2.13.0"], why="It is so.")
    assert isinstance(step.action, Manual)
    assert "torch==2.13.0" in step.action.instruction
    assert step.action.instruction.endswith(".")


def test_words_that_are_no_names_make_no_step():
    with pytest.raises(UnsafeWord):
        tuple(reinstalled(environment(), install=["torch==1; rm -r /"], why="It is so."))


def test_the_environments_of_findings():
    other = environment(prefix="/opt/other")
    findings = Findings((("x.y", Finding("It is so.", "torch", (), "Do so.", environment=PREFIX)),))
    assert environments_in(findings, PythonEnvironments((other, BOTH))) == (BOTH,)
