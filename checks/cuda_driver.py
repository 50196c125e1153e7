"""Is the driver new enough for the CUDA that frameworks and conda environments were built with?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, sure
from gpudoctor.compatibility import Coverage, Fit, Forward, Verdict, coverage, driver_runs, forward_compatible, judge
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments

from ._causes import WHY_NVML_FAILS
from ._environments import computed, on_gpus, place, rivalled, severity, undecided
from ._fitting import other_build
from ._known import known
from ._message_words import ANSWERS_FALSE

CudaRelease = tuple[int, int]


@check(
    "cuda.driver-too-old",
    after=WHY_NVML_FAILS,
    symptoms=[
        sure(r"The NVIDIA driver on your system is too old"),
        sure(r"install a PyTorch version that has been compiled with your version of the CUDA driver"),
        sure(r"old CUDA driver detected - please upgrade"),
        r"CUDA driver version is insufficient for CUDA runtime version",
        r"cudaErrorInsufficientDriver",
        r"\b(NVIDIA|CUDA|GPU) driver (\S+ ){0,3}too old(?! for (the |this )?kernel)",
        r"Driver does not support the required nvenc API version",
        r"The minimum required Nvidia driver for nvenc is",
        r"OptiX initialization failed because the installed driver is too old",
        hint(r"was built for NVIDIA Driver Release \S+ or later, but version"),
        hint(r"The NVIDIA driver's CUDA version is \S+ which is older than the \w+ CUDA version"),
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
    "cuda.ptx-newer-than-driver",
    after=["cuda.driver-too-old"],
    symptoms=[
        sure(r"the provided PTX was compiled with an unsupported toolchain"),
        sure(r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION|cudaErrorUnsupportedPtxVersion"),
        r"Unsupported \.version \d+\.\d+; current version is",
        hint(r"The NVIDIA driver's CUDA version is \S+ which is older than the \w+ CUDA version"),
    ],
)
def ptx_newer_than_driver(
    builds: FrameworkBuilds,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """A framework has only PTX for this GPU, made by a newer CUDA than the driver can compile.

    What: Code that is ready for a GPU runs with every driver of its CUDA major. PTX is compiled by the driver when it
    is loaded, and a driver compiles no PTX of a newer toolkit than its own, not even of the same major.

    Proof: The build has no native code for the GPU's compute capability, and its CUDA release is newer than the one
    of the driver's branch; or the framework, tried with `check --deep`, said so.

    Repair: Install a build with native code for this GPU, or one of a CUDA that is no newer than the driver's; or a
    driver of the branch that came with that CUDA.

    Reference: https://docs.nvidia.com/deploy/cuda-compatibility/ ("PTX");
    https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
    """
    kinds = on_gpus(gpus)
    for build in builds.builds:
        if build.cuda is None or computed(trials, build):
            continue
        told = _message(trials, build, "unsupported toolchain", "UNSUPPORTED_PTX_VERSION", "UnsupportedPtxVersion")
        bad = _ptx_too_new(build, kinds, driver)
        if isinstance(bad, Undecided):
            yield bad
        elif bad or told:
            serving = known(driver)
            gpu = bad or kinds[0]
            yield Finding(
                f"{build.words} {place(build.environment)} has for {gpu.words} only PTX of {build.cuda_words}, which "
                f"{serving.words} cannot compile.",
                build.words,
                (
                    Evidence(build.architectures_source or build.source, " ".join(build.architectures) or build.value),
                    Evidence(serving.source, serving.driver),
                    Evidence(gpu.source, gpu.words),
                    *told,
                ),
                other_build(build, serving, gpus),
                severity(build.environment, Severity.ERROR),
                build.environment.prefix,
                build.framework,
            )


def _ptx_too_new(
    build: FrameworkBuild, kinds: tuple[ComputeGpu, ...], driver: DriverCuda | Unavailable
) -> ComputeGpu | Undecided | None:
    """The GPU for which that is so. Builds whose architectures nothing tells are not suspected."""
    if build.cuda is None or not build.cuda_minor_known:
        return None
    for gpu in kinds:
        if gpu.capability is None:
            continue
        if coverage(build.architectures, gpu.capability, ptx_told=build.ptx_told) is not Coverage.PTX:
            continue
        serving = known(driver)
        # What NVML says the driver serves is truer than the table of branches.
        if serving.cuda and serving.cuda >= build.cuda:
            continue
        verdict = judge(build.cuda, build.architectures, serving.driver, gpu.capability, ptx_told=build.ptx_told)
        if verdict is Verdict.PTX_TOO_NEW:
            return gpu
        if verdict is Verdict.UNKNOWN:
            reason = f"whether {serving.words} compiles PTX of {build.cuda_words} is not known"
            return undecided(build.environment, reason)
    return None


def _message(trials: DeepTrials | Unavailable, build: FrameworkBuild, *words: str) -> tuple[Evidence, ...]:
    """What the framework said when it was tried, if one of these words is in it."""
    trial = trials.get(build.environment.prefix, build.framework) if isinstance(trials, DeepTrials) else None
    if trial is None or not any(word in trial.failure for word in words):
        return ()
    line = next(line for line in trial.failure.splitlines() if any(word in line for word in words))
    return (Evidence(f"{build.framework}, tried", line.strip()[:200]),)


@check(
    "cuda.call-needs-newer-driver",
    after=["cuda.driver-too-old", "cuda.ptx-newer-than-driver"],
    symptoms=[
        sure(r"CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER|cudaErrorCallRequiresNewerDriver"),
        sure(r"API call is not supported in the installed CUDA driver"),
        r"undefined symbol: cu(Mem|Module|Func|Graph|Stream|Ctx|Device|Library|Kernel|Launch|Tensor|Multicast)\w+",
    ],
)
def call_needs_newer_driver(
    builds: FrameworkBuilds, gpus: ComputeGpus, driver: DriverCuda | Unavailable, trials: DeepTrials | Unavailable
) -> Iterator[Finding]:
    """A framework calls a function that only a newer driver has.

    What: Within one CUDA major old drivers run new builds, but functions that came with a later minor release end with
    CUDA error 36 on them.

    Proof: Only the framework itself can tell: `gpudoctor check --deep` tries it, and its message names the error.

    Repair: Update the driver to the branch of the framework's CUDA release, or install a build for an older CUDA.

    Reference: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
    """
    on_gpus(gpus)
    if isinstance(trials, Unavailable):
        raise trials
    for build in builds.builds:
        words = ("CALL_REQUIRES_NEWER_DRIVER", "CallRequiresNewerDriver", "not supported in the installed CUDA driver")
        told = _message(trials, build, *words)
        if told:
            serving = known(driver)
            yield Finding(
                f"{build.words} {place(build.environment)} calls what {serving.words} does not have.",
                build.words,
                (*told, Evidence(serving.source, serving.driver), Evidence(build.source, build.value)),
                _newer_driver(build),
                environment=build.environment.prefix,
                framework=build.framework,
            )


def _newer_driver(build: FrameworkBuild) -> str:
    from gpudoctor.knowledge.cuda import branch_of  # here for start-up: only findings need it

    branch = branch_of(build.cuda) if build.cuda and build.cuda_minor_known else None
    wanted = f"branch {branch} or later" if branch else "a newer branch"
    return f"Update the driver to {wanted}, or install a build of {build.framework} for an older CUDA."


@check(
    "cuda.conda-toolkit-too-new",
    after=["cuda.driver-too-old"],
    symptoms=[
        sure(r"Using CUDA toolkit version \(\d+, \d+\) with CUDA driver version \(\d+, \d+\) requires"),
        hint(r"(nothing provides|requires|feature:\S*|incompatible with) \|?\S*__cuda\b"),
        hint(r"__cuda[ >=<]\S+.{0,80}Your installed version is: (\d|not available)"),
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
        cuda = _release(pinned.version) if pinned else None
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


def _release(version: str) -> CudaRelease | None:
    words = version.split(".")
    return (int(words[0]), int(words[1])) if len(words) > 1 and words[0].isdecimal() and words[1].isdecimal() else None


def _has_libraries(environment: PythonEnvironment) -> bool:
    """cuda-version alone is only a pin."""
    return any(one.name.startswith(("cudatoolkit", "cuda-cudart", "cuda-nvrtc", "libcu")) for one in environment.conda)


def _pin(environment: PythonEnvironment, driver: DriverCuda) -> str:
    if driver.cuda is None:
        return "Pin cuda-version in this environment to a release that the driver runs, or update the driver."
    from gpudoctor.python.installers import spoken  # here for start-up: only findings need it

    command = ("conda", "install", "-p", environment.prefix, f"cuda-version={driver.cuda[0]}.{driver.cuda[1]}")
    return f"Take CUDA back to what the driver serves: {spoken(command)}; or update the driver."
