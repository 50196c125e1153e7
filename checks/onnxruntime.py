"""Is onnxruntime the build with CUDA, and the only one of its kind?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.wheel_files import Incomplete, WheelFiles
from gpudoctor.python.reinstallations import Reinstallation, family, lacks, needs_of, onnxruntime

from ._environments import computed, on_gpus, place, severity, undecided
from ._reinstall import NO_ONNXRUNTIME_GPU, bring_back, remedy
from ._rivals import rivals, torn

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
    hint(
        r"(This ORT build has|available execution providers are) \['(Azure|CPU)ExecutionProvider'"
        r"(, 'CPUExecutionProvider')?\]"
    ),
    hint(r"CUDAExecutionProvider\b.{0,20}\b(not available|unavailable|missing|not found|not supported)"),
    hint(r"execution providers\b.{0,60}?: \W{0,2}(azure, )?cpu\b", beside=r"cuda|tensorrt"),
)


@check(
    "onnxruntime.both-packages",
    symptoms=[
        likely(_NOT_AVAILABLE, beside=_GPU_PACKAGE),
        likely(_ONLY_CPU, beside=_GPU_PACKAGE),
        r"\bonnxruntime (and|\+|&) onnxruntime-gpu|\bonnxruntime-gpu (and|\+|&) onnxruntime\b",
        sure(r"conflicting install between `?onnxruntime`? and `?onnxruntime-gpu"),
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

    def again(left: Incomplete) -> Reinstallation | None:
        if left.distribution.name != "onnxruntime-gpu":
            return None
        lacking = needs.gpu and lacks(libraries, left.environment, "onnxruntime")
        return onnxruntime(left.environment, needs, lacking=lacking, broken=True)

    yield from torn(files, "onnxruntime", again)


@check(
    "onnxruntime.cpu-only",
    severity=Severity.INFO,
    after=["onnxruntime.both-packages"],
    symptoms=[
        likely(_NOT_AVAILABLE, without=_GPU_PACKAGE),
        likely(_ONLY_CPU, without=_GPU_PACKAGE),
        r"execution-providers?: invalid choice: '?(cuda|tensorrt)",
        sure(r"CUDAExecutionProvider, but `onnxruntime-gpu` package was not found"),
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
        cure = remedy(where, onnxruntime(where, needs, lacking=True, broken=ours.endswith("-gpu")), NO_ONNXRUNTIME_GPU)
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
