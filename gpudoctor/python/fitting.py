"""Whether a build fits a driver, its GPUs and a Python, and if not, why in words."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from gpudoctor.compatibility import Fit, Verdict, driver_level, driver_runs, judge
from gpudoctor.facts.cuda_level import ComputeGpu
from gpudoctor.knowledge.cuda import architecture_span, branch_of, first_cuda, minimum_driver
from gpudoctor.knowledge.cudnn import cudnn_line, cudnn_wheels, newest_cudnn_wheel, wheel_release
from gpudoctor.python.candidates import Candidate
from gpudoctor.python.pep440 import satisfies


class Target(NamedTuple):
    """What a build must fit."""

    driver: str  # "535.104.05", or a branch, "535"; "" unknown
    driver_cuda: tuple[int, int] | None  # what it serves natively; None: told from its branch
    gpus: tuple[ComputeGpu, ...]  # one of each kind; () unknown, or none
    python: tuple[int, int] | None  # None: not told, and not judged
    machine: str = "x86_64"


class Judged(NamedTuple):
    candidate: Candidate
    pin: str  # "nvidia-cudnn-cu12==9.10.2.21", where the newest cuDNN that it allows has dropped the GPU
    pin_why: str  # a sentence
    obstacle: str  # why it does not fit; "" it does


def judged(candidate: Candidate, target: Target) -> Judged:
    """Whether a build fits. The target's driver and the capabilities of its GPUs must be known."""
    pin, pin_why, no_cudnn = _cudnn_pin(candidate, target)
    return Judged(candidate, pin, pin_why, candidate.obstacle or _obstacle(candidate, target) or no_cudnn)


def level_of(target: Target) -> tuple[int, int]:
    """The CUDA that the driver serves natively."""
    level = driver_level(target.driver)
    return target.driver_cuda or (level.cuda if level else (0, 0))


def _obstacle(candidate: Candidate, target: Target) -> str:
    if target.python and candidate.pythons and target.python not in candidate.pythons:
        first, last = min(candidate.pythons), max(candidate.pythons)
        python = f"{target.python[0]}.{target.python[1]}"
        return f"there is no wheel for Python {python} ({first[0]}.{first[1]} to {last[0]}.{last[1]})"
    if driver_runs(target.driver, candidate.cuda) is Fit.TOO_OLD:
        return f"CUDA {cuda_words(candidate)} needs driver {least_driver(candidate.cuda)} or newer, not {target.driver}"
    clauses = dict.fromkeys(clause for gpu in target.gpus if (clause := _gpu_obstacle(candidate, gpu, target)))
    return "; ".join(clauses)


def _gpu_obstacle(candidate: Candidate, gpu: ComputeGpu, target: Target) -> str:
    capability = gpu.capability
    assert capability is not None  # the caller has looked
    if capability < candidate.least_capability:
        least = candidate.least_capability
        return f"it needs compute capability {least[0]}.{least[1]} or higher, not that of {gpu.words}"
    if not candidate.architectures:
        span = architecture_span(capability)
        if span is None:
            return f"which CUDA builds for {gpu.words} is not known"
        if span.last and span.last < candidate.cuda:
            return f"CUDA {cuda_words(candidate)} builds nothing for {gpu.words}: {dotted(span.last)} was the last"
        if span.first and span.first > candidate.newest:
            return f"CUDA {cuda_words(candidate)} does not know {gpu.words}: {dotted(span.first)} is the first"
        return ""
    match judge(candidate.cuda, candidate.architectures, target.driver, capability, ptx_told=candidate.ptx_told):
        case Verdict.NO_KERNELS:
            return f"no code for {gpu.words}, only for {_listed(candidate.architectures)}"
        case Verdict.PTX_TOO_NEW:
            branch = branch_of(candidate.cuda)
            needed = f"driver branch {branch} or newer" if branch else f"a driver for CUDA {cuda_words(candidate)}"
            return f"only PTX for {gpu.words}, which takes {needed} to compile, not {target.driver}"
        case Verdict.UNKNOWN:
            return f"whether its code runs on {gpu.words} with driver {target.driver} is not known"
    return ""


def _cudnn_pin(candidate: Candidate, target: Target) -> tuple[str, str, str]:
    """The cuDNN to ask for where the newest that is allowed has dropped a GPU, and why; or why none would do."""
    for name, specifiers in candidate.requires.items():
        if not name.startswith("nvidia-cudnn-cu"):
            continue
        major = int(name.removeprefix("nvidia-cudnn-cu"))
        allowed = _cudnn_wheels(major, specifiers)
        lowest = min((gpu.capability for gpu in target.gpus if gpu.capability), default=(0, 0))
        line = cudnn_line(wheel_release(allowed[-1])) if allowed else None
        least = line.minimum_capability(major) if line else None
        if not line or not least or least <= lowest:
            continue
        dropped = f"GPUs below compute capability {dotted(least)}"
        wheel = newest_cudnn_wheel(major, lowest)
        if wheel and wheel in allowed:
            doubt = "" if line.verified else " (as build files of other projects have it, not NVIDIA's own page)"
            return f"{name}=={wheel}", f"{name} {wheel} is pinned, for newer ones dropped {dropped}{doubt}.", ""
        return "", "", f"its cuDNN {allowed[-1]} dropped {dropped}"
    return "", "", ""


@cache
def _cudnn_wheels(major: int, specifiers: str) -> tuple[str, ...]:
    return tuple(wheel for wheel in cudnn_wheels(major) if satisfies(wheel, specifiers))


def least_driver(cuda: tuple[int, int]) -> str:
    minimum = minimum_driver(cuda)
    return minimum.version if minimum else ""


def first_driver(gpu: ComputeGpu) -> str:
    """The driver branch with which the compute capability of a GPU came; "" where it is older than the table."""
    cuda = first_cuda(gpu.capability) if gpu.capability else None
    branch = branch_of(cuda) if cuda else None
    return str(branch) if branch else ""


def cuda_words(candidate: Candidate) -> str:
    """ "12.8"; of those that bring whatever release is newest, the major alone."""
    return dotted(candidate.cuda) if candidate.cuda == candidate.newest else str(candidate.cuda[0])


def dotted(cuda: tuple[int, int]) -> str:
    return f"{cuda[0]}.{cuda[1]}"


def _listed(architectures: Sequence[str]) -> str:
    return f"{architectures[0]} to {architectures[-1]}" if architectures[3:] else ", ".join(architectures)
