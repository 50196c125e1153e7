"""Do frameworks find the libraries of the CUDA that they were built with, and programs the libcuda of the driver?"""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache, LoaderConfig
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.python.library_wheels import missing_libraries, order_for, others_present

from ._environments import computed, on_gpus, place, rivalled, severity, undecided
from ._known import known
from ._loader_words import leads_to, take_out

_CUDA_LIBRARIES = (
    r"cudart|cublas|cublasLt|cufft|curand|cusolver|cusparse|cusparseLt|nvrtc|nvJitLink|cupti|nvshmem\w*|cufile"
)
# TensorFlow and ONNX Runtime have checks of their own.
_OF_MAJOR = (
    r"(?<!dlerror: )(?<!with error: )lib(cudart|cublas|cublasLt|nvrtc)\.so\.{}(\.[0-9]+)?: cannot open shared object"
)


@check(
    "cuda.stub-library",
    symptoms=[
        sure(r"CUDA driver is a stub library"),
        sure(r"CUDA_ERROR_STUB_LIBRARY|cudaErrorStubLibrary"),
        sure(r"UNKNOWN_CUDA_ERROR \(34\)|(cuInit\w*(\(0?\))?|CUDA error)\W+(returned |failed with |error |code )*34\b"),
        sure(r"libcuda\.so(\.1)? => \S+/stubs/"),
        likely(r"\S/stubs/libcuda\.so", beside=r"call to cuInit|CUDA_ERROR|cuInit (failed|returned)|loaded from"),
        r"/stubs/libcuda\.so(\.1)?: undefined symbol",
        r"\bLD_LIBRARY_PATH\W\S*/stubs\b",
        r"libnvidia-ml\.so in GDK package is a stub library",
        r"You should always run with libnvidia-ml\.so that is installed with your NVIDIA Display Driver",
    ],
)
def stub_library(
    search: LibcudaSearch,
    gpus: ComputeGpus,
    environment: Environment | Unavailable,
    config: LoaderConfig | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """The loader takes the stub of libcuda, which is for linking only, in place of the driver's library.

    What: A toolkit brings a libcuda.so without content, so that programs can be linked on machines without a driver.
    Where its folder is among those that the loader searches, every CUDA call ends with error 34.

    Proof: Followed through LD_LIBRARY_PATH and ld.so.cache, libcuda leads to a folder named stubs.

    Repair: Take that folder out of LD_LIBRARY_PATH, or out of ld.so.conf.d; it belongs into LIBRARY_PATH at most.

    Reference: cuda.h, CUDA_ERROR_STUB_LIBRARY
    """
    on_gpus(gpus)
    for one, soname in ((search.taken, "libcuda.so.1"), (search.taken_by_name, "libcuda.so")):
        # libcuda.so behind a healthy libcuda.so.1 is met only by programs that open it by that name.
        if one is None or not one.stub or (soname == "libcuda.so.1" and _starts(cuda)):
            continue
        yield Finding(
            f"Programs that ask for {soname} get the toolkit's stub {one.path}, not the driver's library.",
            one.path,
            (*_found(one), *leads_to(one.by, (one.folder,), environment, config), *_answer(cuda)),
            take_out(one.by, (one.folder,), environment, config),
            Severity.ERROR if soname == "libcuda.so.1" else Severity.WARNING,
        )
        return


@check(
    "cuda.forward-compat-mismatch",
    after=["cuda.stub-library"],
    symptoms=[
        sure(
            r"system has unsupported display driver / cuda driver combination",
            beside=r"/compat\b|cuda-compat|cuda_compat",
        ),
        r"system has unsupported display driver / cuda driver combination",
        r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|cudaErrorSystemDriverMismatch",
        r"\b(init failure|cuInit)\W.{0,30}\b803\b",
    ],
)
def forward_compat_mismatch(
    search: LibcudaSearch,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
    environment: Environment | Unavailable,
    config: LoaderConfig | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """The forward compatibility library in use does not go with the loaded driver.

    What: NVIDIA's package cuda-compat puts a newer libcuda before an older driver. After the driver was updated the
    package is the older one, and no CUDA program starts any more (error 803).

    Proof: libcuda, as the loader finds it, lies in a folder named compat and is older than the driver; or libcuda,
    asked by gpudoctor, answered 803 from there.

    Repair: Take the folder out of LD_LIBRARY_PATH or ld.so.conf.d: the driver serves all that the package did.

    Reference: https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
    """
    on_gpus(gpus)
    one = search.compat_in_use
    if one is None or _starts(cuda):
        return
    answered = isinstance(cuda, Cuda) and cuda.return_code == 803
    serving = known(driver)
    if not answered and not (one.version and version_key(one.version) < version_key(serving.driver)):
        return
    yield Finding(
        f"{one.path}, of driver {one.version or 'of unknown version'}, stands in for the library of driver "
        f"{serving.driver}, and does not go with it.",
        one.path,
        (
            *_found(one),
            Evidence(serving.source, serving.driver),
            *leads_to(one.by, (one.folder,), environment, config),
            *_answer(cuda),
        ),
        take_out(one.by, (one.folder,), environment, config),
    )


@check(
    "cuda.forward-compat-unsupported",
    after=["cuda.stub-library", "cuda.forward-compat-mismatch"],
    symptoms=[
        sure(r"forward compatibility was attempted on non supported HW"),
        sure(r"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE|cudaErrorCompatNotSupportedOnDevice"),
        sure(r"cuInit\(\)\s*=\s*804\b"),
        r"\b(init failure|cuInit)\W.{0,30}\b804\b",
    ],
)
def forward_compat_unsupported(
    search: LibcudaSearch,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
    environment: Environment | Unavailable,
    config: LoaderConfig | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The forward compatibility library is in use on a GPU for which NVIDIA does not allow it.

    What: cuda-compat runs a newer CUDA on an older driver, on data-centre GPUs alone. On GeForce and most workstation
    cards every CUDA program then ends with error 804. Images of NVIDIA's containers bring the library along.

    Proof: libcuda, as the loader finds it, lies in a folder named compat and is newer than the driver, and the GPU is
    none of the data-centre cards; or libcuda, asked by gpudoctor, answered 804 from there.

    Repair: Take the folder out of LD_LIBRARY_PATH or ld.so.conf.d. What needs the newer CUDA needs a newer driver, or
    a build for an older CUDA.

    Reference: https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
    """
    kinds = on_gpus(gpus)
    one = search.compat_in_use
    if one is None or _starts(cuda):
        return
    serving = known(driver)
    if one.version == serving.driver:
        return
    answered = isinstance(cuda, Cuda) and cuda.return_code == 804
    refused = [gpu for gpu in kinds if gpu.data_centre is False]
    if not refused and not answered:
        if any(gpu.data_centre is None for gpu in kinds) and isinstance(cuda, Unavailable):
            yield Undecided(f"whether {kinds[0].words} allows forward compatibility ({one.path}) is not known")
        return
    gpu = (refused or kinds)[0]
    yield Finding(
        f"{one.path} stands in for the library of driver {serving.driver}, and {gpu.name or 'this GPU'} does not allow "
        "forward compatibility.",
        one.path,
        (
            *_found(one),
            Evidence(serving.source, serving.driver),
            Evidence(gpu.source, gpu.words),
            *leads_to(one.by, (one.folder,), environment, config),
            *_answer(cuda),
        ),
        take_out(one.by, (one.folder,), environment, config),
    )


def _starts(cuda: Cuda | Unavailable) -> bool:
    """Seen, not inferred: libcuda, found as every program finds it, started."""
    return isinstance(cuda, Cuda) and cuda.return_code == 0


def _found(one: Libcuda) -> tuple[Evidence, ...]:
    return (Evidence(one.path, one.real_path if one.real_path != one.path else one.by),)


def _answer(cuda: Cuda | Unavailable) -> tuple[Evidence, ...]:
    if isinstance(cuda, Unavailable) or cuda.return_code is None:
        return ()
    return (Evidence("cuInit", f"{cuda.return_code} {cuda.return_name}"),)


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
