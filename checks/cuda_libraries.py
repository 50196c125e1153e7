"""Do frameworks find the libraries of the CUDA that they were built with?"""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, sure
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.python.library_wheels import missing_libraries, order_for, others_present

from ._environments import computed, place, rivalled, severity, undecided

_CUDA_LIBRARIES = (
    r"cudart|cublas|cublasLt|cufft|curand|cusolver|cusparse|cusparseLt|nvrtc|nvJitLink|cupti|nvshmem\w*|cufile"
    r"|nvToolsExt"
)
# TensorFlow and ONNX Runtime have checks of their own.
_OF_MAJOR = (
    r"(?<!dlerror: )(?<!with error: )lib(cudart|cublas|cublasLt|nvrtc)\.so\.{}(\.[0-9]+)?: cannot open shared object"
)


@check(
    "cuda.library-missing",
    after=["cuda.driver-too-old", "python.nvidia-wheels-collide", "python.cuda-major-mismatch"],
    symptoms=[
        rf"Library (lib)?({_CUDA_LIBRARIES})\S* is not found or cannot be loaded",
        rf"lib({_CUDA_LIBRARIES})\.so[.0-9]*: cannot open shared object file",
        rf"Could not (locate|load|find)( library| module)? '?({_CUDA_LIBRARIES})\d*_\d+(_\d+)?\.dll",
        rf"\b({_CUDA_LIBRARIES})\d*_\d+(_\d+)?\.dll'?\W (is )?(missing|not found|could not be found|was not found)",
        rf"The code execution cannot proceed because ({_CUDA_LIBRARIES})\w*\.dll",
        r'Failure finding "lib(?!nvvm|cudnn)\w+\.so',
        rf"\blib({_CUDA_LIBRARIES})\.so[.\d]*'? (=> |is |was |could )?not (be )?found",
        r"failed to open (lib)?nvrtc-builtins",
        r"nvrtc: error: failed to load builtins",
        rf"Unable to dynamically load the \W{{0,2}}({_CUDA_LIBRARIES})\W{{0,2}} shared library",
        rf"third-party dynamic library \(({_CUDA_LIBRARIES})\d*_\d+",
        rf"Missing dependency: lib({_CUDA_LIBRARIES})\.so",
        r"CUDA 1\d\.x runtime libraries were not found in the LD_LIBRARY_PATH",
        rf'WinError 126\].{{0,80}}Error loading "[^"]*\\({_CUDA_LIBRARIES})\w*\.dll',
        r"CUDNN_STATUS_RUNTIME_PREREQUISITE_MISSING",
        hint(r"libnccl\.so\.2: cannot open shared object file"),
    ],
)
def library_missing(
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    cache: LoaderCache,
    gpus: ComputeGpus | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """A framework needs a CUDA library that is nowhere to be found.

    What: Frameworks from PyPI take CUDA's libraries from NVIDIA's wheels in the same environment. Where one was left
    out (`--no-deps`) or taken away with another package, the framework cannot be imported, or sees no GPU.

    Proof: The DT_NEEDED entries of the framework's own files, followed as the loader does it: RPATH, LD_LIBRARY_PATH,
    RUNPATH, ld.so.cache, default folders.

    Repair: Install the wheel that the framework pins, in that environment.

    Reference: ld.so(8)
    """
    problems = dict(libraries.problems)
    for build in builds.builds:
        if build.cuda is None or computed(trials, build) or rivalled(build, builds):
            continue
        if build.environment.prefix in problems:
            yield undecided(build.environment, problems[build.environment.prefix])
        missing = missing_libraries(build, libraries, gpus)
        if missing and not any(others_present(build, use.soname, cache) for use in missing):
            yield _finding(build, missing, missing, "which is nowhere to be found", ())


@check(
    "python.cuda-major-mismatch",
    after=[
        "cuda.driver-too-old",
        "jax.plugin-mismatch",
        "jax.both-plugins",
        "cupy.multiple-packages",
        "onnxruntime.both-packages",
        "python.nvidia-wheels-collide",
    ],
    symptoms=[
        # A framework or library of the other major is named in the same text.
        sure(_OF_MAJOR.format(11), beside=r"(\+|-|/|\b)cu1[23]\d?\b|cuda-?1[23]\.\d|cuda1[23]\b|\.so\.1[23]\b"),
        sure(_OF_MAJOR.format(12), beside=r"(\+|-|/|\b)cu1[13]\d?\b|cuda-?1[13]\.\d|cuda1[13]\b|\.so\.1[13]\b"),
        sure(_OF_MAJOR.format(13), beside=r"(\+|-|/|\b)cu1[12]\d?\b|cuda-?1[12]\.\d|cuda1[12]\b|\.so\.1[12]\b"),
        hint(_OF_MAJOR.format("1[0-9]")),
        hint(r"Library (lib)?(cublas|cublasLt|cudart)(64_|\.so\.)1[0-9]\S* is not found or cannot be loaded"),
    ],
)
def cuda_major_mismatch(
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    cache: LoaderCache,
    gpus: ComputeGpus | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding]:
    """A framework needs the libraries of one CUDA major, and only those of another are there.

    What: The number behind .so is the CUDA major for most libraries, and a program takes that very one. A mixture of
    packages for CUDA 12 and CUDA 13 in one environment leaves one of them without its libraries.

    Proof: The DT_NEEDED entries of the framework's own files name a library that the loader does not find, while one
    of the same name with another number lies in the environment or is known to the loader.

    Repair: Install the libraries of the right major beside the others (their files do not collide, cuDNN, NCCL and
    NVSHMEM excepted), or the build of the framework for the major that is there.

    Reference: ld.so(8); https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
    """
    for build in builds.builds:
        if computed(trials, build) or rivalled(build, builds):
            continue
        missing = missing_libraries(build, libraries, gpus)
        wrong = [use for use in missing if others_present(build, use.soname, cache)]
        if wrong:
            other = others_present(build, wrong[0].soname, cache)[0]
            words = f"and only {other.value} is there"
            yield _finding(build, wrong, missing, words, (Evidence(other.source, other.value),))


def _finding(
    build: FrameworkBuild,
    named: Sequence[LibraryUse],
    missing: Sequence[LibraryUse],
    words: str,
    more: tuple[Evidence, ...],
) -> Finding:
    first = named[0].soname + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
    return Finding(
        f"{build.words} {place(build.environment)} needs {first}, {words}.",
        build.words,
        (*(Evidence(use.wanted_by, f"NEEDED {use.soname}") for use in named[:4]), *more),
        _installing(build, missing),
        severity(build.environment, Severity.ERROR),
        build.environment.prefix,
        build.framework,
    )


def _installing(build: FrameworkBuild, missing: Sequence[LibraryUse]) -> str:
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it

    requirements, index_url = order_for(build, missing)
    try:
        command = instruction(build.environment, requirements, index_url=index_url)
    except UnsafeWord:
        return f"Install {build.framework} anew together with what it requires."
    return f"Install what is missing: {command}."
