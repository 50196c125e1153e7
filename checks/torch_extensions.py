"""Does compiled code beside torch (flash-attn, xformers, bitsandbytes) belong to the torch that is there?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.extensions import Extension, QuantisationLibraries, TorchExtensions
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.package_manager import UnsafeWord

from ._environments import on_gpus, place, severity, undecided

_OTHERS = ("torchvision", "torchaudio", "bitsandbytes")  # judged by checks of their own
OVERRIDE = "BNB_CUDA_VERSION"


_EXTENSIONS = (
    r"flash_attn|flash-attn|xformers|sgl_kernel|causal_conv1d|selective_scan|mamba|vllm|transformer_engine|deepspeed|natten"
    r"|torch_(scatter|sparse|cluster|spline_conv)|pytorch3d|detectron2|mmcv|exllama|auto_?gptq|sageattention|gsplat|fused_|amp_C"
)
_OF_TORCH = r"_Z[A-Z]*(3c10|2at|5torch|6caffe2)"


@check(
    "python.extension-abi",
    after=["torch.cpu-only"],
    symptoms=[
        sure(rf"({_EXTENSIONS})\S*\.so: undefined symbol: {_OF_TORCH}"),
        sure(r"xFormers can't load C\+\+/CUDA extensions"),
        sure(r"xFormers was built for:"),
        sure(r"PyTorch and `?torch_(scatter|sparse|cluster|spline_conv)`? were compiled with different CUDA"),
        likely(
            rf"undefined symbol: {_OF_TORCH}", without=rf"torch(vision|audio|text)\S*: undefined symbol: {_OF_TORCH}"
        ),
        rf"({_EXTENSIONS})\S*\.so: undefined symbol",
        rf"DLL load failed while importing ({_EXTENSIONS}|_C|_ext)\w*: The specified procedure could not be found",
        r"WinError 127\] .*\btorch_(scatter|sparse|cluster|spline_conv)\b",
        r"Failed to import from vllm\._C",
        sure(r"DeepSpeed ops were compiled and installed with a different version"),
        likely(
            r"Could not run '(?!aten::|torchvision::|quantized::|prim)\w+::\w+' with arguments from the 'CUDA' backend"
        ),
        r"Extension horovod\.\w+ has not been built",
        sure(r"libtorch_cuda_(cu|cpp)\.so: cannot open shared object file"),
        r"\[sgl_kernel\] CRITICAL: Could not load any common_ops",
        sure(r"Cannot find DGL C\+\+ \w+ library"),
        r"Device API cuda is not enabled\. Please install the cuda version",
        r"Memory-efficient attention, SwiGLU, sparse and more won't be available",
        r"No module named 'mmcv\._ext'",
        r"RuntimeError: Not compiled with (GPU|CUDA) support|implementation for device cuda(:\d)? not found",
        likely(r"NameError: name '_C' is not defined", beside=r"deform_attn|groundingdino|detectron|\.cu\b"),
        r"Need to compile C\+\+ extensions to (use all xFormers|get sparse attention)",
        hint(r"No module named '(flash_attn_2_cuda|vllm\._C|_vllm_C|causal_conv1d_cuda|selective_scan_cuda)'"),
        hint(r"undefined symbol: (_ZNSt7__cxx11|THPVariable|_Py|Py)\w*"),
        hint(r"libc10(_cuda)?\.so: cannot open shared object file"),
        hint(r"CUDA extension not installed\."),
        hint(r"No operator found for `memory_efficient_attention_forward`"),
    ],
)
def extension_abi(builds: FrameworkBuilds, extensions: TorchExtensions) -> Iterator[Finding | Undecided]:
    """Compiled code was made for another torch than the one beside it.

    What: flash-attn, xformers and their like call torch's C++ functions, whose names change from release to release,
    and with the ABI of the C++ library. Code for another torch ends with "undefined symbol" when it is imported.

    Proof: What the package says it was compiled for: its local version (+cu12torch2.4cxx11abiFALSE), the name of the
    wheel that was installed from an address, xformers' cpp_lib.json; against torch's version and ABI. Code that was
    compiled when it was installed says nothing; it is suspected where torch came later.

    Repair: Install the build of the package for this torch, or compile it anew against it, without pip's cache and
    without build isolation. Do not take torch back for it without need.

    Reference: https://github.com/Dao-AILab/flash-attention/issues/1644;
    https://github.com/huggingface/open-r1/issues/684
    """
    for build in builds.of("torch"):
        for prefix, name, reason in extensions.problems:
            if prefix == build.environment.prefix and name not in _OTHERS:
                yield undecided(build.environment, reason)
        for extension in extensions.extensions:
            if extension.prefix != build.environment.prefix:
                continue
            from gpudoctor.python.torch_faults import (
                extension_fault,  # here for start-up: few environments have extensions
            )

            fault = extension_fault(extension, build, extensions)
            if fault is None:
                continue
            one = extension.distribution
            own, elsewhere = (Severity.ERROR, Severity.WARNING) if fault.severe else (Severity.WARNING, Severity.INFO)
            yield Finding(
                f"{one.name} {one.version} {place(build.environment)} {fault.why}; {build.words} is there"
                f"{'' if fault.severe else ', and may not fit'}.",
                f"{one.name} {one.version}",
                (Evidence(fault.source, fault.value), Evidence(build.source, build.value)),
                _anew(build, extension),
                severity(build.environment, own, elsewhere),
                build.environment.prefix,
                build.framework,
            )


def _anew(build: FrameworkBuild, extension: Extension) -> str:
    from gpudoctor.python.installers import caution, instruction, spoken  # here for start-up: only findings need it
    from gpudoctor.python.torch_family import fitting_pin, mending

    name = extension.distribution.name
    pinned = fitting_pin(build.environment, extension)
    try:
        if pinned:
            pin, back = pinned
            command = instruction(build.environment, back.requirements, index_url=back.index_url)
            return f"Take torch back, for {pin.words}: {command}."
        command = spoken(mending(extension, build))
    except UnsafeWord:
        return f"Install a build of {name} for {build.words}."
    warning = caution(build.environment)
    return f"Install {name} for {build.words}: {command}{f' ({warning})' if warning else ''}."


@check(
    "bitsandbytes.no-binary",
    after=["torch.cpu-only", "cuda.driver-too-old"],
    symptoms=[
        sure(r"CUDA Setup failed despite (GPU|CUDA) being available"),
        sure(r"Required library version not found: libs?bitsandbytes_\w+\.(so|dll)"),
        sure(r"libbitsandbytes_\w+\.(so|dll)\W.*(cannot open|No such file|not found)"),
        sure(r"Configured CUDA binary not found at|Could not find the bitsandbytes CUDA binary at"),
        sure(r"bitsandbytes was compiled without GPU support"),
        sure(r"not available in CPU-only version of bitsandbytes"),
        sure(r"bitsandbytes (doesn't ship with a pre-compiled binary for|tried to find a compatible CUDA binary)"),
        sure(r"No compatible CUDA binary found at .*bitsandbytes"),
        sure(r"Requested CUDA version: .{0,60}Detected PyTorch CUDA version"),
        r"use bitsandbytes native library functionality but it's not available",
        r"name 'str2optimizer\d+bit' is not defined",
        r"Unsloth: CUDA is not linked properly",
        sure(r"undefined symbol: c(get_\w+|quantize_\w+|dequantize_\w+|gemm\w+|adam\w+|igemm\w*|prefetch)\b"),
        r"'NoneType' object has no attribute 'c(adam\w+|get_\w+|quantize_\w+|dequantize_\w+|gemm\w+|igemm\w*)'",
        r"CUDA SETUP: (CUDA detection failed|Setup Failed|Something unexpected|Problem: The main issue)",
        r"CUDA SETUP: CUDA \S+ not supported",
        hint(r"libcudart\.so (not found in any environmental path|found! Install CUDA or the cudatoolkit)"),
        hint(r"BNB_CUDA_VERSION=\d+ environment variable detected"),
    ],
)
def bitsandbytes_no_binary(
    builds: FrameworkBuilds,
    extensions: TorchExtensions,
    gpus: ComputeGpus,
    environment: Environment | Unavailable,
) -> Iterator[Finding | Undecided]:
    """bitsandbytes has no library for the CUDA of the torch beside it.

    What: bitsandbytes brings one library for each CUDA release that it supports, and takes the one that torch was
    built for; newer releases take another of the same CUDA major where that one is missing. Without one it falls back
    to the CPU, and 8-bit and 4-bit loading fails. BNB_CUDA_VERSION names another library than torch's.

    Proof: The names of the libraries in the package's folder against the CUDA of torch/version.py, and the variable.

    Repair: A newer bitsandbytes; or unset BNB_CUDA_VERSION.

    Reference: https://huggingface.co/docs/bitsandbytes/main/en/installation
    """
    on_gpus(gpus)
    override = environment.variables.get(OVERRIDE, "") if isinstance(environment, Environment) else ""
    for build in builds.of("torch"):
        for prefix, name, reason in extensions.problems:
            if prefix == build.environment.prefix and name == "bitsandbytes":
                yield undecided(build.environment, reason)
        for found in extensions.bitsandbytes:
            if found.prefix == build.environment.prefix and build.cuda is not None:
                yield from _without_library(build, found, override, environment)


def _without_library(
    build: FrameworkBuild, found: QuantisationLibraries, override: str, environment: Environment | Unavailable
) -> Iterator[Finding]:
    assert build.cuda is not None  # the caller has looked
    one = found.distribution
    listed = ", ".join(f"cuda{major}{minor}" for major, minor in found.cudas) or "no library for CUDA"
    evidence = (Evidence(found.folder, listed), Evidence(build.source, build.value))
    if override:
        named = f"libbitsandbytes_cuda{override}.so"
        there = override in {f"{major}{minor}" for major, minor in found.cudas}
        if there and override[:2] == str(build.cuda[0]):
            return
        lines = [] if isinstance(environment, Unavailable) else environment.set_by(OVERRIDE)
        where = f" (set in {' and '.join(f'{line.path}, line {line.line}' for line in lines)})" if lines else ""
        why = f"is for another CUDA than {build.words}" if there else f"is not part of {one.name} {one.version}"
        yield Finding(
            f"{OVERRIDE}={override} makes {one.name} {place(build.environment)} load {named}, which {why}.",
            OVERRIDE,
            (Evidence(OVERRIDE, override), *evidence),
            f"`unset {OVERRIDE}`{where}: bitsandbytes then takes the library for torch's own CUDA.",
            severity(build.environment, Severity.ERROR),
            build.environment.prefix,
            build.framework,
        )
    elif not (
        build.cuda in found.cudas or (found.same_major_serves and build.cuda[0] in {major for major, _ in found.cudas})
    ):
        yield Finding(
            f"{one.name} {one.version} {place(build.environment)} has no library for {build.cuda_words}, which "
            f"{build.words} was built for.",
            f"{one.name} {one.version}",
            evidence,
            _newer(build),
            severity(build.environment, Severity.ERROR),
            build.environment.prefix,
            build.framework,
        )


def _newer(build: FrameworkBuild) -> str:
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it
    from gpudoctor.python.torch_family import quantisation_requirement

    wanted = quantisation_requirement(build)
    if not wanted:
        return f"No known release of bitsandbytes has a library for {build.cuda_words}: take torch for another CUDA."
    try:
        return f"Install a release that has one: {instruction(build.environment, (wanted,))}."
    except UnsafeWord:
        return f"Install {wanted}, which has one."
