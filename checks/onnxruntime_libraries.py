"""Does onnxruntime-gpu find the libraries of the CUDA and the cuDNN that it was built with?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, sure
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.python.library_wheels import others_present
from gpudoctor.python.reinstallations import Needs, cuda_majors_in, needs_of, onnxruntime

from ._environments import computed, on_gpus, place, severity, undecided
from ._reinstall import NO_ONNXRUNTIME_GPU, remedy

_CUDA = r"cublas|cublasLt|cudart|cufft|curand|nvrtc"


@check(
    "onnxruntime.cuda-major-mismatch",
    after=["cuda.driver-too-old", "onnxruntime.both-packages", "python.nvidia-wheels-collide"],
    symptoms=[
        sure(rf"onnxruntime_providers_cuda\.so with error: lib({_CUDA})\S*: cannot open"),
        sure(rf'onnxruntime_providers_cuda\.dll"? which depends on "({_CUDA})\d*_\d+\.dll" which is missing'),
        r"Require cuDNN [0-9.*]+ and CUDA [0-9.*]+",
        r"(LoadLibrary failed with error 126|error code 126).{0,300}onnxruntime_providers_(cuda|shared)\.dll",
        r"CUDA_PATH is set but CUDA wasn'?t able to be loaded",
        hint(r"Failed to create CUDAExecutionProvider"),
    ],
)
def cuda_major_mismatch(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    cache: LoaderCache,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """onnxruntime-gpu does not find the CUDA libraries of the major version that it was built with.

    What: up to 1.18 it needs CUDA 11, up to 1.26 CUDA 12, from 1.27 on CUDA 13, and it brings none of them itself.
    Without them it says so once, and computes on the CPU.

    Proof: the libraries that its CUDA provider names (DT_NEEDED) are not found, neither by the loader nor among
    NVIDIA's wheels in the environment.

    Repair: the release for the CUDA that is there, or the same release with its extras:
    `pip install 'onnxruntime-gpu[cuda,cudnn]'`; then call onnxruntime.preload_dlls() in the program.

    Reference: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#requirements
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    for build, missing in _without(builds, libraries, trials, cudnn=False):
        if isinstance(missing, Undecided):
            yield missing
        elif missing:
            yield _wrong_cuda(build, missing, needs, cache)


def _wrong_cuda(build: FrameworkBuild, missing: list[LibraryUse], needs: Needs, cache: LoaderCache) -> Finding:
    where, major = build.environment, build.cuda[0] if build.cuda else 0
    others = tuple(Evidence(*one) for one in others_present(build, missing[0].soname, cache))
    there = sorted(cuda_majors_in(where) - {major})
    named = missing[0].soname + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
    instead = f"CUDA {there[-1]} is there instead" if there else f"only {others[0].value} is there" if others else ""
    return Finding(
        f"{build.words} {place(where)} needs {named} of CUDA {major}, and {instead or 'there is none'}.",
        build.words,
        (*(Evidence(use.wanted_by, f"NEEDED {use.soname}: not found") for use in missing[:4]), *others[:3]),
        remedy(where, onnxruntime(where, needs, lacking=True), NO_ONNXRUNTIME_GPU),
        severity(where, Severity.ERROR),
        where.prefix,
        "onnxruntime",
    )


@check(
    "onnxruntime.cudnn-mismatch",
    after=[
        "cuda.driver-too-old",
        "onnxruntime.both-packages",
        "onnxruntime.cuda-major-mismatch",
        "python.nvidia-wheels-collide",
    ],
    symptoms=[
        sure(r"onnxruntime_providers_cuda\.so with error: libcudnn\S*: cannot open"),
        sure(r'onnxruntime_providers_cuda\.dll"? which depends on "cudnn\S*\.dll" which is missing'),
        r"(LoadLibrary failed with error 126|error code 126).{0,300}onnxruntime_providers_(cuda|shared)\.dll",
        r"CUDA_PATH is set but CUDA wasn'?t able to be loaded",
        hint(r"Require cuDNN [0-9.*]+ and CUDA [0-9.*]+"),
        hint(r"Failed to create CUDAExecutionProvider"),
    ],
)
def cudnn_mismatch(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    cache: LoaderCache,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """onnxruntime-gpu does not find the cuDNN that it was built with.

    What: up to 1.18 it needs cuDNN 8, from 1.19 on cuDNN 9; one does not stand in for the other. Without it the CUDA
    provider is not loaded.

    Proof: libcudnn.so of that major version stands in DT_NEEDED of the CUDA provider, and is not found.

    Repair: `pip install 'onnxruntime-gpu[cuda,cudnn]'` of the same version, or the wheel of that cuDNN.

    Reference: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#requirements
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    for build, missing in _without(builds, libraries, trials, cudnn=True):
        if isinstance(missing, Undecided):
            yield missing
        elif missing:
            others = tuple(Evidence(*one) for one in others_present(build, missing[0].soname, cache))
            own = tuple(
                Evidence(one.folder, f"{one.name} {one.version}")
                for one in build.environment.having("nvidia-cudnn")
                if not missing[0].soname.endswith(f".{one.version.partition('.')[0]}")
            )
            instead = f"only {(own or others)[0].value} is there" if own or others else "there is none"
            wanted = onnxruntime(build.environment, needs, lacking=True)
            yield Finding(
                f"{build.words} {place(build.environment)} needs {missing[0].soname}, and {instead}.",
                build.words,
                (Evidence(missing[0].wanted_by, f"NEEDED {missing[0].soname}: not found"), *own, *others[:2]),
                remedy(build.environment, wanted, NO_ONNXRUNTIME_GPU),
                severity(build.environment, Severity.ERROR),
                build.environment.prefix,
                build.framework,
            )


def _without(
    builds: FrameworkBuilds, libraries: FrameworkLibraries, trials: DeepTrials | Unavailable, *, cudnn: bool
) -> Iterator[tuple[FrameworkBuild, list[LibraryUse] | Undecided]]:
    """Each build with CUDA and the libraries it does not find: those of cuDNN, or all others."""
    problems = dict(libraries.problems)
    for build in builds.of("onnxruntime"):
        if build.cuda is None or computed(trials, build):
            continue
        missing = [
            use for use in libraries.of(build) if use.found is None and use.soname.startswith("libcudnn") == cudnn
        ]
        problem = problems.get(build.environment.prefix)
        yield build, undecided(build.environment, problem) if problem else missing
