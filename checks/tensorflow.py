"""Does TensorFlow find its CUDA libraries, has it code for the GPU, and is there only one of it?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.compatibility import Coverage, coverage
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.wheel_files import WheelFiles
from gpudoctor.python.reinstallations import family, needs_of, tensorflow

from ._environments import computed, on_gpus, place, severity, undecided
from ._reinstall import remedy
from ._rivals import rivals


@check(
    "tensorflow.cuda-libraries-missing",
    after=["cuda.driver-too-old", "tensorflow.both-packages", "python.nvidia-wheels-collide"],
    symptoms=[
        sure(r"Cannot dlopen some GPU libraries"),
        r"Could not find cuda drivers on your machine, GPU will not be used",
        likely(r"Can't find libdevice directory|libdevice not found at", without=r"\bjax"),
        r"Skipping registering GPU devices",
        r"Couldn't open CUDA library lib(cudart|cublas|cufft|curand|cusolver|cusparse|cudnn)",
        sure(r"Could not find 'cu\w+\.dll'\. TensorFlow requires that this DLL"),
        likely(r"Couldn't find a suitable version of ptxas", beside=r"tensorflow", without=r"relying on driver"),
        r"Could not load dynamic library '(lib)?(cudart|cublas|cublasLt|cufft|curand|cusolver|cusparse|cudnn)",
        likely(r"libdevice not found at|Can't find libdevice directory", beside=r"tensorflow|keras|xla"),
        hint(r"list_physical_devices\(['\"]GPU['\"]\)\)?\W*(returns |gives |is )*(an )?(empty( list)?|\[\])"),
        hint(
            r"list_physical_devices\(\w*\)\)?\W*\[PhysicalDevice\(name='/physical_device:CPU:0', device_type='CPU'\)\]"
        ),
        hint(r"tf\.test\.is_built_with_cuda\(\)\)?\W*(returns |is )*False"),
        hint(r"Num GPUs Available\W+0\b"),
        hint(r"tf\.test\.is_gpu_available\(\)?\)?\W*(returns |is )*False"),
        hint(r"\btensorflow .{0,40}\b(not|cannot|\w+n't) (see|find|detect|use) (the |any |my )?GPU"),
        hint(r"Ignore above cudart dlerror if you do not have a GPU set up"),
        hint(r"SystemError: GPU device not found"),
        hint(r"assigned to /device:GPU:\d but available devices are \[(?!.*device:(XLA_)?GPU)"),
        hint(r"device:GPU:\d+ unknown device"),
        hint(r"However this machine only has: \['/cpu:0'"),
    ],
)
def cuda_libraries_missing(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """TensorFlow does not find the CUDA libraries that it was built with, or is built without CUDA.

    What: `pip install tensorflow` brings no CUDA libraries: they come with the extra and-cuda. Without them, or with
    those of another CUDA major, TensorFlow says "Cannot dlopen some GPU libraries" and computes on the CPU; so does
    tensorflow-cpu, silently. ("Could not find cuda drivers" means libcuda instead: see the findings on the driver.)

    Proof: TensorFlow's build_info.py tells the CUDA of the build, and the loader finds no file for the libraries of
    that CUDA: neither in NVIDIA's wheels beside TensorFlow, nor in LD_LIBRARY_PATH, nor in ld.so.cache.

    Repair: install the same version with its extra, `pip install 'tensorflow[and-cuda]==VERSION'`, in that environment.

    Reference: https://www.tensorflow.org/install/pip
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    problems = dict(libraries.problems)
    for build in builds.of("tensorflow"):
        where = build.environment
        if computed(trials, build):
            continue
        if build.problem:
            yield undecided(where, build.problem)
            continue
        if build.cuda is None:
            others = family(where, "tensorflow")
            yield _cpu_build(build, "" if others[1:] else remedy(where, tensorflow(where, needs), _no_extra(build)))
            continue
        missing = [use.soname for use in libraries.of(build) if use.found is None]
        if not libraries.of(build) or (missing and where.prefix in problems):
            reason = problems.get(
                where.prefix, f"{build.words} in {where.prefix} does not tell which libraries it loads"
            )
            yield undecided(where, reason)
        elif missing:
            named = missing[0] + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            yield Finding(
                f"{build.words} {place(where)} is built for {build.cuda_words}, and finds no {named}: it leaves the "
                "GPU unused.",
                build.words,
                (
                    Evidence(build.source, build.value),
                    Evidence(libraries.of(build)[0].wanted_by, f"loads {' '.join(missing)}: not found"),
                ),
                remedy(where, tensorflow(where, needs), _no_extra(build)),
                severity(where, Severity.ERROR),
                where.prefix,
                "tensorflow",
            )


def _cpu_build(build: FrameworkBuild, cure: str) -> Finding:
    """Many install it on purpose, so that it is never an error; tensorflow-cpu nobody installs by mistake: whoever
    computes with JAX or torch reads data with it.
    """
    where = build.environment
    own = Severity.INFO if build.distribution.name in ("tensorflow-cpu", "tf-nightly-cpu") else Severity.WARNING
    if where.machine == "aarch64":
        cure = "PyPI has no TensorFlow with CUDA for aarch64: use NVIDIA's container, or build it."
    return Finding(
        f"{build.words} {place(where)} is built without CUDA, so it never uses the GPU.",
        build.words,
        (Evidence(build.source, build.value),),
        cure or "Keep one TensorFlow, the one with CUDA.",
        severity(where, own, Severity.INFO),
        where.prefix,
        "tensorflow",
    )


def _no_extra(build: FrameworkBuild) -> str:
    cuda = build.cuda_words or "CUDA"
    return (
        f"Upgrade: from 2.14 on `pip install 'tensorflow[and-cuda]'` brings the libraries; {build.words} needs {cuda} "
        f"and cuDNN {build.cudnn or 'of its time'} installed beside it."
    )


@check(
    "tensorflow.no-kernels-for-gpu",
    after=["cuda.ptx-newer-than-driver", "cuda.driver-too-old"],
    symptoms=[
        sure(r"TensorFlow was not built with CUDA kernel binaries compatible with compute capability"),
        sure(r"CUDA kernels will be jit-compiled from PTX"),
        sure(r"The minimum required Cuda capability is \d"),
        likely(r"failed with 'CUDA_ERROR_INVALID_(HANDLE|PTX)'", beside=r"tensorflow|keras|\btf(\.|[ =-]*\d)"),
    ],
)
def no_kernels_for_gpu(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """TensorFlow was built without native code for this GPU.

    What: native code runs on GPUs of its own compute capability's major. A newer GPU gets what the driver compiles from
    PTX when TensorFlow first starts, which takes many minutes; an older one gets nothing at all.

    Proof: TensorFlow's build_info.py lists the architectures of the build ("compute_90" stands for native code and PTX
    of 9.0), and none of them serves the GPU's compute capability.

    Repair: newer GPU: let it compile once, with a cache that is large enough (CUDA_CACHE_MAXSIZE), or take NVIDIA's
    container or tf-nightly. Older GPU: the last TensorFlow that has code for it.

    Reference: https://www.tensorflow.org/install/source#gpu; https://developer.nvidia.com/cuda-gpus
    """
    kinds = on_gpus(gpus)
    for build in builds.of("tensorflow"):
        if build.cuda is None or computed(trials, build):
            continue
        for gpu in kinds:
            if gpu.capability is None or not build.architectures:
                nothing = (
                    f"the compute capability of {gpu.words}"
                    if not gpu.capability
                    else f"what {build.words} has code for"
                )
                yield undecided(build.environment, f"{nothing} is not known")
                continue
            covered = coverage(build.architectures, gpu.capability)
            if covered is Coverage.PTX:
                yield _compiled_at_start(build, gpu)
            elif covered is Coverage.NONE:
                yield _nothing_for_it(build, gpu, driver, gpus)


def _evidence(build: FrameworkBuild, gpu: ComputeGpu) -> tuple[Evidence, ...]:
    return (
        Evidence(build.architectures_source, f"cuda_compute_capabilities {' '.join(build.architectures)}"),
        Evidence(gpu.source, gpu.words),
    )


def _compiled_at_start(build: FrameworkBuild, gpu: ComputeGpu) -> Finding:
    return Finding(
        f"{build.words} {place(build.environment)} has no native code for {gpu.words}: the driver compiles it when "
        "TensorFlow first starts, for many minutes.",
        build.words,
        _evidence(build, gpu),
        "Let it finish once with `export CUDA_CACHE_MAXSIZE=4294967296`, so that the result is kept whole; NVIDIA's "
        "TensorFlow container has native code.",
        severity(build.environment, Severity.WARNING, Severity.INFO),
        build.environment.prefix,
        build.framework,
    )


def _nothing_for_it(
    build: FrameworkBuild, gpu: ComputeGpu, driver: DriverCuda | Unavailable, gpus: ComputeGpus
) -> Finding:
    from ._fitting import other_build  # here for start-up: only findings need it

    return Finding(
        f"{build.words} {place(build.environment)} has no code at all for {gpu.words}.",
        build.words,
        _evidence(build, gpu),
        other_build(build, driver, gpus),
        severity(build.environment, Severity.ERROR),
        build.environment.prefix,
        build.framework,
    )


@check(
    "tensorflow.both-packages",
    severity=Severity.WARNING,
    symptoms=[
        r"\btensorflow(-cpu|-gpu|-intel)? (and|\+|&|as well as|next to) (tf-nightly|tensorflow(-cpu|-gpu|-intel)?)\b",
        hint(r"both (the )?(CPU and GPU|GPU and CPU) versions? of tensorflow"),
    ],
)
def both_packages(
    pythons: PythonEnvironments,
    files: WheelFiles | Unavailable,
    gpus: ComputeGpus | Unavailable,
    driver: DriverCuda | Unavailable,
) -> Iterator[Finding]:
    """Two TensorFlow packages lie in one environment.

    What: tensorflow, tensorflow-cpu and tf-nightly write the same 15,000 files. The one installed last has replaced
    the others' files, and whoever uninstalls one of them takes the files of all away.

    Proof: both have metadata in one site-packages folder; where both list a file with different hashes, its content
    tells whose it is.

    Repair: uninstall all of them, then install one.

    Reference: https://www.tensorflow.org/install/pip
    """
    needs = needs_of(driver, gpus)
    for found in rivals(pythons, files, "tensorflow"):
        lost = found.holder in ("tensorflow-cpu", "tf-nightly-cpu", "intel-tensorflow") and needs.gpu
        yield Finding(
            f"{found.names} are both {place(found.environment)}, and write the same files"
            + (f": those of {found.holder} lie there now." if found.holder else "."),
            found.names,
            found.evidence,
            remedy(
                found.environment,
                tensorflow(found.environment, needs),
                f"Uninstall {found.names}, then install one of them.",
            ),
            severity(found.environment, Severity.ERROR if lost else Severity.WARNING),
            found.environment.prefix,
        )
