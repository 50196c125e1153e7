"""Whether torch's companions, and the extensions compiled for it, fit the torch beside them."""

from typing import NamedTuple

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.extensions import Companion, Extension, TorchExtensions
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.python.pep440 import parse_version
from gpudoctor.python.pep508 import normalised, parse_requirement
from gpudoctor.python.pins import fulfils

# An environment that was unpacked or synchronised at once has folders of about the same age, in any order.
_AT_ONCE = 600.0  # seconds


class Fault(NamedTuple):
    """Why a companion or an extension does not fit the torch beside it."""

    why: str  # a clause: "is made for torch 2.8.0"
    source: str
    value: str
    severe: bool = True


def companion_fault(companion: Companion, build: FrameworkBuild) -> Fault | None:
    """Whether torchvision or torchaudio was made for another torch, or for another CUDA than that is built for."""
    return _other_torch(companion, build) or _other_cuda(companion, build)


def _other_torch(companion: Companion, build: FrameworkBuild) -> Fault | None:
    one, release = companion.distribution, minor_of(build.version)
    for line in one.requires:
        requirement = parse_requirement(line)
        if requirement is None or normalised(requirement.name) != "torch" or not requirement.specifiers:
            continue
        try:
            kept = fulfils(build.distribution.version, requirement.specifiers)
        except ValueError:
            return None  # a version of the maker's own kind
        if kept:
            return None
        exact = requirement.specifiers.removeprefix("==")
        value = f"Requires-Dist: {line}"
        return Fault(
            f"asks for torch{requirement.specifiers}", f"{one.folder}/METADATA", value, minor_of(exact) != release
        )
    if _of_one_distribution(one, build.distribution):
        return None  # compiled by its packagers for the torch beside it, of which the table does not speak
    from gpudoctor.knowledge.companions import torch_of  # here for start-up: only those that do not tell themselves

    known = torch_of(one.name, one.release)
    if known is None or release is None or minor_of(known) == release:
        return None
    return Fault(f"is made for torch {known}", f"table of {one.name} {one.release}", f"torch=={known}")


def _of_one_distribution(one: Distribution, torch: Distribution) -> bool:
    """Were both brought by conda, or by the system's package manager?"""
    if one.location != torch.location:
        return False
    return one.installer == torch.installer == "conda" or one.location.startswith("/usr/lib/")


def _other_cuda(companion: Companion, build: FrameworkBuild) -> Fault | None:
    local = companion.version.partition("+")[2]
    if build.problem or not (local == "cpu" or (local.startswith("cu") and local[2:].isdecimal())):
        return None
    if local == "cpu":
        why = "is built for the CPU, and its own operators cannot run on the GPU"
        return Fault(why, companion.source, companion.value, severe=False) if build.cuda else None
    major = int(local[2:4])
    if build.cuda is None:
        return Fault(f"is built for CUDA {major}, and torch for no CUDA", companion.source, companion.value)
    if build.cuda[0] == major:
        return None
    return Fault(f"is built for CUDA {major}, and torch for {build.cuda_words}", companion.source, companion.value)


def extension_fault(extension: Extension, build: FrameworkBuild, extensions: TorchExtensions) -> Fault | None:
    """Whether compiled code was made for another torch, CUDA or C++ ABI than those that are there."""
    torch = extensions.torch_of(extension.prefix)
    if extension.torch:
        release = minor_of(build.version)
        told = [minor_of(one) for one in extension.torch]
        if release is not None and release not in told and not _says_it_fits(extension, build):
            return Fault(f"was compiled for torch {extension.torch[0]}", extension.source, extension.value)
        major = extension.cuda.partition(".")[0]
        if build.cuda is not None and major and int(major) != build.cuda[0]:
            why = f"was compiled for CUDA {major}, and torch for {build.cuda_words}"
            return Fault(why, extension.source, extension.value)
        abi = torch.cxx11_abi if torch else None
        if None not in (abi, extension.cxx11_abi) and abi is not extension.cxx11_abi:
            why = f"was compiled with the {'new' if extension.cxx11_abi else 'old'} C++ ABI, and torch with the other"
            return Fault(why, extension.source, extension.value)
    age = torch.installed - extension.installed if torch and torch.installed and extension.installed else 0.0
    if extension.compiled_here and age > _AT_ONCE:
        folder = extension.distribution.folder
        why = "was compiled when it was installed, before the torch that is there now came"
        return Fault(why, folder, f"{int(age // 60)} minutes older than {build.distribution.folder}", severe=False)
    return None


def _says_it_fits(extension: Extension, build: FrameworkBuild) -> bool:
    """Code that keeps to torch's stable ABI serves newer ones as well; its makers then ask for a least version only."""
    for line in extension.distribution.requires:
        requirement = parse_requirement(line)
        if requirement and normalised(requirement.name) == "torch" and ">=" in requirement.specifiers:
            try:
                newer = all((minor_of(one) or (0, 0)) <= (minor_of(build.version) or (0, 0)) for one in extension.torch)
                return newer and fulfils(build.distribution.version, requirement.specifiers)
            except ValueError:
                return False
    return False


def minor_of(version: str) -> tuple[int, ...] | None:
    parsed = parse_version(version)
    return (*parsed.release, 0)[:2] if parsed else None
