"""The cuDNN that was asked for with `fix --to cudnn=`, from the system's packages, for the CUDA that is here."""

import re
from collections.abc import Iterator, Mapping

from gpudoctor import Effort, Manual, Phase, Run, Step, Unavailable, fix
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.package_manager import exchange_versions, install, remove, upgrade
from gpudoctor.facts.package_offers import Offer
from gpudoctor.facts.package_order import dpkg_order
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.toolkits import CudaToolkits
from gpudoctor.facts.wanted import Request
from gpudoctor.knowledge.cuda import version_numbers
from gpudoctor.request_limits import cuda_major_for_cudnn, cudnn_obstacle, cudnn_serves_gpu

from ._driver_steps import lack_of_space
from ._ground import Ground
from ._last_proofs import with_proof
from ._offered import closure, sizes
from ._packaging import change, finish_first
from ._proofs import installed, installed_versions
from ._scope import by_hand_if_unsafe


@fix("bring-cudnn", cures=["request.cudnn"], effort=Effort.NEW_LIBRARY)
@by_hand_if_unsafe
def bring_cudnn(
    ground: Ground,
    toolkits: CudaToolkits | Unavailable,
    driver: DriverCuda | Unavailable,
    compute: ComputeGpus | Unavailable,
    pythons: PythonEnvironments | Unavailable,
    builds: FrameworkBuilds | Unavailable,
) -> Iterator[Step]:
    """Install library and headers of the cuDNN that was asked for, for one CUDA major."""
    request = ground.wanted.get("cudnn")
    if request is None:
        return
    major = cuda_major_for_cudnn(ground.wanted, toolkits, driver)
    if cudnn_obstacle(request, compute, major) is not None:
        return
    made = tuple(_cudnn(request, major, ground, compute, _wheels(pythons)))
    yield from with_proof(made, "cudnn", "", ground, builds)


def _wheels(pythons: PythonEnvironments | Unavailable) -> str:
    """A sentence on those who will not use it."""
    known = pythons.environments if isinstance(pythons, PythonEnvironments) else ()
    own = [f"{one.prefix} ({w.name} {w.version})" for one in known for w in one.having("nvidia-cudnn-cu") if one.in_use]
    if not own:
        return " Frameworks in Python environments bring their own, and use none of this one."
    return f" Python environments go on using their own: {', '.join(own[:3])}{' and others' if own[3:] else ''}."


def _cudnn(
    request: Request, major: int, ground: Ground, compute: ComputeGpus | Unavailable, wheels: str
) -> Iterator[Step]:
    if not major:
        yield Step(
            Manual("Ask for a toolkit along with it: `gpudoctor fix --to cuda=12.8 --to cudnn=9`."),
            "Each cuDNN is built for one CUDA major, and neither a toolkit nor a driver tells which one is meant.",
            Phase.SIMULATE,
        )
        return
    kind = ground.manager.kind
    if kind == "apt":
        yield from _by_apt(request, major, ground, compute, wheels)
        return
    fitting = [o for o in _offers_of(ground, "cudnn") if request.is_met_by(o.version.partition("-")[0])]
    if kind == "pacman" and fitting:
        argv: tuple[str, ...] = (*upgrade(ground.manager, ()), *install(ground.manager, ("cudnn",))[3:])
        names: tuple[str, ...] = ("cudnn",)
    elif kind in ("dnf", "zypper") and request.version.isdecimal() and request.version != "8":
        # Which version of it serves the GPU cannot be chosen without knowing what there is.
        if not _newest_serves(compute, major):
            yield _by_hand(request, major, "the newest one would not serve the GPU here")
            return
        names = (f"libcudnn{request.version}-cuda-{major}", f"libcudnn{request.version}-devel-cuda-{major}")
        argv = install(ground.manager, names)
    else:
        yield _by_hand(request, major, "which package brings just this version is not known")
        return
    yield from change(
        ground.manager,
        argv,
        f"cuDNN {request.version} for programs that are compiled here.{wheels}",
        installed(ground.manager, names),
        Run(remove(ground.manager, names)),
    )


def _by_apt(
    request: Request, major: int, ground: Ground, compute: ComputeGpus | Unavailable, wheels: str
) -> Iterator[Step]:
    wanted = _newest(request, major, ground, compute)
    if not wanted or isinstance(ground.offers, Unavailable):
        unknown = ground.offers if isinstance(ground.offers, Unavailable) else "no repository here offers it"
        yield _by_hand(request, major, str(unknown))
        return
    short = lack_of_space(ground, *sizes(wanted, ground.offers, ground.packages))
    if short is not None:
        yield short
        return
    versions: Mapping[str, str] = dict(closure(wanted, ground.offers))
    before = {p.name: p.version for p in ground.packages.installed() if p.name in versions}
    older = any(dpkg_order(version) > dpkg_order(versions[name]) for name, version in before.items())
    argv = exchange_versions(ground.manager, versions, older=older)
    new = tuple(name for name in versions if name not in before)
    back = exchange_versions(ground.manager, before, new, older=True, lean=True)
    if argv is None or back is None:
        return
    yield from finish_first(ground.manager, ground.packages)
    yield from change(
        ground.manager,
        argv,
        f"cuDNN {_release(wanted[0])} for CUDA {major}, library and headers of one release, for programs that are "
        f"compiled here.{wheels}",
        installed_versions(ground.manager, versions),
        Run(back) if before else Run(remove(ground.manager, tuple(versions))),
    )


def _newest(request: Request, major: int, ground: Ground, compute: ComputeGpus | Unavailable) -> tuple[Offer, ...]:
    """Library and headers of the newest release that is meant and serves a GPU that is here; () if there is none."""
    from gpudoctor.knowledge.cudnn import faulty_cudnn  # here for start-up: only requests ask

    number = request.version.partition(".")[0]
    suffix = f"-cuda-{major}" if number != "8" else ""
    library, headers = f"libcudnn{number}{suffix}", f"libcudnn{number}-dev{suffix}"
    known = [
        offer for offer in _offers_of(ground, library) if _is_for(offer, major) and request.is_met_by(_release(offer))
    ]
    gpus = [gpu for gpu in compute.gpus if gpu.capability] if isinstance(compute, ComputeGpus) else []
    for offer in reversed(known):
        version = version_numbers(offer.version)[:3]
        serves = not gpus or any(cudnn_serves_gpu(version, gpu.capability, major) for gpu in gpus)
        if not serves or faulty_cudnn(version):
            continue
        beside = [one for one in _offers_of(ground, headers) if one.version == offer.version]
        return (offer, *beside[:1])
    return ()


def _newest_serves(compute: ComputeGpus | Unavailable, major: int) -> bool:
    from gpudoctor.knowledge.cudnn import cudnn_wheels, wheel_release  # here for start-up: only requests ask

    known = cudnn_wheels(major)
    gpus = [gpu for gpu in compute.gpus if gpu.capability] if isinstance(compute, ComputeGpus) else []
    return (
        not known or not gpus or any(cudnn_serves_gpu(wheel_release(known[-1]), gpu.capability, major) for gpu in gpus)
    )


def _offers_of(ground: Ground, name: str) -> tuple[Offer, ...]:
    return () if isinstance(ground.offers, Unavailable) else ground.offers.of(name)


def _is_for(offer: Offer, major: int) -> bool:
    """Up to cuDNN 8 the CUDA stands in the version: "8.9.7.29-1+cuda12.2"."""
    told = re.search(r"\+cuda([0-9]+)\.", offer.version)
    return told is None or int(told[1]) == major


def _release(offer: Offer) -> str:
    """ "9.10.1" of "9.10.1.4-1"."""
    return ".".join(offer.version.partition("-")[0].split(".")[:3])


def _by_hand(request: Request, major: int, reason: str) -> Step:
    return Step(
        Manual(
            f"Add NVIDIA's repository for this system, fetch the lists anew, and ask again for cudnn={request.version} "
            f"(libcudnn{request.version.partition('.')[0]}-cuda-{major}). For a Python framework none is needed: its "
            "wheels bring cuDNN."
        ),
        f"cuDNN {request.version} for CUDA {major} cannot be planned: {reason}.",
        Phase.SIMULATE,
    )
