"""What nvcc can be used for: extensions of the installed torch, with the host's compiler, for the GPU that is here."""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.compatibility import Coverage, coverage
from gpudoctor.facts.compilers import NvccHostCompiler
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit

from ._environments import computed, no_variables, on_gpus, place, rivalled, severity
from ._fitting import other_build
from ._toolkits import compiled_here, compiles_when_used, get_toolkit, in_charge, toolkit_for

_ONLY_FOR_BUILDS = "that counts only where extensions are built"


@check(
    "cuda.nvcc-mismatch",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"The detected CUDA version \([0-9.]+\) mismatches the version that was used to compile"),
        sure(
            r"Installed CUDA version [0-9.]+ does not match the version torch was compiled with"
            r"(?! [0-9.]+ ?(but since the APIs are compatible|Detected `DS_SKIP))"
        ),
        sure(r"compiled with a version of Cuda that does not match the version used to compile Pytorch"),
        likely(r"FlashAttention is only supported on CUDA \S+ and above"),
        hint(r"Unable to JIT load the \w+ op due to it not being compatible due to hardware"),
    ],
)
def nvcc_mismatch(
    builds: FrameworkBuilds, toolkits: CudaToolkits, kernel: Kernel | Unavailable
) -> Iterator[Finding | Undecided]:
    """The nvcc in charge is of another CUDA major than torch.

    What: It matters to nobody who only runs torch, which brings its own CUDA. Extensions that are compiled against it
    (flash-attn, deepspeed, apex) are refused where nvcc's major differs; another minor is fine.

    Proof: nvcc as CUDA_HOME, else PATH, else /usr/local/cuda names it, beside torch/version.py.

    Repair: Set CUDA_HOME to a toolkit of torch's major for the build; install one beside the other if there is none.
    The distribution's nvcc can stay: other programs may count on it.

    Reference: torch/utils/cpp_extension.py, _check_cuda_version
    """
    source, toolkit = in_charge(toolkits)
    if toolkit is None or not toolkit.nvcc:
        if toolkits.unknown:
            raise no_variables(toolkits.unknown, kernel)
        return
    for build in builds.of("torch"):
        if build.cuda is None or not build.environment.in_use:
            continue
        if toolkit.release is None:
            yield Undecided(f"{toolkit.nvcc} does not tell its version", False, build.environment.prefix)
            continue
        if toolkit.release[0] == build.cuda[0]:
            continue
        # What was compiled while it was installed works; what compiles when it is used does not.
        needing = compiles_when_used(build.environment)
        compiled = needing or compiled_here(build.environment)
        spare = toolkit_for(build, toolkits)
        yield Finding(
            f"{source} leads to nvcc {toolkit.version}, and {build.words} {place(build.environment)} is built for "
            f"{build.cuda_words}: {_without(needing, compiled)}.",
            toolkit.nvcc,
            (
                Evidence(toolkit.version_source, toolkit.version),
                Evidence(build.source, build.value),
                *(Evidence(one.folder, f"{one.name} {one.version}") for one in compiled[:2]),
            ),
            get_toolkit(build, spare),
            None if needing else Severity.INFO,
            build.environment.prefix,
        )


def _without(needing: Sequence[Distribution], compiled: Sequence[Distribution]) -> str:
    if needing:
        return f"{needing[0].name} cannot compile its kernels"
    return f"{compiled[0].name} could not be compiled anew" if compiled else _ONLY_FOR_BUILDS


@check(
    "cuda.host-compiler-too-new",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"unsupported GNU version! gcc versions later than \d+ are not supported"),
        sure(r"unsupported GNU version! gcc \d[\d.]* and up are not supported"),
        sure(r"STL1002: Unexpected compiler version, expected CUDA"),
        # The form file(line) is of nvcc's own front end, here within the headers of the compiler that it calls.
        likely(r"/(include/c\+\+|lib/gcc/[\w-]+)/\d[\w.]*/\S+\(\d+\): error: (?!no |static assertion)"),
        likely(
            r"\bnvcc\b.{0,30}(n't|not) (support|accept|like|work with) (my |the |this )?(gcc|g\+\+|clang|MSVC|Visual)"
        ),
        sure(r"unsupported clang version! clang version must be less than"),
        sure(r"unsupported Microsoft Visual Studio version!"),
        sure(r"installed version of \S+ \([0-9.]+\) is greater than the maximum required version by CUDA"),
        likely(r"std_function\.h:\d+:\d+: error: parameter packs not expanded with"),
        likely(r"include/c\+\+/\d+/chrono:428:27: internal compiler error"),
        hint(r"Caffe2: Couldn't determine version from header"),
        likely(
            r'error: identifier "(__builtin_\w+|_Float\d+x?|__Float\w+)" is undefined', beside=r"nvcc|\.cuh?\b|/cuda"
        ),
        likely(r'exception specification is incompatible with that of previous function "(cospi|sinpi|rsqrt)f?"'),
    ],
)
def host_compiler_too_new(
    toolkits: CudaToolkits, compiler: NvccHostCompiler, kernel: Kernel | Unavailable
) -> Iterator[Finding | Undecided]:
    """The compiler that nvcc calls is newer than it accepts.

    What: nvcc hands the host's part of the code to gcc or clang, and refuses versions that came after it. Plain gcc
    grows with the distribution, the toolkit does not.

    Proof: The number behind the file that PATH or NVCC_CCBIN names for nvcc, beside the limit in the toolkit's own
    crt/host_config.h.

    Repair: Install an older compiler beside the new one and name it in NVCC_CCBIN. `-allow-unsupported-compiler` only
    hides the message: what it builds may crash.

    Reference: https://docs.nvidia.com/cuda/cuda-installation-guide-linux/ ("Host Compiler Support Policy")
    """
    toolkit = toolkits.on_path.toolkit if toolkits.on_path else in_charge(toolkits)[1]
    if toolkit is None or not toolkit.nvcc:
        if toolkits.unknown:
            raise no_variables(toolkits.unknown, kernel)
        raise NotApplicable("no nvcc here")
    limit, source = _limit(toolkit, compiler.family)
    if compiler.major is None or limit is None:
        if compiler.path and compiler.family:
            what = compiler.path if compiler.major is None else toolkit.nvcc
            yield Undecided(f"which version {what} {'is' if compiler.major is None else 'accepts'} is not known", False)
        return
    if compiler.major <= limit:
        return
    yield Finding(
        f"nvcc {toolkit.version} accepts {compiler.family} up to {limit}, and {compiler.path} is "
        f"{compiler.family} {compiler.major}.",
        compiler.path,
        (
            Evidence(compiler.path, compiler.real_path),
            Evidence(compiler.source, compiler.name),
            Evidence(source, f"{compiler.family} up to {limit}"),
        ),
        f"Install {compiler.family}-{limit} beside it, and `export NVCC_CCBIN={_named(compiler.family, limit)}`.",
    )


def _named(family: str, major: int) -> str:
    return f"/usr/bin/{'g++' if family == 'gcc' else 'clang++'}-{major}"


def _limit(toolkit: Toolkit, family: str) -> tuple[int | None, str]:
    """The newest major that nvcc accepts, and what says so."""
    own = toolkit.gcc_limit if family == "gcc" else toolkit.clang_limit if family == "clang" else None
    if own is not None:
        return own, toolkit.limits_source
    from gpudoctor.knowledge.cuda import nvcc_support  # here for start-up: only where the toolkit does not tell

    known = nvcc_support(toolkit.release) if toolkit.release else None
    if known is None or not family:
        return None, ""
    return (known.gcc_max_major if family == "gcc" else known.clang_max_major), f"table of nvcc {toolkit.version}"


@check(
    "cuda.arch-unsupported-by-nvcc",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"nvcc fatal\s*:\s*Unsupported gpu architecture 'compute_\d+[af]?'"),
        sure(r"nvcc fatal\s*:\s*Value 'sm_\d+[af]?' is not defined for option 'gpu-architecture'"),
        sure(r"\bSM \d+\.x requires CUDA >= \d"),
        likely(r"is not one of the following", beside=r"CMAKE_CUDA_ARCHITECTURES"),
        hint(r"FlashInfer requires GPUs with sm\d+ or higher"),
        r"nvrtc: error: invalid value for --gpu-architecture|-arch=compute_\d+\w? is an unsupported option",
        hint(r"NVRTC_ERROR_INVALID_OPTION"),
    ],
)
def arch_unsupported_by_nvcc(
    toolkits: CudaToolkits,
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The nvcc in charge, or CuPy's own compiler, does not build for this GPU.

    What: Each toolkit builds for the GPUs that were there when it came out and are not yet given up: CUDA 13 dropped
    everything before compute capability 7.5, and what is before 12.8 knows no Blackwell. CuPy compiles its kernels
    for the GPU at hand while it runs, with the compiler library of its CUDA major.

    Proof: The architectures that this release of nvcc lists, and the GPU's compute capability.

    Repair: Compile with a toolkit that builds for this GPU: install it beside the other, and set CUDA_HOME to it. Of
    CuPy, install the package for the older CUDA.

    Reference: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
    """
    kinds = on_gpus(gpus)
    yield from _cupy_without_compiler(builds, gpus, driver, trials)
    source, toolkit = in_charge(toolkits)
    if toolkit is None or not toolkit.nvcc:
        return
    from gpudoctor.knowledge.cuda import nvcc_support  # here for start-up: only with a GPU and a toolkit

    known = nvcc_support(toolkit.release) if toolkit.release else None
    if known is None:
        yield Undecided(f"for which GPUs {toolkit.nvcc} {toolkit.version} builds is not known", False)
        return
    torches = (build.environment for build in builds.of("torch") if build.environment.in_use)
    builders = [environment for environment in torches if compiles_when_used(environment)]
    for gpu in kinds:
        if gpu.capability is None or any(word.rstrip("af") == gpu.sm for word in known.architectures):
            continue
        # Code for an older GPU of the same major runs too, and PTX on every later one: only builds for just this GPU
        # fail. Of a toolkit that gave the GPU up nothing runs.
        runs = coverage((*known.architectures, _oldest_ptx(known.architectures)), gpu.capability)
        yield Finding(
            f"{source} leads to nvcc {toolkit.version}, which does not build for {gpu.words}.",
            toolkit.nvcc,
            (
                Evidence(toolkit.version_source, toolkit.version),
                Evidence(f"table of nvcc {known.cuda[0]}.{known.cuda[1]}", _plain(known.architectures)),
                Evidence(gpu.source, gpu.words),
            ),
            _toolkit_that_builds(gpu, toolkits),
            None if runs is Coverage.NONE or builders else Severity.INFO,
        )


def _plain(architectures: tuple[str, ...]) -> str:
    return " ".join(word for word in architectures if word[-1].isdecimal())


def _oldest_ptx(architectures: tuple[str, ...]) -> str:
    return f"compute_{architectures[0].removeprefix('sm_').rstrip('af')}" if architectures else ""


def _cupy_without_compiler(
    builds: FrameworkBuilds, gpus: ComputeGpus, driver: DriverCuda | Unavailable, trials: DeepTrials | Unavailable
) -> Iterator[Finding]:
    from gpudoctor.knowledge.cuda import last_cuda  # here for start-up: only with a GPU

    for build in builds.of("cupy"):
        if computed(trials, build) or rivalled(build, builds):
            continue
        for gpu in gpus.distinct:
            last = last_cuda(gpu.capability) if gpu.capability else None
            if build.cuda is None or last is None or (build.cuda[0], 0) <= last:
                continue
            yield Finding(
                f"{build.words} {place(build.environment)} compiles its kernels with {build.cuda_words}, and the last "
                f"that builds for {gpu.words} is CUDA {last[0]}.{last[1]}.",
                build.words,
                (Evidence(build.source, build.value), Evidence(gpu.source, gpu.words)),
                other_build(build, driver, gpus),
                severity(build.environment, Severity.ERROR),
                build.environment.prefix,
            )
            break


def _toolkit_that_builds(gpu: ComputeGpu, toolkits: CudaToolkits) -> str:
    from gpudoctor.knowledge.cuda import architecture_span, nvcc_support  # here for start-up: only findings need them

    for toolkit in toolkits.toolkits:
        known = nvcc_support(toolkit.release) if toolkit.nvcc and toolkit.release else None
        if known and gpu.sm in known.architectures:
            return f"`export CUDA_HOME={toolkit.folder}` before a build: that toolkit does."
    span = architecture_span(gpu.capability) if gpu.capability else None
    wanted = "another CUDA"
    if span and (span.last or span.first):
        release = span.last or span.first or (0, 0)
        wanted = f"CUDA {release[0]}.{release[1]}{'' if span.last else ' or newer'}"
    return f"For builds install the toolkit of {wanted} beside it, and set CUDA_HOME to that."
