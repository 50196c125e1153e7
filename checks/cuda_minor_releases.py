"""Within one CUDA major an old driver runs newer builds: what it can still not do for them."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.compatibility import Coverage, Verdict, coverage, judge
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds

from ._environments import computed, on_gpus, place, severity, undecided
from ._fitting import other_build
from ._known import known
from ._surroundings import ANOTHER_PTXAS, MORE_OF_XLA


@check(
    "cuda.ptx-newer-than-driver",
    after=["cuda.driver-too-old"],
    symptoms=[
        sure(r"PTX was compiled with an unsupported toolchain"),
        r"device kernel image is invalid",
        r"CUDA Toolkit is newer than CUDA driver\b",
        hint(r"\ba PTX JIT compilation failed|CUDA_ERROR_INVALID_PTX|cudaErrorInvalidPtx"),
        sure(r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION|cudaErrorUnsupportedPtxVersion"),
        likely(r"Unsupported \.version \d+\.\d+; current version is", without=ANOTHER_PTXAS),
        hint(r"The NVIDIA driver's CUDA version is \S+ which is older than the \w+ CUDA version", beside=MORE_OF_XLA),
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
        hint(r"CUDA some PFN functions not found in the library"),
        sure(r"CudaDriverError: Driver missing function: cu[A-Z]"),
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
