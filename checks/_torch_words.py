"""The command that brings a torch which fits, in words, and what else it moves."""

from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.python.pins import TORCH_FAMILY, demands_of, fulfils
from gpudoctor.python.recommend import Recommendation


def remedy(build: FrameworkBuild, found: Recommendation) -> str:
    """ "Install torch 2.8.0 with CUDA 12.6: `...`." Where no build fits: why, and what would help."""
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it

    best = found.best
    if best is None:
        return f"No build of torch fits all of this. {' '.join(found.instead)}" if found.instead else _reason(found)
    try:
        command = instruction(build.environment, best.requirements, index_url=best.index_url)
    except UnsafeWord:
        command = f"{' '.join(best.requirements)}{f' from {best.index_url}' if best.index_url else ''}"
    what = f"torch {best.version} with CUDA {best.cuda[0]}.{best.cuda[1]}"
    return f"Install {what}: {command}.{_moved(build, best.version)}"


def _reason(found: Recommendation) -> str:
    if found.unknown:
        return f"Which build fits cannot be told: {found.unknown}; then `gpudoctor recommend torch` names the build."
    return f"No build of torch fits: {found.rejected[0].what}: {found.rejected[0].why}."


def _moved(build: FrameworkBuild, version: str) -> str:
    """The packages that pin the torch of today, where it is to be another release."""
    left = []
    for demand in demands_of(build.environment, "torch"):
        try:
            kept = fulfils(version, demand.specifiers)
        except ValueError:
            kept = True
        if not kept and demand.by.name not in TORCH_FAMILY:
            left.append(f"{demand.by.name} {demand.by.version} (torch{demand.specifiers})")
    if not left:
        return ""
    return f" What asks for another torch must change with it: {', '.join(left)}."
