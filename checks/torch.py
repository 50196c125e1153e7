"""Can the torch of each Python environment use the GPUs of this machine?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.compatibility import Coverage, coverage
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds

from ._environments import computed, on_gpus, place, severity, undecided
from ._message_words import ANSWERS_FALSE
from ._surroundings import MAC


@check(
    "torch.cpu-only",
    after=["python.no-wheel"],
    symptoms=[
        sure(r"Torch not compiled with CUDA enabled", without=MAC),
        sure(r"PyTorch (is|was) not (linked|compiled) with (support for )?cuda"),
        sure(r"module 'torch\._C' has no attribute '_cuda_\w+'"),
        sure(r"Tried to instantiate dummy base class (Stream|Event|CUDAGraph)"),
        sure(r"^\W*(pytorch|libtorch) +\d\S* +(py\S*_cpu_\d+|cpu_\S+)"),  # conda list
        sure(r"\bpytorch-mutex\s+\S+\s+cpu\b|\bpytorch-(mutex|cpu)=\S*cpu\b"),
        likely(r"PyTorch version: \S+\+cpu", beside=r"Failed to infer device type"),
        likely(r"\btorch[-=: '\"]+\d+\.\d+(\.\d+)?\S*\+cpu\b"),
        r"^['\"]?\d+\.\d+\.\d+\+cpu['\"]?$",
        r"^\W*cpuonly\b|\bconda install\b.*\bcpuonly\b",
        likely(
            r"torch\.version\.cuda\)?['\"]?[\s:=>-]*(is |returns |prints |gives )*`?None\b", without=r"rocm|\bhip\b"
        ),
        r"\btorch\.__version__\W.{0,20}\+cpu\b|\bName: torch Version: \S+\+cpu\b",
        r"\bUSE_CUDA=(0|OFF)\b",
        r"Could not run 'aten::\S+' with arguments from the 'CUDA' backend",
        r"libtorch_cuda\.so: cannot open shared object file|libc10_cuda\.so: cannot open shared object file",
        r"Cannot \w+ CUDA .{0,20}without (the )?ATen_cuda library",
        r"libcudart functions unavailable\. It looks like you have a broken build",
        r"whl/cpu\b",
        hint(r"Attempting to deserialize object on a CUDA device but torch\.cuda\.is_available\(\) is False"),
        hint(rf"torch\.cuda\.is_available\(\)\)?{ANSWERS_FALSE}"),
        hint(r"\b(Is )?CUDA (is )?available\W{1,4}(False|No)\b"),
        hint(r"Torch is not able to use GPU"),
        hint(r"torch\.cuda\.is_available\(\) should be True but is False|Unsloth: No NVIDIA GPU found"),
        hint(r"no available devices found, must be one of|Unsloth currently only works on NVIDIA"),
        hint(r"\bassert torch\.cuda\.is_available\(\)", beside=r"AssertionError"),
        hint(r"(Error|Exception): .{0,60}\bCUDA is(n't| not) available\b", without=MAC),
        hint(r"Cannot access accelerator device when none is available"),
        hint(
            r"(?<![a-z_.-])(py)?torch(?![a-z]).{0,12}(?<![a-z])cpu(-only)? ?(version|build|wheel|版)",
            without=r"\bdriver\b",
        ),
        hint(r"\b[12]\.\d+\.\d\+cpu\b", beside=r"\b[RG]TX ?\d|nvidia-smi", without=r"PyTorch version"),
        hint(
            r"\bcpu(-only)? (build|version|wheel)s? of (py)?torch\b",
            beside=r"\b(cuda|gpu)\b.{0,30}(\bnot?\b|n't\b|False)",
        ),
        hint(r"\b(py)?torch .{0,40}\b(not|cannot|\w+n't) (see|find|detect|use) (the |any |my )?(GPU|CUDA)"),
        hint(r"Invalid CUDA '(device=|--device )\S*' requested|CUDA unavailable, invalid device \S+ requested"),
        hint(r"User provided device_type of 'cuda', but CUDA is not available"),
        hint(r"GPU available: False, used: False"),
        hint(r"FP16 is not supported on CPU; using FP32 instead"),
        hint(r"No GPU found\. A GPU is needed for quantization"),
        hint(r"`bitsandbytes` 8-bit quantization requires|bitsandbytes is running as CPU-only"),
        hint(r"only supported with GPUs, no GPUs found"),
        hint(r"Distributed package doesn't have NCCL built in", without=r"\b[A-Z]:\\|\bWindows\b"),
        hint(r"cuda is missing or is incompatible with installed torch, only cpu ops can be compiled"),
        hint(
            r"\b0 active drivers \(\[\]\)|No supported gpu backend found!|`CUDAAccelerator` can not run on your system"
        ),
        hint(r"No CUDA runtime is found, using CUDA_HOME="),
        hint(r"You requested gpu: .{0,60}But your machine only has: \[\]"),
        hint(r"Failed to infer device type|vLLM is running on UnspecifiedPlatform"),
        hint(r"(--fp16|bf16|half precision).*can only be used on CUDA devices"),
    ],
)
def cpu_only(
    builds: FrameworkBuilds, gpus: ComputeGpus, driver: DriverCuda | Unavailable
) -> Iterator[Finding | Undecided]:
    """torch was built without CUDA, and a GPU is here.

    What: There are builds of torch for CUDA and builds for the CPU alone, under one name and one version. The latter
    are installed where the index for the CPU was given, a lock file came from a Mac, conda found no driver, or the
    Python has no other wheel. On arm64 PyPI had nothing else before torch 2.11.

    Proof: torch/version.py names the CUDA that it was built for, or None; the local part of the version (+cpu) or
    conda's build string (cpu_...) says the same.

    Repair: Install the same release from the index of a CUDA variant that the driver runs, with torchvision and
    torchaudio in the same command. `gpudoctor recommend torch` explains the choice.

    Reference: https://pytorch.org/get-started/locally/; https://pytorch.org/get-started/previous-versions/
    """
    kinds = on_gpus(gpus)
    for build in builds.of("torch"):
        if build.cuda is not None:
            continue
        if build.problem:
            yield undecided(build.environment, build.problem)
            continue
        from gpudoctor.python.torch_family import fitting_build  # here for start-up: only findings need the tables

        from ._torch_words import remedy

        found = fitting_build(build, driver, gpus)
        nothing_fits = not (found.best or found.instead or found.unknown)
        conda = build.environment.conda_package("pytorch")
        yield Finding(
            f"{build.words} {place(build.environment)} is built {_without_cuda(build)}, and {kinds[0].words} is here.",
            build.words,
            (
                Evidence(build.source, build.value),
                *([Evidence(f"{build.environment.prefix}/conda-meta", "-".join(conda))] if conda else []),
                Evidence(kinds[0].source, kinds[0].words),
            ),
            remedy(build, found),
            Severity.INFO if nothing_fits else severity(build.environment, Severity.ERROR, Severity.INFO),
            build.environment.prefix,
            build.framework,
        )


def _without_cuda(build: FrameworkBuild) -> str:
    local = build.version.partition("+")[2]
    for beginning, name in (("rocm", "for AMD's GPUs (ROCm)"), ("xpu", "for Intel's GPUs (XPU)")):
        if local.startswith(beginning):
            return f"{name}, without CUDA"
    return "without CUDA"


@check(
    "torch.no-kernels-for-gpu",
    after=["cuda.driver-too-old", "python.no-wheel"],
    symptoms=[
        sure(r"with CUDA capability sm_\d+ is not compatible with the current PyTorch installation"),
        sure(r"The current PyTorch install supports CUDA capabilities"),
        sure(
            r"which is of cuda capability \d+\.\d+\.\s+(PyTorch no longer supports|Minimum and Maximum cuda capability)"
        ),
        sure(r"no longer supports this GPU because it is too old"),
        sure(r"which requires CUDA_VERSION >= \d+ to\s+work properly"),
        sure(r"Please install PyTorch with a following CUDA"),
        r"\bCU(BLAS|SPARSE|SOLVER|RAND)_STATUS_ARCH_MISMATCH",
        hint(r"CUFFT_INTERNAL_ERROR"),
        sure(r"(minimum|Minimum and Maximum) cuda capability supported by this (library|version of PyTorch) is"),
        r"no kernel image is available",
        r"Mismatched GPU Architecture: The installed PaddlePaddle",
        r"has no device code compatible with CUDA arch \d+",  # of llama.cpp
        r"CUDA GPU is too old\..*Compute Capability detected",  # of Ollama
        r"Kokkos::Cuda::initialize ERROR: likely mismatch of architecture",
        r"CUDA binary kernel for this graphics card compute capability",
        r"CUDA_ERROR_NO_BINARY_FOR_GPU|cudaErrorNoKernelImageForDevice",
        r"Unknown CUDA arch \(\d+\.\d+\S*\) or GPU not supported",
        r"\bsm_\d+\b.{0,40}\b(not supported|unsupported|not compatible)\b.{0,60}\b(torch|pytorch)",
        r"\bsm_\d+\b.{0,60}\b(py)?torch\b.{0,40}(not (supported|compatible)|n't support|unsupported|incompatible)",
        hint(r"invalid device function|cudaErrorInvalidDeviceFunction"),
        hint(r"nvrtc: error: invalid value for --gpu-architecture", beside=r"torch"),
        # The build's CUDA and a GPU that came after it, or that was given up before it.
        hint(r"\bcu1(02|1\d|2[0-6])\b", beside=r"RTX 50[5-9]0|RTX PRO \d000 Blackwell|\bG?B[23]00\b|\bsm_120\b"),
        hint(r"\bcu1(2[89]|3\d)\b", beside=r"GTX (9|10)\d\d|\bTITAN X|Quadro [PM]\d|Tesla [PM]\d|\b[PM]\d0\b|\bP100\b"),
    ],
)
def no_kernels_for_gpu(
    builds: FrameworkBuilds,
    gpus: ComputeGpus,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """torch has no code for this GPU.

    What: A build of torch holds machine code for some GPUs only. Code runs on GPUs of the same major compute
    capability and the same or a higher minor one. Too new a GPU needs a newer torch; for an old one the builds for
    CUDA 12.6 go back furthest, after those that PyPI serves had dropped it.

    Proof: The architectures of this build, from the table of published builds or, for any other build, from its
    library, against the compute capability of the GPU. torch.cuda.get_arch_list() says the same.

    Repair: Old GPU: the same torch from the index cu126. New GPU: a newer torch, or its variant for a newer CUDA.
    Extensions (flash-attn, xformers) must have code for the GPU as well.

    Reference: https://github.com/pytorch/pytorch/blob/main/RELEASE.md#release-compatibility-matrix;
    https://github.com/pytorch/pytorch/issues/150733
    """
    kinds = on_gpus(gpus)
    for build in builds.of("torch"):
        if build.cuda is None or computed(trials, build):
            continue
        without, unknown = _judged(build, kinds)
        for reason in unknown:
            yield undecided(build.environment, reason)
        if not without:
            continue
        from gpudoctor.python.torch_family import fitting_build  # here for start-up: only findings need the tables

        from ._torch_words import remedy

        all_of_them = len(without) == len(kinds)
        yield Finding(
            f"{build.words} {place(build.environment)} has no code for {' and '.join(gpu.words for gpu in without)}.",
            build.words,
            (
                Evidence(build.architectures_source, " ".join(build.architectures)),
                Evidence(build.source, build.value),
                *(Evidence(gpu.source, gpu.words) for gpu in without),
            ),
            remedy(build, fitting_build(build, driver, gpus)),
            severity(build.environment, Severity.ERROR if all_of_them else Severity.WARNING),
            build.environment.prefix,
            build.framework,
        )


def _judged(build: FrameworkBuild, kinds: tuple[ComputeGpu, ...]) -> tuple[list[ComputeGpu], list[str]]:
    """The GPUs for which there is no code, and why it cannot be told of others."""
    without, unknown = [], []
    for gpu in kinds:
        if gpu.capability is None:
            unknown.append(f"the compute capability of {gpu.words} is not known ({gpu.source})")
            continue
        match coverage(build.architectures, gpu.capability, ptx_told=build.ptx_told):
            case Coverage.NONE:
                without.append(gpu)
            case Coverage.UNKNOWN if not build.architectures:
                reason = build.architectures_source or build.problem
                unknown.append(f"for which GPUs {build.words} was built is not known{f': {reason}' if reason else ''}")
            case Coverage.UNKNOWN:
                unknown.append(f"whether {build.words} has PTX that {gpu.words} could use is not known")
    return without, unknown
