"""Is the cuDNN that each framework would load of one piece, new enough for it, and made for this GPU?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, sure
from gpudoctor.compatibility import cudnn_serves
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_cudnn import CudnnPart, FrameworkCudnns
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.knowledge.cuda import version_numbers
from gpudoctor.python.wheel_pins import served_cudnn

from ._cudnn import built_with, installing, led_by, no_gpu, remedy
from ._environments import computed, on_gpus, place, severity, undecided
from ._fitting import other_build

_COLLISION = "python.nvidia-wheels-collide"
_SHADOWED = "env.library-path-shadows"
# onnxruntime's has a check of its own; CuPy does without since version 14, and takes any before.
_JUDGED = ("torch", "tensorflow", "jax")


@check(
    "cudnn.version-mismatch",
    after=["cuda.driver-too-old", "torch.no-kernels-for-gpu", _COLLISION, _SHADOWED, "cudnn.sublibrary-mix"],
    symptoms=[
        sure(r"cuDNN version incompatibility: PyTorch was compiled\s+against"),
        sure(r"Loaded runtime CuDNN library: .{1,80}but source was compiled with:? "),
        sure(r"Outdated cuDNN installation found"),
        sure(r"Found cuDNN version \S+, but JAX was built against version"),
        sure(r"compiled with CUDNN \S+, but CUDNN version in your machine is"),
        sure(r"LD_LIBRARY_PATH contains incompatible version of cudnn"),
        hint(r"TensorRT was linked against cuDNN \S+ but loaded"),
        r"possibility is that there is a\s+conflicting cuDNN in LD_LIBRARY_PATH",
        r"compiled against cu_?DNN \S+,? but found runtime version",
        r"cu_?DNN\S* .{0,40}\bcompiled (with|against) .{0,40}(but|and) .{0,40}(found|loaded|linked|running|runtime)",
        r"undefined symbol: cudnn[A-Z]\w+",
        hint(r"CUDNN_STATUS_(NOT_INITIALIZED|INTERNAL_ERROR|MAPPING_ERROR|VERSION_MISMATCH)"),
        hint(r"(GET|FIND) was unable to find an engine to execute this computation"),
        hint(r"DNN library (initialization failed|is not found)"),
    ],
)
def version_mismatch(
    cudnns: FrameworkCudnns,
    environment: Environment | Unavailable,
    gpus: ComputeGpus | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """A framework would load an older cuDNN than the one that it was built with.

    What: The cuDNN that runs must have the major version of the one that the framework was compiled
    with, and at least its minor version. PyTorch, TensorFlow and JAX ask when they start, and refuse
    to work on the GPU. A newer minor version is fine. Mostly a folder in LD_LIBRARY_PATH comes before
    the wheel's own, or a cuDNN was installed over it with pip.

    Proof: The file that the loader takes, by RPATH, LD_LIBRARY_PATH, RUNPATH and ld.so.cache, and its
    version (the file's name, cudnn_version.h beside it, or the wheel); the wheel that the framework's
    METADATA asks for. From cuDNN 9 on the sub-libraries tell the version, not libcudnn.so.9 itself.

    Repair: Take the folder out of LD_LIBRARY_PATH, or install the nvidia-cudnn wheel that the framework
    asks for. Do not copy libraries by hand.

    Reference: https://github.com/pytorch/pytorch/blob/main/torch/backends/cudnn/__init__.py
    """
    yield from _problems(cudnns)
    for one in cudnns.cudnns:
        wanted = built_with(one.build)
        if one.build.framework not in _JUDGED or wanted is None or one.mixed or computed(trials, one.build):
            continue
        acting = one.acting
        if not acting.version:
            yield undecided(one.build.environment, f"nothing tells the version of {acting.found.real_path}")
        elif not cudnn_serves(version_numbers(acting.version), version_numbers(wanted.version)):
            yield Finding(
                f"{one.build.words} {place(one.build.environment)} was built with cuDNN {_release(wanted.version)} and "
                f"would load {acting.version} from {_folder(acting)}{led_by(acting.found)}.",
                one.build.words,
                (*_evidence(acting), wanted.evidence),
                remedy(one, [acting], environment, gpus),
                severity(one.build.environment, Severity.WARNING if no_gpu(gpus) else Severity.ERROR),
                one.build.environment.prefix,
                one.build.framework,
            )


@check(
    "cudnn.sublibrary-mix",
    after=[_COLLISION, _SHADOWED],
    symptoms=[
        sure(r"CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"),
        sure(r"libcudnn_\w+\.so\.\d\S*: .*version mismatch"),
        r"libcudnn\w*\.so\.\d\S*: undefined symbol",
        r"Could not load symbol cudnn\w+. Error: .*undefined symbol",
        r'Error loading "[^"]*cudnn\w*\.dll',
        hint(r"Unable to load any of \{libcudnn_\w+\.so"),
        hint(r"Invalid handle\. Cannot load symbol cudnn\w+"),
        hint(r"CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED"),
    ],
)
def sublibrary_mix(
    cudnns: FrameworkCudnns,
    environment: Environment | Unavailable,
    gpus: ComputeGpus | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """A framework would load parts of two different cuDNN releases.

    What: cuDNN is a handful of libraries (graph, ops, cnn, adv, the engines) that work together only if
    all of them are of one release. Where LD_LIBRARY_PATH has a few of another release, or libraries were
    copied over others, convolutions fail with CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH, or a sub-library
    cannot be loaded at all. A folder with a whole other cuDNN does no such harm: then all come from there.

    Proof: For each sub-library the file that the loader takes when libcudnn.so opens it, with its version.

    Repair: Take the folder with the odd parts out of LD_LIBRARY_PATH, or install the one nvidia-cudnn wheel
    anew that the framework asks for.

    Reference: https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html
    """
    for one in cudnns.cudnns:
        mixed = one.mixed
        if not mixed or computed(trials, one.build):
            continue
        parts = ", ".join(f"{_stem(part)} {part.version} from {_folder(part)}" for part in mixed)
        yield Finding(
            f"{one.build.words} {place(one.build.environment)} would load parts of several cuDNN releases: {parts}.",
            one.build.words,
            tuple(evidence for part in mixed for evidence in _evidence(part)),
            remedy(one, one.parts, environment, gpus),
            severity(one.build.environment, Severity.WARNING if no_gpu(gpus) else Severity.ERROR),
            one.build.environment.prefix,
            one.build.framework,
        )


@check(
    "cudnn.gpu-unsupported",
    after=["torch.no-kernels-for-gpu", "cuda.driver-too-old", "cudnn.version-mismatch", _COLLISION],
    symptoms=[
        sure(r"CUDNN_STATUS_(NOT_SUPPORTED_)?ARCH_MISMATCH"),
        hint(r"CUDNN_BACKEND_API_FAILED"),
        hint(r"\[cudnn_frontend\] Error: No (valid )?(execution plans|engine configs)"),
        hint(r"(GET|FIND) was unable to find an engine to execute this computation"),
    ],
)
def gpu_unsupported(
    cudnns: FrameworkCudnns,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The cuDNN that a framework would load has no code for this GPU any more.

    What: From cuDNN 9.11 on GPUs older than Turing (compute capability below 7.5: Maxwell, Pascal,
    Volta) are left out, in the packages for CUDA 12 as well. TensorFlow and JAX take any cuDNN 9, and a
    plain upgrade brings the newest: matrix products still work, convolutions fail.

    Proof: The version of the cuDNN that the loader takes, the GPU's compute capability, and the table
    of cuDNN releases. That limit is known from the build files of two other projects, not from
    NVIDIA's own support matrix: without a trial (`check --deep`) that fails it is only a warning.

    Repair: Install the last release that serves the GPU, nvidia-cudnn-cu12 9.10.2.21; where the framework
    asks for a newer one, the build of it for CUDA 12.6.

    Reference: https://docs.nvidia.com/deeplearning/cudnn/backend/latest/reference/support-matrix.html
    """
    here = on_gpus(gpus)
    from gpudoctor.knowledge.cudnn import cudnn_line  # here for start-up: machines without a GPU need no table

    for one in cudnns.cudnns:
        line = cudnn_line(version_numbers(one.acting.version)) if one.acting.version else None
        least = line.minimum_capability(one.build.cuda[0]) if line and one.build.cuda else None
        if line is None or least is None or computed(trials, one.build):
            continue
        for gpu in here:
            if gpu.capability is None:
                yield undecided(one.build.environment, f"the compute capability of {gpu.words} is unknown")
            elif gpu.capability < least:
                alone = all(other.capability is not None and other.capability < least for other in here)
                certain = (line.verified or _failed(trials, one.build)) and alone
                told = "" if line.verified else ", as build files of two other projects have it"
                limit = f"capability {least[0]}.{least[1]}"
                yield Finding(
                    f"cuDNN {one.acting.version}, which {one.build.words} {place(one.build.environment)} would load, "
                    f"serves GPUs from compute {limit} on{told}; this is {gpu.words}.",
                    one.build.words,
                    (
                        *_evidence(one.acting),
                        Evidence(gpu.source, gpu.words),
                        Evidence("table of cuDNN releases", limit),
                    ),
                    _older(one.build, gpu, driver, gpus),
                    severity(one.build.environment, Severity.ERROR if certain else Severity.WARNING),
                    one.build.environment.prefix,
                    one.build.framework,
                )


def _older(build: FrameworkBuild, gpu: ComputeGpu, driver: DriverCuda | Unavailable, gpus: ComputeGpus) -> str:
    served = served_cudnn(build, gpu.capability) if gpu.capability else ""
    return installing(build.environment, build.framework, served) if served else other_build(build, driver, gpus)


def _failed(trials: DeepTrials | Unavailable, build: FrameworkBuild) -> bool:
    trial = trials.get(build.environment.prefix, build.framework) if isinstance(trials, DeepTrials) else None
    return trial is not None and trial.failed_at == "convolution"


def _problems(cudnns: FrameworkCudnns) -> Iterator[Undecided]:
    for build, reason in cudnns.problems:
        yield undecided(build.environment, reason)


def _evidence(part: CudnnPart) -> tuple[Evidence, ...]:
    """Where the library comes from, and what tells its version."""
    if part.source in ("", part.found.real_path):
        return (Evidence(part.found.path, f"{part.found.real_path} (by {part.found.by})"),)
    return (Evidence(part.found.path, f"by {part.found.by}"), Evidence(part.source, f"cuDNN {part.version}"))


def _stem(part: CudnnPart) -> str:
    return part.soname.partition(".so")[0]


def _folder(part: CudnnPart) -> str:
    return part.found.path.rpartition("/")[0]


def _release(version: str) -> str:
    """ "9.10.2" of "9.10.2.21": the last number of a wheel is no part of the release."""
    return ".".join(version.split(".")[:3])
