"""Install TensorFlow, JAX, onnxruntime, CuPy and numba anew, so that each is whole and finds its CUDA libraries."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Step, Unavailable, fix
from gpudoctor.compatibility import Coverage, coverage
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.python.jax_versions import jax_plugins
from gpudoctor.python.reinstallations import (
    Reinstallation,
    cupy,
    family,
    jax,
    jax_for_cpu,
    lacks,
    needs_of,
    numba,
    onnxruntime,
    tensorflow,
)
from gpudoctor.python.steps import environments_in, reinstalled

from ._scope import by_hand_if_unsafe


@fix(
    "install-tensorflow-anew",
    cures=["tensorflow.cuda-libraries-missing", "tensorflow.both-packages"],
    effort=Effort.PYTHON_PACKAGE,
)
@by_hand_if_unsafe
def install_tensorflow_anew(
    findings: Findings,
    pythons: PythonEnvironments,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Step]:
    """Install one TensorFlow of the version that is there, with its CUDA libraries."""
    needs = needs_of(driver, gpus)
    for where in environments_in(findings, pythons):
        why = "TensorFlow finds its CUDA libraries where the extra and-cuda of the same version puts them."
        yield from _steps(where, tensorflow(where, needs), why, _instruction(findings, where))


@fix("compile-tensorflow-once", cures=["tensorflow.no-kernels-for-gpu"], effort=Effort.EXPLAIN)
def compile_tensorflow_once(
    findings: Findings, pythons: PythonEnvironments, builds: FrameworkBuilds, gpus: ComputeGpus
) -> Iterator[Step]:
    """Let the driver compile TensorFlow's kernels once, and keep the result."""
    for where in environments_in(findings, pythons):
        build = builds.get(where, "tensorflow")
        if build and Coverage.NONE not in _coverages(build, gpus):
            yield Step(
                Manual(
                    "Start TensorFlow once with `export CUDA_CACHE_MAXSIZE=4294967296` and wait: the driver compiles "
                    "its kernels for this GPU, and keeps them in ~/.nv/ComputeCache. Put the line into your shell's "
                    "startup file. NVIDIA's TensorFlow container has native code, and so may tf-nightly."
                ),
                f"{build.words} has only PTX for this GPU, and what the driver makes of it outgrows the default cache.",
                Phase.AFTERWARDS,
                root=False,
            )


@fix("install-tensorflow-for-gpu", cures=["tensorflow.no-kernels-for-gpu"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def install_tensorflow_for_gpu(
    findings: Findings,
    pythons: PythonEnvironments,
    builds: FrameworkBuilds,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
) -> Iterator[Step]:
    """Install the TensorFlow that has code for this GPU."""
    from gpudoctor.python.other_builds import other_build  # here for start-up: only this fix needs it

    for where in environments_in(findings, pythons):
        build = builds.get(where, "tensorflow")
        if build is None or Coverage.NONE not in _coverages(build, gpus):
            continue
        choice = other_build(build, driver, gpus)
        wanted = Reinstallation(choice.requirements) if choice else None
        why = f"{build.words} has no code for the GPU that is here."
        yield from _steps(where, wanted, why, _instruction(findings, where))


def _coverages(build: FrameworkBuild, gpus: ComputeGpus) -> list[Coverage]:
    return [coverage(build.architectures, gpu.capability) for gpu in gpus.distinct if gpu.capability]


@fix(
    "install-jax-anew",
    cures=["jax.cpu-only", "jax.plugin-mismatch", "jax.both-plugins", "jax.outdated-library"],
    effort=Effort.PYTHON_PACKAGE,
)
@by_hand_if_unsafe
def install_jax_anew(
    findings: Findings,
    pythons: PythonEnvironments,
    libraries: FrameworkLibraries | Unavailable,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Step]:
    """Install jax, jaxlib and one CUDA plugin of one version, with their libraries."""
    needs = needs_of(driver, gpus)
    uses = () if isinstance(libraries, Unavailable) else libraries.uses
    for where in environments_in(findings, pythons):
        ids = {id for id, finding in findings.items if finding.environment == where.prefix}
        own = [use.found for use in uses if (use.prefix, use.framework) == (where.prefix, "jax") and use.found]
        if ids == {"jax.outdated-library"} and any(found.by == "LD_LIBRARY_PATH" for found in own):
            yield _by_hand(where, "The loader takes what LD_LIBRARY_PATH names first.", _instruction(findings, where))
            continue
        cpu = ids == {"jax.plugin-mismatch"} and not jax_plugins(where)
        wanted = jax_for_cpu(where) if cpu else jax(where, needs)
        why = "jaxlib takes only a plugin of its own version, and the plugin its own pjrt."
        yield from _steps(where, wanted, why, _instruction(findings, where))


@fix(
    "install-onnxruntime-anew",
    cures=[
        *("onnxruntime.both-packages", "onnxruntime.cpu-only"),
        *("onnxruntime.cuda-major-mismatch", "onnxruntime.cudnn-mismatch"),
    ],
    effort=Effort.PYTHON_PACKAGE,
)
@by_hand_if_unsafe
def install_onnxruntime_anew(
    findings: Findings,
    pythons: PythonEnvironments,
    libraries: FrameworkLibraries | Unavailable,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Step]:
    """Install onnxruntime-gpu alone, for the CUDA that is there."""
    needs = needs_of(driver, gpus)
    for where in environments_in(findings, pythons):
        ids = {id for id, finding in findings.items if finding.environment == where.prefix}
        lacking = ids != {"onnxruntime.both-packages"} or (needs.gpu and lacks(libraries, where, "onnxruntime"))
        broken = bool(ids & {"onnxruntime.both-packages", "onnxruntime.cpu-only"})
        left = [one.name for one in family(where, "onnxruntime")]
        # Where only the package for the CPU is, and is torn, it is that which somebody wanted.
        torn = ids == {"onnxruntime.both-packages"} and left == ["onnxruntime"]
        wanted = None if torn else onnxruntime(where, needs, lacking=lacking, broken=broken)
        why = "Only onnxruntime-gpu brings the CUDA provider, and it shares its files with onnxruntime."
        yield from _steps(where, wanted, why, _instruction(findings, where))


@fix("install-cupy-anew", cures=["cupy.multiple-packages", "cupy.headers-missing"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def install_cupy_anew(
    findings: Findings,
    pythons: PythonEnvironments,
    libraries: FrameworkLibraries | Unavailable,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Step]:
    """Install one CuPy, for a CUDA that runs here."""
    needs = needs_of(driver, gpus)
    for where in environments_in(findings, pythons):
        ids = {id for id, finding in findings.items if finding.environment == where.prefix}
        lacking = "cupy.headers-missing" in ids or (needs.gpu and lacks(libraries, where, "cupy"))
        broken = ids == {"cupy.multiple-packages"}
        wanted = cupy(where, needs, lacking=lacking, broken=broken)
        why = "CuPy packages write the same files, and compile kernels with the headers of their own CUDA."
        yield from _steps(where, wanted, why, _instruction(findings, where))


@fix("install-numba-cuda", cures=["numba.nvvm-missing"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def install_numba_cuda(
    findings: Findings,
    pythons: PythonEnvironments,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Step]:
    """Install numba-cuda with NVVM."""
    needs = needs_of(driver, gpus)
    for where in environments_in(findings, pythons):
        why = "numba compiles for the GPU with NVVM, which numba-cuda brings and finds."
        yield from _steps(where, numba(where, needs), why, _instruction(findings, where))


def _steps(where: PythonEnvironment, wanted: Reinstallation | None, why: str, otherwise: str) -> Iterator[Step]:
    """`otherwise`: what a person does where no packages are known to help."""
    if wanted is None:
        yield _by_hand(where, why, otherwise)
        return
    yield from reinstalled(where, install=wanted.install, remove=wanted.remove, why=why)


def _by_hand(where: PythonEnvironment, why: str, instruction: str) -> Step:
    return Step(Manual(instruction), why, Phase.AFTERWARDS, root=where.owner == 0)


def _instruction(findings: Findings, where: PythonEnvironment) -> str:
    """The remedy as the finding has it."""
    remedies = (finding.remedy for _, finding in findings.items if finding.environment == where.prefix)
    return next(remedies, "") or "See what the finding says."
