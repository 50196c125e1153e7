"""Do programs get the libcuda of the loaded driver, and no stub or forward compatibility library in its place?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, likely, sure
from gpudoctor.facts.answers import Cuda
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.driver_search import Libcuda, LibcudaSearch
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import LoaderConfig

from ._environments import on_gpus
from ._known import known
from ._loader_words import leads_to, take_out


@check(
    "cuda.stub-library",
    symptoms=[
        sure(r"CUDA driver is a stub library"),
        sure(r"CUDA_ERROR_STUB_LIBRARY|cudaErrorStubLibrary"),
        sure(r"\[34\] Call to cuInit"),
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
        r"\b(init failure|cuInit)\W.{0,30}\b803\b|\[803\] Call to cuInit",
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
        likely(r"\b(failed|returned|exited) (with )?(\w+ )?(error|code|status):? ?\(?804\b", beside=r"cuda"),
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
