"""Environment variables that keep programs from the GPU, or from the CUDA libraries that they were built with."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loader import LoaderConfig
from gpudoctor.facts.system import Kernel
from gpudoctor.python.library_wheels import Shadow, shadows

from ._environments import computed, no_variables, on_gpus, place, severity
from ._loader_words import LIBRARY_PATH, leads_to, setting_evidence, take_out

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_ORDER = "CUDA_DEVICE_ORDER"


_NUMBERS = "order|numbers?|numbering|index(es)?|indices|ids?"
_WRONG_CARD = (
    r"\b(uses|using|used|runs on|selects|picks|lands on) the (other|wrong|different|second) (GPU|card|device)\b"
    r"|\bthe (GPU|card|device) that nvidia-smi (calls|shows as|lists as|numbers)\b"
    r"|\bus(es|ing) (the )?\S+ and vice.versa"
    r"|\bGPUs?( ids?| numbers?| indices)? (is|are|were) swapped"
)


# cuBLAS says the same where a program hands it matrices that do not fit, or all memory is taken.
_OF_THE_PROGRAM = r"shapes cannot be multiplied|size mismatch|out of (memory|range)|device-side assert|\bIndexError\b"


@check(
    "env.library-path-shadows",
    symptoms=[
        sure(r"LD_LIBRARY_PATH contains incompatible version of cudnn"),
        sure(
            r"undefined symbol: __nvJitLink\w+, version libnvJitLink\.so", beside=r"LD_LIBRARY_PATH|=> /usr/local/cuda"
        ),
        sure(r"site-packages/nvidia/\S+: undefined symbol", beside=r"LD_LIBRARY_PATH|=> /usr/local/cuda"),
        r"site-packages/nvidia/\S+: undefined symbol",
        r"undefined symbol: __nvJitLink\w+",
        r"undefined symbol: (cublas|cusparse|cusolver|cufft|curand|cuda|cupti|nvrtc|nvJitLink)\w+",
        r"symbol \w+,? version lib(nvJitLink|cu\w+)\.so\.\d+\S* not defined",
        r"version `?lib(cu\w+|nvJitLink)\.so\.[\d.]+'? not found",
        r"Error: /usr/local/cuda\S*/libcudnn\S*: undefined symbol",
        r"operation cusparseGet\w+\(.*\) failed: The cuSPARSE library was not found",
        likely(
            r"(unset|unsetting|clearing|removing) (the )?\$?LD_LIBRARY_PATH",
            beside=r"works|fixe[sd]|solve[sd]|goes away|helps",
        ),
        hint(r"conflicting cuDNN in LD_LIBRARY_PATH"),
        hint(r"TensorRT was linked against cuBLAS.{0,40} but loaded"),
        hint(r"(GET|FIND) was unable to find an engine to execute this computation"),
        hint(r"CUBLAS_STATUS_(INVALID_VALUE|NOT_SUPPORTED|NOT_INITIALIZED)", without=_OF_THE_PROGRAM),
    ],
)
def library_path_shadows(
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    environment: Environment,
    config: LoaderConfig | Unavailable,
    kernel: Kernel | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding]:
    """LD_LIBRARY_PATH puts another CUDA library in place of the one that a framework brought along.

    What: Frameworks from PyPI find their CUDA libraries by RUNPATH, and the loader looks into LD_LIBRARY_PATH before
    that. A toolkit's folder there, older than the framework's CUDA, gives it functions that are missing: "undefined
    symbol" at the import, or wrong results.

    Proof: The loader's way to each library that the framework needs, followed with LD_LIBRARY_PATH and without.

    Repair: Take the folder out of LD_LIBRARY_PATH, in the file that sets it. Do not put further folders before it.

    Reference: ld.so(8); https://github.com/pytorch/pytorch/issues/111469
    """
    groups: dict[tuple[str, str], list[Shadow]] = {}
    for shadow in shadows(builds, libraries):
        if not computed(trials, shadow.build):
            groups.setdefault((shadow.build.environment.prefix, shadow.by), []).append(shadow)
    for group in groups.values():
        # The worst first: what is known to be older, then what nothing is known of.
        group.sort(key=lambda shadow: (not shadow.older, shadow.compatible))
        worst, build = group[0], group[0].build
        assert worst.use.found is not None  # what nothing is found for shadows nothing
        folders = tuple(dict.fromkeys(shadow.folder for shadow in group))
        own = Severity.WARNING
        if worst.compatible:
            own = Severity.INFO
        elif any(shadow.older and shadow.use.soname.startswith("libnvJitLink") for shadow in group):
            own = Severity.ERROR  # its symbols carry the release, so that an older one cannot be loaded at all
        yield Finding(
            f"{worst.by} gives {build.words} {place(build.environment)} {worst.use.soname} of "
            f"{worst.version or 'unknown version'} in place of its own{_of_version(worst)}"
            f"{_and_more(len(group) - 1)}.",
            LIBRARY_PATH if worst.by == LIBRARY_PATH else worst.folder,
            (
                Evidence(worst.use.found.path, worst.version or worst.use.found.real_path),
                Evidence(worst.displaced.path, worst.displaced_version or worst.displaced.real_path),
                *leads_to(worst.by, folders, environment, config),
            ),
            take_out(worst.by, folders, environment, config),
            severity(build.environment, own),
            build.environment.prefix,
        )
    if environment.unknown and not groups:
        raise no_variables(environment.unknown, kernel)


def _of_version(shadow: Shadow) -> str:
    return f", {shadow.displaced_version}" if shadow.displaced_version else ""


def _and_more(number: int) -> str:
    return f", and {number} more {'library' if number == 1 else 'libraries'}" if number else ""


@check(
    "env.cuda-visible-devices",
    symptoms=[
        r"No CUDA GPUs are available",
        likely(r"CUDA_ERROR_NO_DEVICE|no CUDA-capable device is detected", beside=r"CUDA_VISIBLE_DEVICES"),
        hint(r"CUDA_ERROR_NO_DEVICE|no CUDA-capable device is detected", without=r"\bWSL|microsoft-standard"),
        r"CUDA_ERROR_INVALID_DEVICE|cudaErrorInvalidDevice\b|invalid device ordinal",
        r"No visible GPU devices",
        likely(r"device < num_gpus INTERNAL ASSERT FAILED", beside=r"\bMIG\b"),
        hint(r"device < num_gpus INTERNAL ASSERT FAILED"),
        r"\bCUDA_VISIBLE_DEVICES['\"\]]*\s?=\s?['\"]?(-1|all|NoDevFiles|none)\b",
        r"\bCUDA_VISIBLE_DEVICES['\"\]]*\s?=\s?(''|\"\")",
        r"AssertionError: Invalid device id",
        hint(r"CUDA_ERROR_NO_DEVICE|no CUDA-capable device is detected"),
        hint(r"Attempting to deserialize object on CUDA device \d+ but torch\.cuda\.device_count\(\) is \d+"),
        hint(r"found no CUDA devices\. Set TORCH_CUDA_ARCH_LIST"),
        hint(r"Duplicate GPU detected ?: rank"),
        hint(r"No NVIDIA GPU detected", beside=r"cudf|cuml|rapids"),
        hint(r"You requested gpu: .{0,60}But your machine only has: \[\d"),
        hint(r"only supported with GPUs, no GPUs found|no supported devices found for platform CUDA"),
        r"Make sure CUDA_VISIBLE_DEVICES is not preventing visibility|find a corresponding CUDA device for GPU",
    ],
)
def cuda_visible_devices(
    environment: Environment, gpus: ComputeGpus, nvml: Nvml | Unavailable, cuda: Cuda | Unavailable
) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES hides GPUs that are there.

    What: CUDA shows a program only the GPUs that this variable lists, and drops everything from the first entry on
    that names none. Empty, "-1", "NoDevFiles" and "all" hide every GPU; a number counts from 0.

    Proof: The variable of this process, beside the GPUs that are there; and the files that set it.

    Repair: Unset it, or list the GPUs by number or by the UUID that `nvidia-smi -L` shows.

    Reference: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ ("CUDA Environment Variables")
    """
    on_gpus(gpus)
    if environment.unknown:
        raise Unavailable(environment.unknown)
    value = environment.variables.get(_VISIBLE)
    if value is None:
        return
    from ._visible import visible  # here for start-up: only where the variable is set

    uuids = [gpu.uuid for gpu in nvml.gpus if gpu.uuid] if isinstance(nvml, Nvml) else []
    number = len(gpus.gpus)
    seen = visible(value, number, uuids if len(uuids) == number else ())
    if seen is None or not seen.problem:
        return
    # Seen, not inferred: libcuda itself counted as many as are listed.
    if isinstance(cuda, Cuda) and cuda.return_code == 0 and cuda.device_count >= len(value.split(",")):
        return
    setters = environment.set_by(_VISIBLE)
    where = " and ".join(f"{one.path} (line {one.line})" for one in setters)
    yield Finding(
        f"{_VISIBLE} is {value!r}: {seen.problem}; of {number} GPU{'s' if number > 1 else ''} programs see "
        f"{seen.left or 'none'}.",
        _VISIBLE,
        (
            Evidence("/proc/self/environ", f"{_VISIBLE}={value}"),
            Evidence(gpus.gpus[0].source, f"{number} GPUs" if number > 1 else gpus.gpus[0].words),
            *setting_evidence(setters),
            *([Evidence("cuInit", f"{cuda.return_code} {cuda.return_name}")] if isinstance(cuda, Cuda) else []),
        ),
        f"`unset {_VISIBLE}` shows all GPUs; "
        + (f"take the line out of {where}." if where else "find out what sets it: no file that was read does."),
        # Where all are left nobody misses one: a list that is longer than the machine has GPUs serves many machines.
        Severity.ERROR if not seen.left else Severity.WARNING if seen.left < number else Severity.INFO,
    )


@check(
    "env.cuda-device-order",
    severity=Severity.INFO,
    symptoms=[
        hint(r"\bnvidia-smi\b.{0,80}\b(but|while|whereas)\b.{0,60}(get_device_name\(\d|\bis (GPU|device) \d)"),
        hint(r"\bnumbered differently", beside=r"nvidia-smi"),
        likely(_WRONG_CARD, beside=r"nvidia-smi|cuda:\d|CUDA_VISIBLE_DEVICES|\bCUDA\b|pytorch|tensorflow"),
        rf"\bnvidia-smi\b.{{0,60}}\b({_NUMBERS})\b.{{0,60}}(not|n't) (match|agree)",
        rf"\b({_NUMBERS})\b.{{0,60}}(differ|not match|mismatch|swapped).{{0,80}}nvidia-smi",
    ],
)
def cuda_device_order(environment: Environment, gpus: ComputeGpus) -> Iterator[Finding]:
    """CUDA and nvidia-smi number the GPUs of this machine differently.

    What: nvidia-smi counts in the order of the bus, CUDA puts the fastest GPU first. Where they are not all of one
    kind, "GPU 0" may be another card for each.

    Proof: There are GPUs of several kinds, and CUDA_DEVICE_ORDER is not set to PCI_BUS_ID.

    Repair: `export CUDA_DEVICE_ORDER=PCI_BUS_ID`, or name GPUs by UUID.

    Reference: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ ("CUDA Environment Variables")
    """
    kinds = on_gpus(gpus)
    if len(kinds) < 2:
        return
    if environment.unknown:
        raise Unavailable(environment.unknown)
    if environment.variables.get(_ORDER) == "PCI_BUS_ID":
        return
    yield Finding(
        f"{_ORDER} is {environment.variables.get(_ORDER) or 'not set'}, and there are GPUs of {len(kinds)} kinds: CUDA "
        "puts the fastest first, nvidia-smi goes by the bus.",
        _ORDER,
        tuple(Evidence(gpu.address or gpu.source, gpu.words) for gpu in kinds),
        f"`export {_ORDER}=PCI_BUS_ID` in ~/.profile lets both count alike.",
    )


@check(
    "env.framework-switches",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"CUDA_ERROR_JIT_COMPILATION_DISABLED|cudaErrorJitCompilationDisabled"),
        sure(r"PTX JIT compilation was disabled"),
        sure(r"\bCUDA_(DISABLE|FORCE)_PTX_JIT['\"\]]*\s?=\s?['\"]?1"),
        r"\bNUMBA_ENABLE_CUDASIM['\"\]]*\s?=\s?['\"]?1",
        r"\bJAX_PLATFORM(S|_NAME)['\"\]]*\s?=\s?['\"]?(cpu|gpu)\b",
        likely(
            r"set JAX_PLATFORMS='' to automatically choose an available backend",
            without=r"no supported devices found for platform CUDA",
        ),
        likely(
            r"\bCUDA_LAUNCH_BLOCKING['\"\]]*\s?=\s?['\"]?1", beside=r"\bslow", without=r"consider passing CUDA_LAUNCH"
        ),
    ],
)
def framework_switches(environment: Environment, gpus: ComputeGpus, builds: FrameworkBuilds) -> Iterator[Finding]:
    """A variable is set that makes frameworks slow, or keeps them from the GPU.

    What: CUDA_LAUNCH_BLOCKING, JAX_PLATFORMS=cpu and their likes are set to find a fault, and then forgotten in
    ~/.bashrc. Each is heeded by every program that is started from there.

    Proof: The variables of this process, and the files that set them.

    Repair: Unset it, in the file that sets it.

    Reference: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ ("CUDA Environment Variables");
    https://docs.jax.dev/en/latest/config_options.html
    """
    on_gpus(gpus)
    if environment.unknown:
        raise Unavailable(environment.unknown)
    from ._switches import switched_on  # here for start-up: only with a GPU

    used = {build.framework for build in builds.builds if build.environment.in_use}
    for switch, value in switched_on(environment.variables):
        setters = environment.set_by(switch.variable)
        where = " and ".join(f"{one.path} (line {one.line})" for one in setters)
        # What no framework here heeds does no harm here.
        own = switch.severity if not switch.framework or switch.framework in used else Severity.INFO
        yield Finding(
            f"{switch.variable} is {value}: {switch.effect}.",
            switch.variable,
            (Evidence("/proc/self/environ", f"{switch.variable}={value}"), *setting_evidence(setters)),
            f"`unset {switch.variable}` ends it in this shell; "
            + (f"take the line out of {where}." if where else "find out what sets it: no file that was read does."),
            own,
        )
