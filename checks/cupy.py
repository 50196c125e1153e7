"""Is there one CuPy only, and what do CuPy and numba miss to compile kernels?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.cuda_parts import CudaParts, KernelCompilers
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.wheel_files import WheelFiles
from gpudoctor.python.reinstallations import OPTIONAL_TO_CUPY, cupy, lacks, needs_of, numba

from ._environments import computed, on_gpus, place, severity, undecided
from ._reinstall import remedy
from ._rivals import rivals, torn


@check(
    "cupy.multiple-packages",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"CuPy may not function correctly because multiple CuPy packages are installed"),
    ],
)
def multiple_packages(
    pythons: PythonEnvironments,
    files: WheelFiles | Unavailable,
    libraries: FrameworkLibraries | Unavailable,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Finding]:
    """Several CuPy packages lie in one environment, or what is left after one of them was uninstalled.

    What: cupy, cupy-cuda12x and cupy-cuda13x write the same 2,400 files. The one installed last has replaced the
    others', and whoever uninstalls one of them takes the files of all away.

    Proof: the metadata of two or more of them in one site-packages folder, and whose hash the files have; or one alone
    whose libraries are gone.

    Repair: uninstall all of them, then install the one for the CUDA major of this machine.

    Reference: https://docs.cupy.dev/en/stable/install.html#faq
    """
    needs = needs_of(driver, gpus)
    for found in rivals(pythons, files, "cupy"):
        where = found.environment
        lacking = needs.gpu and lacks(libraries, where, "cupy")
        yield Finding(
            f"{found.names} are both {place(where)}, and write the same files"
            + (f": those of {found.holder} lie there now." if found.holder else "."),
            found.names,
            found.evidence,
            remedy(where, cupy(where, needs, lacking=lacking), f"Uninstall {found.names}, then install one of them."),
            severity(where, Severity.WARNING),
            where.prefix,
            "cupy",
        )
    yield from torn(files, "cupy", lambda left: cupy(left.environment, needs, lacking=False, broken=True))


def _missing(build: FrameworkBuild, libraries: FrameworkLibraries) -> list[str]:
    uses = libraries.of(build)
    return [use.soname for use in uses if use.found is None and not use.soname.startswith(OPTIONAL_TO_CUPY)]


@check(
    "cupy.headers-missing",
    after=["cuda.driver-too-old", "cupy.multiple-packages", "cuda.library-missing", "python.cuda-major-mismatch"],
    symptoms=[
        likely(r"CuPy failed to load (lib)?(nvrtc|cublas|cufft|curand|cusolver|cusparse)"),
        sure(r"Failed to find CUDA headers"),
        likely(r"DLL load failed while importing \w+: The specified module", beside=r"cupy_backends"),
        likely(r"Failed to import CuPy", beside=r"cannot open shared object|DLL load failed"),
        likely(r"RuntimeError: CUDA is not found\.", beside=r"cupy"),
        r"(cannot|could not) open source file \"(vector_types|cuda_fp16|cuda_bf16|cuComplex|cuda_runtime)\.h\"",
        r"Failed to auto-detect CUDA root directory",
        hint(r"CUDA path could not be detected\. Set CUDA_PATH environment variable"),
        hint(r"CuPy is not correctly installed"),
    ],
)
def headers_missing(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    compilers: KernelCompilers,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """CuPy does not find CUDA's headers or libraries.

    What: CuPy compiles each kernel when it is first used, and from CUDA 12.2 on that takes headers which it may not
    bring itself; nor does it bring CUDA's libraries. Both come with a toolkit, or with the extra ctk.

    Proof: cuda_fp16.h of its CUDA major is neither among NVIDIA's wheels in the environment, nor in conda's folders,
    nor in a toolkit; or the loader does not find what its modules name (cuBLAS, cuRAND, NVRTC...). cuTENSOR, cuDNN and
    NCCL are optional, and not missed.

    Repair: `pip install 'cupy-cuda12x[ctk]'` of the same version, in that environment.

    Reference: https://docs.cupy.dev/en/stable/install.html
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    problems = dict(libraries.problems)
    for build in builds.of("cupy"):
        where = build.environment
        if build.cuda is None or computed(trials, build):
            continue
        parts = compilers.get(where)
        if parts is None or parts.problems or where.prefix in problems:
            reasons = (*(parts.problems if parts else ()), *filter(None, (problems.get(where.prefix),)))
            yield undecided(where, reasons[0] if reasons else f"what CuPy finds in {where.prefix} was not looked at")
            continue
        missing = _missing(build, libraries) + _unfound(build, parts)
        if missing:
            named = missing[0] + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            yield Finding(
                f"{build.words} {place(where)} finds no {named} of CUDA {build.cuda[0]}, and cannot compile or run "
                "its kernels.",
                build.words,
                tuple(Evidence(build.distribution.location, f"{name}: not found") for name in missing[:6]),
                remedy(where, cupy(where, needs, lacking=True), f"Install a CUDA {build.cuda[0]} toolkit."),
                severity(where, Severity.ERROR),
                where.prefix,
                "cupy",
            )


def _unfound(build: FrameworkBuild, parts: CudaParts) -> list[str]:
    """NVRTC and the headers. Releases before 14 bring the headers of CUDA 11 themselves."""
    if build.cuda is None:
        return []
    major = build.cuda[0]
    names = [] if parts.of("nvrtc", major) else [f"libnvrtc.so.{major if major > 11 else '11.2'}"]
    return names + (["cuda_fp16.h"] if major > 11 and not parts.of("headers", major) else [])


@check(
    "numba.nvvm-missing",
    symptoms=[
        sure(r"(libnvvm\.so\S*|nvvm64_\w+\.dll): cannot open shared object file"),
        sure(r"libNVVM cannot be found|Failure finding \"libnvvm\.so\"|Could not find module '?nvvm"),
        sure(r"NvvmSupportError"),
        sure(r"Missing libdevice file"),
        r"library nvvm not found",
        hint(r"libcudadevrt\.a not found"),
        likely(r"libdevice\S* not found", beside=r"numba"),
        hint(r"\bfailed to open (nvvm|libdevice)|\bfinding (nvvm|libdevice)\b.{0,40}\berror"),
    ],
)
def nvvm_missing(
    gpus: ComputeGpus,
    pythons: PythonEnvironments,
    compilers: KernelCompilers,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """numba does not find NVVM or libdevice, with which it compiles for the GPU.

    What: numba.cuda compiles with NVIDIA's NVVM. numba itself looks for it in conda's folders, CUDA_HOME and
    /usr/local/cuda; the package numba-cuda also among NVIDIA's wheels, and brings them with its extra cu12 or cu13.
    Most programs use numba for the CPU only, and miss nothing.

    Proof: libnvvm.so and libdevice.10.bc are at none of these places.

    Repair: `pip install 'numba-cuda[cu12]'` (or cu13, with driver 580 or later), in that environment.

    Reference: https://nvidia.github.io/numba-cuda/user/installation.html
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    for where in pythons.environments:
        main, own = where.get("numba"), where.get("numba-cuda")
        trial = None if isinstance(trials, Unavailable) else trials.get(where.prefix, "numba")
        if main is None or (trial and not trial.failure and trial.devices):
            continue
        parts = compilers.get(where)
        if parts is None or parts.problems:
            yield undecided(where, parts.problems[0] if parts else f"what numba finds in {where.prefix} is not known")
            continue
        kinds = ("nvvm", "libdevice")
        found = {kind: [one for one in parts.of(kind) if own or one.origin != "wheel"] for kind in kinds}
        missing = [name for kind, name in zip(kinds, ("libnvvm.so", "libdevice.10.bc"), strict=True) if not found[kind]]
        if missing:
            subject = own or main
            yield Finding(
                f"{subject.name} {subject.version} {place(where)} finds no {' and no '.join(missing)}, and cannot "
                "compile for the GPU.",
                f"{subject.name} {subject.version}",
                (Evidence(subject.folder, f"{subject.name} {subject.version}"),),
                remedy(where, numba(where, needs), "Install a CUDA toolkit and set CUDA_HOME to it."),
                # Nobody installs numba-cuda for the CPU; numba most do.
                severity(where, Severity.ERROR) if own else Severity.INFO,
                where.prefix,
                "numba",
            )
