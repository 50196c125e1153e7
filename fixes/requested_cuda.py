"""The CUDA toolkit that was asked for with `fix --to cuda=`: a newer driver first if it needs one, then the toolkit,
the link that guides and build scripts name, and nvcc as proof.
"""

import re
from collections.abc import Iterator

from gpudoctor import NOTHING_TO_UNDO, Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.compatibility import Fit, driver_runs
from gpudoctor.facts.compilers import HostCompilers, NvccHostCompiler
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.driver_packages import driver_packages, maker_of
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.package_manager import exchange_versions, install, remove, upgrade
from gpudoctor.facts.package_offers import Offer
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit
from gpudoctor.facts.wanted import Request
from gpudoctor.knowledge.cuda import branch_of, minimum_driver, nvcc_support, version_pair
from gpudoctor.request_limits import cuda_obstacle, serves_gpus

from ._compilers import older_compiler
from ._driver_choice import Choice, branches_offered, choose
from ._driver_steps import driver_by_packages, is_by_hand, lack_of_space
from ._ground import Ground
from ._last_proofs import framework_steps, with_proof
from ._offered import sizes
from ._packaging import change, finish_first
from ._proofs import installed, installed_versions, there
from ._runfiles import checked, run
from ._scope import by_hand_if_unsafe
from .requested_runfile import has_room, no_room, temporary

_LINK = "/usr/local/cuda"
# Debian's and Ubuntu's package has NVIDIA's number of nvcc first, then the release: "12.4.131~12.4.1-2".
_DISTRIBUTION = re.compile(r"[0-9.]+~([0-9]+\.[0-9]+\.[0-9]+)")


@fix("bring-cuda", cures=["request.cuda"], effort=Effort.NEW_TOOLKIT)
@by_hand_if_unsafe
def bring_toolkit(
    ground: Ground,
    toolkits: CudaToolkits,
    driver: DriverCuda | Unavailable,
    compute: ComputeGpus | Unavailable,
    builds: FrameworkBuilds | Unavailable,
    compiler: NvccHostCompiler | Unavailable,
    compilers: HostCompilers | Unavailable,
) -> Iterator[Step]:
    """Install the toolkit that was asked for beside others, without the driver that NVIDIA's `cuda` drags along."""
    request = ground.wanted.get("cuda")
    if request is None:
        return
    obstacle = cuda_obstacle(request, ground.wanted, compute, ground.gpus, driver, ground.confinement, ground.archive)
    if obstacle is not None:
        return
    branch = _branch_first(request, driver, ground)
    first: tuple[Step, ...] = ()
    if branch:
        first = tuple(driver_by_packages(branch, ground))
        if is_by_hand(first):
            yield from first
            return
        first = (*first, *framework_steps(branch, builds, compute))
    ours = [one for one in toolkits.toolkits if one.nvcc and one.origin in ("local", "distribution")]
    present = next((one for one in ours if request.is_met_by(one.version)), None)
    made = tuple(_toolkit(request, ground)) if present is None else ()
    if made and is_by_hand(made):
        yield from (*first, *made)
        return
    packaged = _is_distribution(request, ground) if present is None else present.origin == "distribution"
    link = () if packaged else _link(request, toolkits, present)
    advice = _compiler(request, compiler, compilers, ground)
    steps = (*first, *made, *link, *advice, _nvcc(request, packaged=packaged))
    yield from with_proof(steps, "cuda", branch, ground, builds)


def _branch_first(request: Request, driver: DriverCuda | Unavailable, ground: Ground) -> str:
    """The branch of the driver that has to come first; "" where the one here runs this CUDA, or nobody needs one.

    Of those that can be had here the lowest that serves this CUDA natively, else the highest that runs it.
    """
    release = version_pair(request.version)
    if ground.wanted.get("driver") is not None:
        return ""
    here = driver.driver if isinstance(driver, DriverCuda) else ""
    if (not here and not ground.own_gpus) or (here and driver_runs(here, release) is not Fit.TOO_OLD):
        return ""
    native, minimum = branch_of(release), minimum_driver(release)
    offered = [b for b in branches_offered(ground) if driver_runs(str(b), release) is Fit.RUNS]
    fitting = [branch for branch in offered if serves_gpus(str(branch), ground.own_gpus)]
    natively = [branch for branch in fitting if native is not None and branch >= native]
    order = [*sorted(natively), *(branch for branch in fitting if branch not in natively)]
    whole = (str(branch) for branch in order if isinstance(choose(str(branch), ground), Choice))
    if order:
        return next(whole, str(order[0]))
    return str(native) if native is not None else minimum.version.partition(".")[0] if minimum else ""


def _toolkit(request: Request, ground: Ground) -> Iterator[Step]:
    if request.runfile:
        yield from _by_runfile(request, ground)
        return
    match ground.manager.kind:
        case "apt":
            yield from _by_apt(request, ground)
        case "dnf" | "zypper":
            yield from _by_name(request, ground)
        case "pacman" if _offers(request, ground, "cuda"):
            yield from change(
                ground.manager,
                (*upgrade(ground.manager, ()), *install(ground.manager, ("cuda",))[3:]),
                "Arch has one CUDA, and is upgraded as a whole; it lies in /opt/cuda.",
                installed(ground.manager, ("cuda",)),
                Run(remove(ground.manager, ("cuda",))),
            )
        case _:
            yield _by_hand(request, ground)


def _by_runfile(request: Request, ground: Ground) -> Iterator[Step]:
    """The toolkit alone: the driver in the same file is of no use where packages bring one, and older than they."""
    if not has_room(ground.archive):
        yield no_room(ground.archive)
        return
    folder = _folder(request)
    doubt = (
        "" if ground.archive.version_source != "its name" else " Which release it is only its name says, until then."
    )
    yield checked(ground.archive.path)
    yield Step(
        Run(run(ground.archive.path, "--silent", "--toolkit", *temporary(ground.archive))),
        f"NVIDIA's installer puts the toolkit {ground.archive.version} into {folder}, without the driver that is in "
        f"the file as well.{doubt}",
        Phase.INSTALL,
        Risk.MEDIUM,
        verify=there(f"{folder}/bin/nvcc"),
        undo=Run((f"{folder}/bin/cuda-uninstaller", "--silent")),
    )


def _by_apt(request: Request, ground: Ground) -> Iterator[Step]:
    name = _package(request)
    offer = next(iter(_offers(request, ground, name)), None) or _of_distribution(request, ground)
    if offer is None or isinstance(ground.offers, Unavailable):
        yield _by_hand(request, ground)
        return
    if offer.name != name and ((ground.runfile.paths and not driver_packages(ground.packages)) or _is_foreign(ground)):
        yield Step(
            Manual(f"Take the toolkit from NVIDIA: add its repository, or name its file with --runfile ({name})."),
            f"{offer.maker}'s {offer.name} brings {offer.maker}'s libcuda1 along, and the driver here is not "
            f"{offer.maker}'s.",
            Phase.SIMULATE,
        )
        return
    short = lack_of_space(ground, *sizes((offer,), ground.offers, ground.packages))
    if short is not None:
        yield short
        return
    wanted = {offer.name: offer.version}
    # What the distribution's recommends is a whole driver, and NVIDIA's own needs nothing but what it depends on.
    argv = exchange_versions(ground.manager, wanted, lean=True)
    if argv is None:
        return
    yield from finish_first(ground.manager, ground.packages)
    yield from change(
        ground.manager,
        argv,
        f"{offer.maker or 'The repository'} has CUDA {request.version} in this package, which drags no kernel module "
        "along; other toolkits stay beside it.",
        installed_versions(ground.manager, wanted),
        Run(remove(ground.manager, (offer.name,))),
    )


def _by_name(request: Request, ground: Ground) -> Iterator[Step]:
    """dnf and zypper alone can say whether NVIDIA's repository is there: their trial does."""
    name = _package(request)
    exact = request.version.count(".") > 1
    argv = exchange_versions(ground.manager, {name: request.version}) if exact else install(ground.manager, (name,))
    if argv is None:
        yield _by_hand(request, ground)
        return
    yield from change(
        ground.manager,
        argv,
        f"NVIDIA's repository has CUDA {request.version} in {name}, without a driver; where the trial does not find "
        "it, that repository is missing here.",
        installed(ground.manager, (name,)),
        Run(remove(ground.manager, (name,))),
    )


def _by_hand(request: Request, ground: Ground) -> Step:
    reason = f" ({ground.manager.reason})" if ground.manager.reason else ""
    return Step(
        Manual(
            f"Add NVIDIA's repository for this system, fetch the lists anew, and ask again; or download NVIDIA's file "
            f"for CUDA {request.version} and name it with --runfile."
        ),
        f"No repository here is known to have CUDA {request.version}{reason}.",
        Phase.SIMULATE,
    )


def _package(request: Request) -> str:
    """NVIDIA's without a driver: "cuda-toolkit-12-8"."""
    release = version_pair(request.version)
    return f"cuda-toolkit-{release[0]}-{release[1]}"


def _folder(request: Request) -> str:
    release = version_pair(request.version)
    return f"{_LINK}-{release[0]}.{release[1]}"


def _offers(request: Request, ground: Ground, name: str) -> tuple[Offer, ...]:
    """Those of NVIDIA's package that are meant, the newest first."""
    known = () if isinstance(ground.offers, Unavailable) else ground.offers.of(name)[::-1]
    return tuple(o for o in known if request.is_met_by(o.version.rpartition(":")[2].partition("-")[0]))


def _of_distribution(request: Request, ground: Ground) -> Offer | None:
    known = () if isinstance(ground.offers, Unavailable) else ground.offers.of("nvidia-cuda-toolkit")[::-1]
    for offer in known:
        release = _DISTRIBUTION.match(offer.version)
        if release and request.is_met_by(release[1]):
            return offer
    return None


def _is_distribution(request: Request, ground: Ground) -> bool:
    """Does the toolkit come to /usr or /opt, so that no link leads to it?"""
    if request.runfile or ground.manager.kind in ("dnf", "zypper"):
        return False
    return ground.manager.kind == "pacman" or not _offers(request, ground, _package(request))


def _is_foreign(ground: Ground) -> bool:
    """Is the driver here NVIDIA's own?"""
    return any(maker_of(member.package) == "NVIDIA" for member in driver_packages(ground.packages))


def _link(request: Request, toolkits: CudaToolkits, present: Toolkit | None) -> Iterator[Step]:
    folder, link = _folder(request) if present is None else present.folder, toolkits.default_link
    before = link.links[-1][1] if link and link.links else ""
    if link is not None and link.real_folder == folder:
        return
    if link is not None and not link.links:
        yield Step(
            Manual(f"Move {_LINK} out of the way and lead it to the toolkit: `ln -s {folder} {_LINK}` as root."),
            f"{_LINK} is a folder of its own, and guides and build scripts take what is in it.",
            Phase.CONFIGURE,
        )
        return
    through = link is None or link.links[0][1].startswith("/etc/alternatives/")
    if through and not request.runfile and (present is None or link is not None):
        back = Run(("update-alternatives", "--auto", "cuda"))
        argv: tuple[str, ...] = ("update-alternatives", "--set", "cuda", folder)
    else:
        argv = ("ln", "-sfn", folder, _LINK)
        back = Run(("ln", "-sfn", before, _LINK)) if before.startswith("/") else Run(("unlink", _LINK))
    leads = f"leads to {before} now" if before else "leads nowhere yet"
    yield Step(
        Run(argv),
        f"{_LINK}, which guides and build scripts name, {leads}.",
        Phase.CONFIGURE,
        Risk.LOW,
        verify=Run(("test", _LINK, "-ef", folder)),
        undo=back,
    )


def _compiler(
    request: Request, compiler: NvccHostCompiler | Unavailable, compilers: HostCompilers | Unavailable, ground: Ground
) -> Iterator[Step]:
    known = nvcc_support(version_pair(request.version))
    if known is None or isinstance(compiler, Unavailable) or compiler.family != "gcc" or compiler.major is None:
        return
    if compiler.major > known.gcc_max_major:
        yield older_compiler(request.version, known.gcc_max_major, compilers, ground.system)


def _nvcc(request: Request, *, packaged: bool) -> Step:
    nvcc = "nvcc" if packaged else f"{_folder(request)}/bin/nvcc"
    path = "" if packaged else f" For a shell to find it: `export PATH={_LINK}/bin:$PATH` in ~/.profile."
    return Step(
        Run((nvcc, "-V")),
        f"nvcc says which release it is.{path} Its exit status is the proof.",
        Phase.AFTERWARDS,
        root=False,
        undo=NOTHING_TO_UNDO,
    )
