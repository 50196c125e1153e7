"""What the checks of cuDNN and NCCL share: what a framework was built with, and how it gets that again."""

from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor import Evidence, Unavailable
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_cudnn import CudnnPart, FrameworkCudnn
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.loader import Found
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.python.wheel_pins import pin_of, wanted_cudnn

from ._loader_words import LIBRARY_PATH, take_out


class BuiltWith(NamedTuple):
    """The version of a library that a framework was built with, and where that stands."""

    version: str  # "9.10.2.21", "9.3", "9"
    evidence: Evidence


def built_with(build: FrameworkBuild) -> BuiltWith | None:
    """cuDNN: by the wheel that it asks for, by the table of TensorFlow, or as the build says; None unknown."""
    pin = pin_of(build, "nvidia-cudnn")
    if pin is not None and pin.least:
        return BuiltWith(pin.least, Evidence(f"{build.distribution.folder}/METADATA", pin.requirement))
    if build.framework == "tensorflow":
        from gpudoctor.knowledge.wheels import tensorflow_build  # here for start-up: only where TensorFlow is installed

        known = tensorflow_build(build.distribution.release)
        if known is not None and known.tested_cudnn:
            source = f"table of TensorFlow {build.distribution.release}"
            return BuiltWith(known.tested_cudnn, Evidence(source, f"cuDNN {known.tested_cudnn}"))
    return BuiltWith(build.cudnn, Evidence(build.source, f"cudnn_version = {build.cudnn}")) if build.cudnn else None


def capabilities(gpus: ComputeGpus | Unavailable) -> tuple[tuple[int, int], ...]:
    known = gpus.gpus if isinstance(gpus, ComputeGpus) else ()
    return tuple(gpu.capability for gpu in known if gpu.capability)


def no_gpu(gpus: ComputeGpus | Unavailable) -> bool:
    """Is it known that there is none? Then nobody computes here, and what would be wrong does no harm yet."""
    return isinstance(gpus, ComputeGpus) and not gpus.gpus


def from_library_path(found: Sequence[Found]) -> tuple[str, ...]:
    """The folders of LD_LIBRARY_PATH that these were found in."""
    return tuple(dict.fromkeys(one.path.rpartition("/")[0] for one in found if one.by == LIBRARY_PATH))


def remedy(
    one: FrameworkCudnn,
    wrong: Sequence[CudnnPart],
    environment: Environment | Unavailable,
    gpus: ComputeGpus | Unavailable,
) -> str:
    """Take the folders out of LD_LIBRARY_PATH that lead to wrong parts; else install what the framework asks for."""
    folders = from_library_path([part.found for part in wrong])
    if folders:
        return take_out(LIBRARY_PATH, folders, environment, Unavailable("not asked"))
    major = one.use.soname.rpartition(".")[2]
    build = one.build
    return installing(
        build.environment,
        build.framework,
        wanted_cudnn(build, capabilities(gpus), int(major) if major.isdecimal() else 0),
    )


def led_by(found: Found) -> str:
    """ " (by LD_LIBRARY_PATH)"; "" where the library itself says where to look."""
    return "" if found.by.startswith(("RPATH", "RUNPATH")) else f" (by {found.by})"


def installing(environment: PythonEnvironment, framework: str, requirement: str, *, remove: Sequence[str] = ()) -> str:
    """A remedy: the command that puts a wheel into an environment, or, without a wheel, how to get along."""
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it

    if not requirement:
        return f"Install a build of {framework} for another CUDA; `gpudoctor recommend {framework}` names one."
    try:
        return f"Install it: {instruction(environment, (requirement,), remove=remove)}."
    except UnsafeWord:
        return f"Install {requirement} with the environment's own tool."
