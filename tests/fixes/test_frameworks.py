"""TensorFlow, JAX, onnxruntime, CuPy and numba: the steps that put in what the checks' remedies name."""

import pytest
from framework_environments import (
    PREFIX,
    RTX_4090,
    RTX_5090,
    SITE,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpu,
    gpus,
    use,
)

from gpudoctor import Finding, Findings, Manual, Phase, Run
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.wheel_files import Collision, WheelFiles
from gpudoctor.testing import outcome_of, steps_of

NEW, OLD = driver("580.95.05", (13, 0)), driver("535.309.01", (12, 2))
TENSORFLOW, ORT, ORT_GPU = (
    distribution(name, version)
    for name, version in (("tensorflow", "2.21.0"), ("onnxruntime", "1.32.0"), ("onnxruntime-gpu", "1.31.1"))
)
ARCHITECTURES = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90", "sm_90")  # as the facts give them
LIBRARIES = FrameworkLibraries(
    (use("tensorflow", "libcublas.so.12"), use("onnxruntime", "libcublas.so.13"), use("cupy", "libcublas.so.12"))
)


def found(*ids, remedy="Do it by hand."):
    return Findings(tuple((id, Finding("found.", "x", (), remedy, None, PREFIX)) for id in ids))


def commands(steps):
    return [" ".join(step.action.argv).removeprefix(f"{PREFIX}/bin/python -m pip ") for step in steps]


@pytest.mark.parametrize(
    ("fix", "ids", "members", "facts", "wanted"),
    [
        (
            "install-tensorflow-anew",
            ["tensorflow.cuda-libraries-missing"],
            [TENSORFLOW],
            (gpus(RTX_4090), NEW),
            ["install tensorflow[and-cuda]==2.21.0"],
        ),
        (
            "install-tensorflow-anew",
            ["tensorflow.both-packages"],
            [TENSORFLOW, distribution("tensorflow-cpu", "2.21.0")],
            (gpus(),),
            ["uninstall -y tensorflow tensorflow-cpu", "install tensorflow==2.21.0"],
        ),
        (
            "install-jax-anew",
            ["jax.plugin-mismatch"],
            [
                distribution("jax", "0.6.2"),
                distribution("jaxlib", "0.6.2"),
                distribution("jax-cuda12-plugin", "0.5.3"),
                distribution("jax-cuda12-pjrt", "0.5.3"),
            ],
            (gpus(), LIBRARIES),
            ["install jax[cuda12]==0.6.2"],
        ),
        (
            "install-jax-anew",
            ["jax.plugin-mismatch"],
            [distribution("jax", "0.6.0"), distribution("jaxlib", "0.6.2")],
            (gpus(), LIBRARIES),
            ["install jax==0.6.0"],
        ),
        (
            "install-jax-anew",
            ["jax.cpu-only"],
            [distribution("jax", "0.7.2"), distribution("jaxlib", "0.7.2")],
            (gpus(RTX_4090), NEW, LIBRARIES),
            ["install jax[cuda13]==0.7.2"],
        ),
        (
            "install-onnxruntime-anew",
            ["onnxruntime.both-packages"],
            [ORT, ORT_GPU],
            (gpus(), LIBRARIES, FrameworkBuilds(())),
            ["uninstall -y onnxruntime onnxruntime-gpu", "install onnxruntime-gpu==1.31.1"],
        ),
        (
            "install-onnxruntime-anew",
            ["onnxruntime.both-packages"],
            [ORT, ORT_GPU],
            (gpus(RTX_4090), OLD, LIBRARIES, FrameworkBuilds(())),
            ["uninstall -y onnxruntime onnxruntime-gpu", "install onnxruntime-gpu[cuda,cudnn]==1.26.0"],
        ),
        (
            "install-onnxruntime-anew",
            ["onnxruntime.cuda-major-mismatch"],
            [ORT_GPU],
            (gpus(RTX_4090), NEW, LIBRARIES, FrameworkBuilds(())),
            ["install onnxruntime-gpu[cuda,cudnn]==1.31.1"],
        ),
        (
            "install-onnxruntime-anew",
            ["onnxruntime.cpu-only"],
            [ORT_GPU],
            (gpus(RTX_4090), NEW, LIBRARIES, FrameworkBuilds(())),
            ["uninstall -y onnxruntime-gpu", "install onnxruntime-gpu[cuda,cudnn]==1.31.1"],
        ),
        (
            "install-cupy-anew",
            ["cupy.multiple-packages"],
            [distribution("cupy-cuda12x", "14.2.0"), distribution("cupy-cuda13x", "14.2.0")],
            (gpus(RTX_4090), OLD, FrameworkLibraries(())),
            ["uninstall -y cupy-cuda12x cupy-cuda13x", "install cupy-cuda12x==14.2.0"],
        ),
        (
            "install-cupy-anew",
            ["cupy.headers-missing"],
            [distribution("cupy-cuda12x", "14.2.0")],
            (gpus(RTX_4090), OLD, FrameworkLibraries(())),
            ["install cupy-cuda12x[ctk]==14.2.0"],
        ),
        (
            "install-numba-cuda",
            ["numba.nvvm-missing"],
            [distribution("numba", "0.68.1")],
            (gpus(RTX_4090), OLD),
            ["install numba-cuda[cu12]"],
        ),
    ],
)
def test_the_commands(fix, ids, members, facts, wanted):
    steps = steps_of(fix, found(*ids), environments(environment(*members)), *facts)
    assert commands(steps) == wanted
    assert all(not step.root and step.undo is not None for step in steps)
    assert [step.phase for step in steps] == [Phase.REMOVE, Phase.INSTALL][-len(steps) :]


def test_the_remedy_and_the_steps_are_the_same_commands():
    where = environment(ORT, ORT_GPU)
    collision = Collision(where, "onnxruntime", ORT, ORT_GPU, 17, f"{SITE}/onnxruntime/x.py", "onnxruntime", "")
    facts = (environments(where), WheelFiles((collision,), ()), LIBRARIES, FrameworkBuilds(()), gpus(RTX_4090), NEW)
    (finding,) = outcome_of("onnxruntime.both-packages", *facts).findings
    steps = steps_of("install-onnxruntime-anew", Findings((("onnxruntime.both-packages", finding),)), *facts)
    assert ", then ".join(f"`{step.action}`" for step in steps) in finding.remedy


def test_only_the_environments_of_the_findings_are_changed():
    other = environment(TENSORFLOW, prefix="/opt/other")
    facts = (
        found("tensorflow.cuda-libraries-missing"),
        environments(environment(TENSORFLOW), other),
        gpus(RTX_4090),
        NEW,
    )
    (step,) = steps_of("install-tensorflow-anew", *facts)
    assert isinstance(step.action, Run)
    assert step.action.argv[0] == f"{PREFIX}/bin/python"


def test_where_no_packages_help_the_finding_s_own_words_are_left_to_a_person():
    old = environments(environment(distribution("tensorflow", "2.12.0")))
    facts = (found("tensorflow.cuda-libraries-missing", remedy="Upgrade."), old, gpus(RTX_4090), NEW)
    (step,) = steps_of("install-tensorflow-anew", *facts)
    assert step.action == Manual("Upgrade.")


def test_a_library_path_is_not_mended_by_packages():
    path = "/usr/local/cuda-12.0/lib64/libcudnn.so.9.0.0"
    libraries = FrameworkLibraries((use("jax", "libcudnn.so.9", path, by="LD_LIBRARY_PATH"),))
    members = [distribution(name, "0.7.2") for name in ("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda12-pjrt")]
    asked = found("jax.outdated-library", remedy="Take it out of LD_LIBRARY_PATH.")
    (step,) = steps_of("install-jax-anew", asked, environments(environment(*members)), libraries, gpus(RTX_4090), NEW)
    assert step.action == Manual("Take it out of LD_LIBRARY_PATH.")


def test_a_version_that_is_no_word_for_a_command_is_left_to_a_person():
    odd = environments(environment(distribution("cupy-cuda12x", "14.2.0; rm")))
    facts = (found("cupy.headers-missing"), odd, FrameworkLibraries(()), gpus(RTX_4090), OLD)
    (step,) = steps_of("install-cupy-anew", *facts)
    assert isinstance(step.action, Manual)
    assert step.action.instruction.startswith("Do this repair by hand")


def kernels(fix, card):
    built = build("tensorflow", TENSORFLOW, (12, 5), *ARCHITECTURES)
    facts = (environments(environment(TENSORFLOW)), FrameworkBuilds((built,)), gpus(card), NEW)
    return steps_of(fix, found("tensorflow.no-kernels-for-gpu"), *facts)


def test_a_newer_gpu_compiles_and_an_older_one_gets_another_release():
    (step,) = kernels("compile-tensorflow-once", RTX_5090)
    assert "CUDA_CACHE_MAXSIZE=4294967296" in step.action.instruction
    assert kernels("install-tensorflow-for-gpu", RTX_5090) == ()
    maxwell = gpu("GeForce GTX 960", (5, 2))
    assert kernels("compile-tensorflow-once", maxwell) == ()
    (step,) = kernels("install-tensorflow-for-gpu", maxwell)
    assert "install tensorflow" in commands([step])[0]
    assert "==2.21.0" not in commands([step])[0]
