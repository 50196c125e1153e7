"""Is onnxruntime the build with CUDA, the only one of its kind, and with libraries of its own CUDA and cuDNN?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.wheel_files import WheelFiles
from gpudoctor.python.library_wheels import others_present
from gpudoctor.python.reinstallations import Needs, cuda_majors_in, family, lacks, needs_of, onnxruntime

from ._environments import computed, on_gpus, place, severity, undecided
from ._reinstall import bring_back, remedy
from ._rivals import rivals, torn

_NO_WHEEL = "PyPI has no onnxruntime-gpu that runs here: build it, or use a container of ONNX Runtime."
_PROVIDER = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
_NOT_AVAILABLE = r"Specified provider 'CUDAExecutionProvider' is not in available provider names"


_GPU_PACKAGE = r"onnxruntime[-_]gpu"
_ONLY_CPU = (
    r"available[ _]providers?\b.{0,40}?\[\s*'(Azure|CPU)ExecutionProvider'(\s*,\s*'(Azure|CPU)ExecutionProvider')*\s*\]"
)
_OF_THE_CPU_PACKAGE = (
    r"libonnxruntime_providers_(cuda|shared)\.so: cannot open shared object file",
    hint(r"Unknown Provider Type: CUDAExecutionProvider"),
    hint(r"\bonly\b.{0,40}\bCPU(ExecutionProvider|\W(execution )?provider)", beside=r"onnx"),
    hint(r"Applied providers: \['CPUExecutionProvider'\]"),
    hint(r"CUDAExecutionProvider\b.{0,20}\b(not available|unavailable|missing|not found|not supported)"),
    hint(r"execution providers\b.{0,60}?: \W{0,2}(azure, )?cpu\b", beside=r"cuda|tensorrt"),
)
_CUDA = r"cublas|cublasLt|cudart|cufft|curand|nvrtc"


@check(
    "onnxruntime.both-packages",
    symptoms=[
        likely(_NOT_AVAILABLE, beside=_GPU_PACKAGE),
        likely(_ONLY_CPU, beside=_GPU_PACKAGE),
        r"\bonnxruntime (and|\+|&) onnxruntime-gpu|\bonnxruntime-gpu (and|\+|&) onnxruntime\b",
        *_OF_THE_CPU_PACKAGE,
    ],
)
def both_packages(
    pythons: PythonEnvironments,
    files: WheelFiles,
    libraries: FrameworkLibraries | Unavailable,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Finding | Undecided]:
    """onnxruntime and onnxruntime-gpu lie in one environment, or one took files of the other along.

    What: both bring the module onnxruntime, with the same names of files. The one installed last has replaced the
    other's, and mostly that is the CPU package, which another one requires: the CUDA provider is then gone. Whoever
    uninstalls one of them takes the files of both away: what is left then cannot even be imported.

    Proof: both RECORD files list the same paths with different hashes, and the hash of the file on the disk is that of
    one of them; or libraries in the RECORD of the one that is left are gone.

    Repair: uninstall both, then install onnxruntime-gpu alone; what requires onnxruntime by name gets --no-deps.

    Reference: https://onnxruntime.ai/docs/install/; https://github.com/microsoft/onnxruntime/issues/23833
    """
    needs = needs_of(driver, gpus)
    for found in rivals(pythons, files, "onnxruntime"):
        where = found.environment
        proven = [
            one for one in files.collisions if one.family == "onnxruntime" and one.environment.prefix == where.prefix
        ]
        if not proven:
            # Without both RECORD files nobody can tell whose files these are.
            members = {one.name for one in found.members}
            untold = [one.reason for one in files.problems if one.prefix == where.prefix and members & {*one.names}]
            if untold:
                yield undecided(where, untold[-1])
            continue
        held = proven[0].holder
        lost = needs.gpu and held != "onnxruntime-gpu"
        wanted = onnxruntime(where, needs, lacking=needs.gpu and lacks(libraries, where, "onnxruntime"))
        yield Finding(
            f"{found.names} are both {place(where)}: {proven[0].differing} files of the same name differ"
            + (f", and those of {held} lie there." if held else "."),
            found.names,
            found.evidence,
            remedy(where, wanted, f"Uninstall {found.names}, then install one of them.")
            + bring_back(where, "onnxruntime"),
            severity(where, Severity.ERROR if lost else Severity.WARNING),
            where.prefix,
            "onnxruntime",
        )
    for left in torn(files, "onnxruntime"):
        where, one = left.environment, left.distribution
        gpu = one.name == "onnxruntime-gpu"
        lacking = needs.gpu and lacks(libraries, where, "onnxruntime")
        again = onnxruntime(where, needs, lacking=lacking, broken=True) if gpu else None
        yield Finding(
            f"{one.name} {one.version} {place(where)} lacks {len(left.missing)} of its {left.of} libraries, as after "
            "another package with the same files was uninstalled.",
            f"{one.name} {one.version}",
            tuple(Evidence(f"{one.location}/{path}", "in RECORD, not there") for path in left.missing[:3]),
            remedy(where, again, f"Uninstall {one.name}, then install it again."),
            severity(where, Severity.ERROR),
            where.prefix,
            "onnxruntime",
        )


@check(
    "onnxruntime.cpu-only",
    severity=Severity.INFO,
    after=["onnxruntime.both-packages"],
    symptoms=[
        likely(_NOT_AVAILABLE, without=_GPU_PACKAGE),
        likely(_ONLY_CPU, without=_GPU_PACKAGE),
        r"execution-providers?: invalid choice: '?(cuda|tensorrt)",
        hint(_NOT_AVAILABLE),
        hint(_ONLY_CPU),
        *_OF_THE_CPU_PACKAGE,
    ],
)
def cpu_only(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding]:
    """onnxruntime has no CUDA provider here.

    What: the package onnxruntime computes on the CPU; onnxruntime-gpu brings the CUDA provider. Many want it so. It is
    a fault where onnxruntime-gpu is installed and its files are gone: another package with the same files was
    installed or uninstalled after it.

    Proof: the names of the packages, and libonnxruntime_providers_cuda.so is not there.

    Repair: uninstall it, then install onnxruntime-gpu.

    Reference: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    for build in builds.of("onnxruntime"):
        where = build.environment
        if build.cuda is not None or build.problem or computed(trials, build):
            continue
        members = family(where, "onnxruntime")
        ours = build.distribution.name
        cure = remedy(where, onnxruntime(where, needs, lacking=True, broken=ours.endswith("-gpu")), _NO_WHEEL)
        if ours.endswith("-gpu"):
            yield Finding(
                f"{build.words} is installed {place(where)}, and its CUDA provider is gone.",
                build.words,
                (Evidence(f"{build.distribution.location}/{_PROVIDER}", "not there"),),
                cure,
                severity(where, Severity.ERROR),
                where.prefix,
                "onnxruntime",
            )
        elif len(members) == 1 and where.conda_package("onnxruntime") is None:
            yield Finding(
                f"{build.words} {place(where)} is the package for the CPU, so it leaves the GPU unused.",
                build.words,
                (Evidence(build.source, build.value),),
                cure + bring_back(where, "onnxruntime"),
                Severity.INFO,
                where.prefix,
                "onnxruntime",
            )


@check(
    "onnxruntime.cuda-major-mismatch",
    after=["cuda.driver-too-old", "onnxruntime.both-packages", "python.nvidia-wheels-collide"],
    symptoms=[
        sure(rf"onnxruntime_providers_cuda\.so with error: lib({_CUDA})\S*: cannot open"),
        sure(rf'onnxruntime_providers_cuda\.dll"? which depends on "({_CUDA})\d*_\d+\.dll" which is missing'),
        r"Require cuDNN [0-9.*]+ and CUDA [0-9.*]+",
        r"(LoadLibrary failed with error 126|error code 126).{0,80}onnxruntime_providers_(cuda|shared)\.dll",
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
        remedy(where, onnxruntime(where, needs, lacking=True), _NO_WHEEL),
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
        r"(LoadLibrary failed with error 126|error code 126).{0,80}onnxruntime_providers_(cuda|shared)\.dll",
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
                remedy(build.environment, wanted, _NO_WHEEL),
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
