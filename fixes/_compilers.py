"""A compiler beside the system's own, for the nvcc of a toolkit that refuses newer ones."""

from gpudoctor import Manual, Phase, Step, Unavailable
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.system import OperatingSystem


def older_compiler(
    version: str, limit: int, compilers: HostCompilers | Unavailable, system: OperatingSystem | Unavailable
) -> Step:
    """Name one that nvcc accepts, up to gcc `limit`; install it first, if none is here. `version`: of nvcc."""
    able = [major for major in compilers.versions if major <= limit] if isinstance(compilers, HostCompilers) else []
    family = system.family if isinstance(system, OperatingSystem) else ""
    major = max(able, default=limit)
    package = {"debian": f"`sudo apt-get install g++-{major}`", "suse": f"`sudo zypper install gcc{major}-c++`"}
    first = "" if able else f"Install it first: {package.get(family, f'g++ {major} of your distribution')}. "
    return Step(
        Manual(f"{first}Put `export NVCC_CCBIN=/usr/bin/g++-{major}` into ~/.profile."),
        f"nvcc {version} accepts gcc up to {limit}; plain gcc can stay as it is for everything else.",
        Phase.AFTERWARDS,
        root=False,
    )
