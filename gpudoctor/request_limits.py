"""What forbids to fulfil a request on this machine: it would leave a GPU without a driver, or be of no use to it.

Pure functions over facts and tables, which the checks of requests and the fixes for them ask alike.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.compatibility import Coverage, Fit, coverage, driver_runs
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.driver_sets import makers
from gpudoctor.facts.driver_version import version_key
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import GIVEN_AWAY, PciGpu, PciGpus
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.toolkits import CudaToolkits
from gpudoctor.facts.wanted import Request, Wanted
from gpudoctor.host import Unavailable
from gpudoctor.knowledge.cuda import minimum_driver, nvcc_support, version_numbers, version_pair


class Obstacle(NamedTuple):
    """Why a request is not fulfilled, and what to do instead: a sentence each."""

    reason: str
    advice: str


def driver_obstacle(
    request: Request,
    gpus: PciGpus | Unavailable,
    confinement: Confinement | Unavailable,
    packages: Packages | Unavailable,
    archive: RequestedRunfile | Unavailable,
) -> Obstacle | None:
    """The first that is in the way of a driver; None: nothing is known to be."""
    own = tuple(gpu for gpu in gpus.gpus if gpu.driver not in GIVEN_AWAY) if isinstance(gpus, PciGpus) else ()
    found = (
        *_confined(confinement),
        *_by_gpus(request.version, own),
        *_by_packages(request, packages, archive),
    )
    return next(iter(found), None)


def serves_gpus(version: str, gpus: tuple[PciGpu, ...]) -> bool:
    """Is no GPU known that a driver of this version or branch would leave without one?"""
    return not any(_by_gpus(version, gpus))


def _confined(confinement: Confinement | Unavailable) -> Iterator[Obstacle]:
    if isinstance(confinement, Confinement) and (confinement.wsl or confinement.container):
        where = "WSL, where the driver is the one of Windows" if confinement.wsl else f"a {confinement.container} "
        where += "" if confinement.wsl else "container, where the driver is the host's"
        yield Obstacle(f"This is {where}.", "Ask for the driver there.")


def _by_gpus(version: str, gpus: tuple[PciGpu, ...]) -> Iterator[Obstacle]:
    branch, exact = int(version.partition(".")[0]), "." in version
    for gpu in gpus:
        if gpu.last_branch is not None and gpu.last_branch < branch:
            yield Obstacle(
                f"Driver {version} would ignore {gpu.label} ({gpu.address}): branch {gpu.last_branch} is the last "
                "that serves it.",
                f"Ask for driver={gpu.last_branch} or an older one.",
            )
        first = version_key(gpu.first_driver)
        if first and (version_key(version) < first if exact else branch < first[0]):
            yield Obstacle(
                f"Driver {version} does not know {gpu.label} ({gpu.address}): {gpu.first_driver} is the first that "
                "lists it.",
                f"Ask for driver={first[0]} or a newer one.",
            )
    flavours = {gpu.module for gpu in gpus if gpu.module in ("open-only", "proprietary-only")}
    if len(flavours) > 1:
        names = ", ".join(f"{gpu.label} ({gpu.address}): {gpu.module}" for gpu in gpus if gpu.module in flavours)
        yield Obstacle(
            f"No driver serves all GPUs here, for they need different kernel modules ({names}).",
            "Decide for one, and take the other out or keep it for a virtual machine.",
        )


def _by_packages(
    request: Request, packages: Packages | Unavailable, archive: RequestedRunfile | Unavailable
) -> Iterator[Obstacle]:
    yield from _by_archive(request, archive)
    if isinstance(packages, Unavailable):
        return
    members = driver_packages(packages)
    if request.runfile and members:
        names = ", ".join(member.name for member in members[:4]) + (" and others" if len(members) > 4 else "")
        yield Obstacle(
            f"The driver here is the one of packages ({names}): a .run file over them would be undone by the next "
            "upgrade, in parts.",
            f"Ask for {request.text} without --runfile, or remove these packages first.",
        )
    elif len(found := makers(packages)) > 1:
        yield Obstacle(
            f"The driver's packages here are of several makers ({', '.join(sorted(found))}), and a new one would mix "
            "with both.",
            "Put that in order first: `gpudoctor fix` without --to.",
        )


def _by_archive(request: Request, archive: RequestedRunfile | Unavailable) -> Iterator[Obstacle]:
    if not request.runfile:
        return
    if isinstance(archive, Unavailable):
        yield Obstacle(f"What {request.runfile} is cannot be told: {archive}.", "Make it readable first.")
    elif archive.problem:
        yield Obstacle(archive.problem, f"Name a .run file of {request.words} for this machine.")


def cuda_obstacle(
    request: Request,
    wanted: Wanted,
    gpus: ComputeGpus | Unavailable,
    cards: PciGpus | Unavailable,
    driver: DriverCuda | Unavailable,
    confinement: Confinement | Unavailable,
    archive: RequestedRunfile | Unavailable,
) -> Obstacle | None:
    """The first that is in the way of a toolkit; None: nothing is known to be."""
    found = (
        *_by_archive(request, archive),
        *_beside_driver(request, wanted),
        *_without_code(request, gpus),
        *_without_driver(request, cards, driver, confinement),
    )
    return next(iter(found), None)


def _beside_driver(request: Request, wanted: Wanted) -> Iterator[Obstacle]:
    """The driver that is asked for along with it is too old."""
    driver, release = wanted.get("driver"), version_pair(request.version)
    minimum = minimum_driver(release)
    if driver is not None and minimum is not None and driver_runs(driver.version, release) is Fit.TOO_OLD:
        yield Obstacle(
            f"CUDA {request.version} needs driver {minimum.version} or newer, and driver {driver.version} is asked for "
            "too.",
            f"Ask for driver={minimum.version.partition('.')[0]} or a newer one.",
        )


def _without_code(request: Request, gpus: ComputeGpus | Unavailable) -> Iterator[Obstacle]:
    """A toolkit that builds for none of the GPUs; where there are several, one is enough."""
    release = version_pair(request.version)
    known = nvcc_support(release)
    cards = [gpu for gpu in gpus.distinct if gpu.capability] if isinstance(gpus, ComputeGpus) else []
    if known is None or not cards:
        return
    oldest = f"compute_{known.architectures[0].removeprefix('sm_').rstrip('af')}"
    words = (*known.architectures, oldest)  # PTX for the oldest runs on every later one
    if all(gpu.capability and coverage(words, gpu.capability) is Coverage.NONE for gpu in cards):
        yield Obstacle(
            f"CUDA {request.version} builds for no GPU that is here: {', '.join(gpu.words for gpu in cards)}.",
            _builds_for(cards[0].capability),
        )


def _builds_for(capability: tuple[int, int] | None) -> str:
    from gpudoctor.knowledge.cuda import last_cuda  # here for start-up: only where a request is refused

    last = last_cuda(capability) if capability else None
    return f"CUDA {last[0]}.{last[1]} is the last that does: ask for cuda={last[0]}.{last[1]}." if last else ""


def _without_driver(
    request: Request,
    cards: PciGpus | Unavailable,
    driver: DriverCuda | Unavailable,
    confinement: Confinement | Unavailable,
) -> Iterator[Obstacle]:
    release = version_pair(request.version)
    minimum = minimum_driver(release)
    if minimum is None:
        return
    own = [gpu for gpu in cards.gpus if gpu.driver not in GIVEN_AWAY] if isinstance(cards, PciGpus) else []
    for gpu in own:
        if gpu.last_branch is not None and gpu.last_branch < version_numbers(minimum.version)[0]:
            yield Obstacle(
                f"CUDA {request.version} needs driver {minimum.version} or newer, and branch {gpu.last_branch} is the "
                f"last that serves {gpu.label} ({gpu.address}).",
                "Ask for an older CUDA.",
            )
    fit = driver_runs(driver.driver, release) if isinstance(driver, DriverCuda) else Fit.UNKNOWN
    if fit is Fit.TOO_OLD and any(_confined(confinement)):
        yield Obstacle(
            f"CUDA {request.version} needs driver {minimum.version} or newer; the host's is older, and cannot be "
            "changed from here.",
            "Ask for an older CUDA, or for the driver on the host.",
        )


def cuda_major_for_cudnn(wanted: Wanted, toolkits: CudaToolkits | Unavailable, driver: DriverCuda | Unavailable) -> int:
    """The CUDA major that a cuDNN is to go with: of the toolkit that is asked for, else of the one that is here, else
    of the driver's own level; 0 if nothing tells.
    """
    toolkit = wanted.get("cuda")
    if toolkit is not None:
        return version_numbers(toolkit.version)[0]
    link = toolkits.default_link if isinstance(toolkits, CudaToolkits) else None
    known = (link.toolkit,) if link else toolkits.toolkits if isinstance(toolkits, CudaToolkits) else ()
    releases = [one.release for one in known if one is not None and one.release is not None]
    if releases:
        return max(releases)[0]
    return driver.cuda[0] if isinstance(driver, DriverCuda) and driver.cuda else 0


def cudnn_obstacle(request: Request, gpus: ComputeGpus | Unavailable, cuda_major: int) -> Obstacle | None:
    """Why this cuDNN would be of no use; None: nothing is known to be in the way."""
    from gpudoctor.knowledge.cudnn import faulty_cudnn  # here for start-up: only requests ask

    version = version_numbers(request.version)
    fault = faulty_cudnn(version) if len(version) == 3 else ""
    if fault:
        return Obstacle(f"cuDNN {request.version} is known to be faulty ({fault}).", "Ask for another release.")
    cards = [gpu for gpu in gpus.distinct if gpu.capability] if isinstance(gpus, ComputeGpus) else []
    if len(version) > 1 and cards and not any(cudnn_serves_gpu(version, g.capability, cuda_major) for g in cards):
        return Obstacle(
            f"cuDNN {request.version} for CUDA {cuda_major} serves no GPU that is here: "
            f"{', '.join(gpu.words for gpu in cards)}.",
            "Ask for an older one: cudnn=9 chooses the newest that serves it.",
        )
    return None


def cudnn_serves_gpu(version: tuple[int, ...], capability: tuple[int, int] | None, cuda_major: int) -> bool:
    """Is a cuDNN release not known to have no code for a GPU?"""
    from gpudoctor.knowledge.cudnn import cudnn_line  # here for start-up: only requests ask

    line = cudnn_line(version)
    least = line.minimum_capability(cuda_major) if line else None
    return line is None or capability is None or (least is not None and least <= capability)
