"""Is the driver new enough for the CUDA that frameworks and conda environments were built with?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, sure
from gpudoctor.compatibility import Fit, Forward, driver_runs, forward_compatible
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.cuda_release import CudaRelease, release_in
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments

from ._causes import WHY_NVML_FAILS
from ._environments import computed, on_gpus, place, rivalled, severity, undecided
from ._fitting import other_build
from ._known import known
from ._message_words import ANSWERS_FALSE
from ._surroundings import MORE_OF_XLA


@check(
    "cuda.driver-too-old",
    after=WHY_NVML_FAILS,
    symptoms=[
        sure(r"The NVIDIA driver on your system is too old"),
        sure(r"install a PyTorch version that has been compiled with your version of the CUDA driver"),
        sure(r"CUDA Driver version found is \d+\. Minimum requirement is \d+"),  # of NCCL
        sure(r"old CUDA driver detected - please upgrade|CUDA driver was found, but it is too old"),
        sure(r"CUDA\.jl only supports NVIDIA drivers for CUDA .{1,40}\(yours is for CUDA"),
        sure(r"CUDA initialization failure with error:? 35\b|cudaGetDeviceCount returned 35\b"),
        r"CUDA driver version is insufficient for CUDA runtime version",
        r"cudaErrorInsufficientDriver",
        r"\b(NVIDIA|CUDA|GPU) driver (\S+ ){0,3}too old(?! for (the |this )?kernel)",
        r"Driver does not support the required nvenc API version",
        r"The minimum required Nvidia driver for nvenc is",
        r"OptiX initialization failed because the installed driver is too old",
        hint(r"was built for NVIDIA Driver Release \S+ or later, but version"),
        hint(r"The NVIDIA driver's CUDA version is \S+ which is older than the \w+ CUDA version", beside=MORE_OF_XLA),
        hint(rf"torch\.cuda\.is_available\(\)\)?{ANSWERS_FALSE}"),
    ],
)
def driver_too_old(
    builds: FrameworkBuilds,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
    search: LibcudaSearch | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """A framework was built for a newer CUDA than this driver runs.

    What: Each CUDA major needs a driver of some age: 11 needs 450, 12 needs 525, 13 needs 580; within one major every
    such driver runs all minor releases. Where the driver is older, the framework sees no GPU.

    Proof: The framework's own files name its CUDA (torch/version.py and its likes), the driver's library names its
    version. On data-centre GPUs NVIDIA's forward compatibility package may close the gap; then this is only a note.

    Repair: Install the build of the same framework for a CUDA that this driver runs, such as torch from the index
    cu126; or update the driver.

    Reference: https://docs.nvidia.com/deploy/cuda-compatibility/
    """
    kinds = on_gpus(gpus)
    for build in builds.builds:
        if build.cuda is None or computed(trials, build) or rivalled(build, builds):
            continue
        serving = known(driver)
        fit = driver_runs(serving.driver, build.cuda)
        if fit is Fit.UNKNOWN:
            yield undecided(build.environment, f"whether {serving.words} runs {build.cuda_words} is not known")
        if fit is not Fit.TOO_OLD:
            continue
        bridge = _bridge(build.cuda, serving, kinds, search)
        bridged = f"; {bridge.path} makes up for that" if bridge and bridge.by else ""
        if bridge and not bridge.by:
            bridged = f"; {bridge.path} would make up for that, and programs do not find it"
        yield Finding(
            f"{build.words} {place(build.environment)} is built for {build.cuda_words}, "
            f"and {serving.words} is too old for it{bridged}.",
            build.words,
            (
                Evidence(build.source, build.value),
                Evidence(serving.source, serving.driver),
                *([Evidence(bridge.path, bridge.version)] if bridge else []),
            ),
            _with_bridge(bridge) if bridge else other_build(build, serving, gpus),
            Severity.INFO if bridge and bridge.by else severity(build.environment, Severity.ERROR),
            build.environment.prefix,
            build.framework,
        )


def _bridge(
    cuda: CudaRelease, driver: DriverCuda, kinds: tuple[ComputeGpu, ...], search: LibcudaSearch | Unavailable
) -> Libcuda | None:
    """The forward compatibility library that makes this CUDA run here, None if there is none, or it may not."""
    data_centre = all(gpu.data_centre for gpu in kinds)
    if isinstance(search, Unavailable) or forward_compatible(data_centre, driver.driver, cuda) is not Forward.ALLOWED:
        return None
    found = [search.compat_in_use] if search.compat_in_use else list(search.compat)
    return next((one for one in found if one and driver_runs(one.version, cuda) is Fit.RUNS), None)


def _with_bridge(bridge: Libcuda) -> str:
    if bridge.by:
        return "Nothing, as long as the programs are started like this; a newer driver makes it unnecessary."
    return f"Start the programs with it: `export LD_LIBRARY_PATH={bridge.folder}`. A newer driver makes it unnecessary."


@check(
    "cuda.conda-toolkit-too-new",
    after=["cuda.driver-too-old"],
    symptoms=[
        sure(r"Using CUDA toolkit version \(\d+, \d+\) with CUDA driver version \(\d+, \d+\) requires"),
        hint(r"(nothing provides|requires|incompatible with) \|?\S*__cuda\b|feature:\S*__cuda\b"),
        hint(r"__cuda[ >=<]\S+.{0,80}Your installed version is: (\d|not available)"),
        hint(r"__cuda\b.{0,40}, which is missing on the system|No candidates were found for __cuda"),
        hint(r"Virtual package .__cuda\b.{0,20} does not match"),
    ],
)
def conda_toolkit_too_new(
    pythons: PythonEnvironments,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
    search: LibcudaSearch | Unavailable,
) -> Iterator[Finding | Undecided]:
    """A conda environment holds the CUDA libraries of a newer major than this driver runs.

    What: conda installs CUDA's libraries into the environment. It takes the newest that its own look at the driver
    (the virtual package __cuda) allows; an environment that was made on another machine, or whose driver was taken
    back since, can hold a CUDA that is too new.

    Proof: The records in conda-meta name cuda-version or cudatoolkit; the driver's library names its version.

    Repair: Pin cuda-version to a release that the driver runs, or update the driver.

    Reference: https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html;
    https://docs.nvidia.com/deploy/cuda-compatibility/
    """
    kinds = on_gpus(gpus)
    for environment in pythons.environments:
        pinned = environment.conda_package("cudatoolkit", "cuda-version")
        cuda = release_in(pinned.version) if pinned else None
        if pinned is None or not _has_libraries(environment):
            continue
        if cuda is None:
            yield undecided(environment, f"{pinned.name} {pinned.version!r} names no CUDA release")
            continue
        serving = known(driver)
        if driver_runs(serving.driver, cuda) is not Fit.TOO_OLD:
            continue
        bridge = _bridge(cuda, serving, kinds, search)
        yield Finding(
            f"The conda environment{environment.prefix and ' '}{environment.prefix} holds CUDA {cuda[0]}.{cuda[1]}, "
            f"and {serving.words} is too "
            f"old for it{f'; {bridge.path} makes up for that' if bridge else ''}.",
            f"{pinned.name} {pinned.version}",
            (
                Evidence(
                    f"{environment.prefix}/conda-meta/{pinned.name}-{pinned.version}-{pinned.build}.json",
                    f"{pinned.name} {pinned.version}",
                ),
                Evidence(serving.source, serving.driver),
            ),
            _with_bridge(bridge) if bridge else _pin(environment, serving),
            Severity.INFO if bridge else severity(environment, Severity.ERROR),
            environment.prefix,
        )


def _has_libraries(environment: PythonEnvironment) -> bool:
    """cuda-version alone is only a pin."""
    return any(one.name.startswith(("cudatoolkit", "cuda-cudart", "cuda-nvrtc", "libcu")) for one in environment.conda)


def _pin(environment: PythonEnvironment, driver: DriverCuda) -> str:
    if driver.cuda is None:
        return "Pin cuda-version in this environment to a release that the driver runs, or update the driver."
    from gpudoctor.python.installers import spoken  # here for start-up: only findings need it

    command = ("conda", "install", "-p", environment.prefix, f"cuda-version={driver.cuda[0]}.{driver.cuda[1]}")
    return f"Take CUDA back to what the driver serves: {spoken(command)}; or update the driver."
