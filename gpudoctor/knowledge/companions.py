"""What is known of packages that are built against one torch: torchvision, xformers, vllm, bitsandbytes, triton."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.knowledge import load_table
from gpudoctor.knowledge.cuda import version_numbers, version_pair
from gpudoctor.python.pep440 import satisfies

FAMILY = ("torchvision", "torchaudio")


class XformersBuild(NamedTuple):
    """What an xformers wheel was compiled with."""

    torch: str  # "2.7.1+cu126"
    cuda: tuple[int, int]


class Ptxas(NamedTuple):
    """One ptxas program inside a triton wheel."""

    file: str  # "ptxas", "ptxas-blackwell"
    cuda: tuple[int, int]
    lowest: int  # 50: sm_50
    highest: int
    newer: tuple[int, ...]  # those that it knows from sm_100 on

    def knows(self, capability: tuple[int, int]) -> bool:
        """Whether it compiles for this compute capability."""
        number = capability[0] * 10 + capability[1]
        return number in self.newer if number >= 100 else self.lowest <= number <= self.highest


def pins_of(package: str, version: str) -> Mapping[str, str] | None:
    """What a release requires of torch and its family: {"torch": "==2.8.0"}; None: the release is unknown."""
    for name, release, pins in load_table("companions")["pins"]:
        if name == package and release == version:
            return dict(pins)
    return None


def torch_of(package: str, version: str) -> str | None:
    """The torch that a release pins exactly ("2.8.0"); None where it pins none, or is unknown."""
    specifier = (pins_of(package, version) or {}).get("torch", "")
    return specifier[2:].partition("+")[0] if specifier.startswith("==") else None


def companions_of(torch: str) -> dict[str, str]:
    """The torchvision and torchaudio that belong to a torch release: {"torchvision": "0.23.0", ...}.

    The newest that pins this torch exactly. For a torch newer than every exact pin, the newest release that asks for
    no exact torch and allows this one (torchaudio since 2.11). A package without an answer is left out.
    """
    torch = torch.partition("+")[0]
    found: dict[str, str] = {}
    for package in FAMILY:
        rows = load_table("companions")["pins"]
        pins = [(version, pins.get("torch", "")) for name, version, pins in rows if name == package]
        belonging = [version for version, pin in pins if pin.startswith("==") and pin[2:].partition("+")[0] == torch]
        newest_pinned = max(version_numbers(pin[2:]) for _, pin in pins if pin.startswith("=="))
        if not belonging and version_numbers(torch) > newest_pinned:
            belonging = [version for version, pin in pins if not pin.startswith("==") and satisfies(torch, pin)]
        if belonging:
            found[package] = belonging[-1]
    return found


def made_for(package: str, version: str, torch: str) -> bool:
    """Whether a release of a companion was made for this minor release of torch; False where nothing is known of it."""
    specifier = (pins_of(package, version) or {}).get("torch", "")
    numbers = version_numbers(specifier.lstrip("=><~!").partition(",")[0].partition("+")[0])
    if not numbers or numbers[:2] != version_numbers(torch.partition("+")[0])[:2]:
        return False
    return satisfies(torch.partition("+")[0], specifier)


def releases_for_torch(package: str, torch: str) -> tuple[str, ...]:
    """The releases of a package that pin this torch exactly, oldest first: vllm for "2.14.0"."""
    torch = torch.partition("+")[0]
    rows = load_table("companions")["pins"]
    return tuple(
        version
        for name, version, pins in rows
        if name == package and pins.get("torch", "").partition("+")[0] == f"=={torch}"
    )


def xformers_build(version: str) -> XformersBuild | None:
    """What an xformers release was compiled with; None: unknown."""
    for release, torch, cuda in load_table("companions")["xformers"]:
        if release == version:
            return XformersBuild(torch, version_pair(cuda))
    return None


def bitsandbytes_cudas(version: str) -> tuple[tuple[int, int], ...] | None:
    """The CUDA releases that a bitsandbytes wheel has a library for; None: unknown."""
    for release, cudas in load_table("companions")["bitsandbytes"]:
        if release == version:
            return tuple(version_pair(cuda) for cuda in cudas)
    return None


def bitsandbytes_for(cuda: tuple[int, int]) -> str | None:
    """The newest bitsandbytes that has a library for a CUDA release; None: no release of the table has."""
    rows = load_table("companions")["bitsandbytes"]
    return next((release for release, cudas in reversed(rows) if f"{cuda[0]}.{cuda[1]}" in cudas), None)


def compiled_at_install(package: str) -> bool:
    """Whether releases of this package come as source that is compiled against the torch at hand (flash-attn)."""
    return package in load_table("companions")["compiled_at_install"]


def ptxas_of(triton: str) -> tuple[Ptxas, ...]:
    """The ptxas programs of a triton release; empty: unknown."""
    for row in load_table("triton")["releases"]:
        if row["triton"] == triton:
            return tuple(
                Ptxas(p["file"], version_pair(p["cuda"]), p["min"], p["max"], tuple(p["newer"])) for p in row["ptxas"]
            )
    return ()


def ptxas_used(triton: str, capability: tuple[int, int]) -> Ptxas | None:
    """The ptxas that triton calls for a GPU: ptxas-blackwell from compute capability 10.0 on, where it has one."""
    programs = {program.file: program for program in ptxas_of(triton)}
    if capability >= (10, 0) and "ptxas-blackwell" in programs:
        return programs["ptxas-blackwell"]
    return programs.get("ptxas")
