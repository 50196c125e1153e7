"""Give a framework the cuDNN or NCCL again that it was built with, and a GPU the cuDNN that still serves it."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Step, Unavailable, fix
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.framework_cudnn import FrameworkCudnns, FrameworkNccls
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import Found
from gpudoctor.python.other_builds import other_build
from gpudoctor.python.steps import reinstalled
from gpudoctor.python.wheel_pins import pin_of, served_cudnn, wanted_cudnn

from ._scope import by_hand_if_unsafe

_LIBRARY_PATH = "LD_LIBRARY_PATH"


@fix(
    "reinstall-cudnn",
    cures=["cudnn.version-mismatch", "cudnn.sublibrary-mix", "cudnn.library-missing"],
    effort=Effort.PYTHON_PACKAGE,
)
@by_hand_if_unsafe
def reinstall_cudnn(
    findings: Findings,
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    cudnns: FrameworkCudnns,
    gpus: ComputeGpus | Unavailable,
) -> Iterator[Step]:
    """Install the cuDNN wheel that the framework asks for, in place of the one that is there."""
    mixed = {(f.environment, f.subject) for id, f in findings.items if id == "cudnn.sublibrary-mix"}
    for build in _meant(findings, builds):
        one = next((one for one in cudnns.cudnns if one.build == build), None)
        use = libraries.get(build, "libcudnn.so.")
        wrong = () if one is None else one.parts if (build.environment.prefix, build.words) in mixed else (one.acting,)
        leading = [part.found for part in wrong if part.found.by == _LIBRARY_PATH]
        if leading:
            yield _take_out(build, leading, "cuDNN")
        elif use is not None:
            number = use.soname.rpartition(".")[2]
            wanted = wanted_cudnn(build, _capabilities(gpus), int(number) if number.isdecimal() else 0)
            if wanted:
                why = f"{build.words} was built with this cuDNN, and finds it in the folder of the wheel."
                yield from reinstalled(build.environment, install=(wanted,), remove=_there(build, "cudnn"), why=why)


@fix("older-cudnn", cures=["cudnn.gpu-unsupported"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def older_cudnn(
    findings: Findings, builds: FrameworkBuilds, driver: DriverCuda | Unavailable, gpus: ComputeGpus
) -> Iterator[Step]:
    """Install the last cuDNN that serves this GPU, or a build of the framework that comes with it."""
    lowest = min(_capabilities(gpus), default=None)
    for build in _meant(findings, builds):
        served = served_cudnn(build, lowest) if lowest else ""
        if served:
            why = f"It is the last cuDNN that serves this GPU, and {build.words} works with it."
            yield from reinstalled(build.environment, install=(served,), why=why)
            continue
        choice = other_build(build, driver, gpus)
        if choice is not None:
            why = f"{build.words} asks for a cuDNN without code for this GPU; this build works with an older one."
            yield from reinstalled(build.environment, install=choice.requirements, index_url=choice.index_url, why=why)


@fix("reinstall-nccl", cures=["nccl.shadowed"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def reinstall_nccl(findings: Findings, builds: FrameworkBuilds, nccls: FrameworkNccls) -> Iterator[Step]:
    """Install the NCCL wheel that the framework asks for, so that no older library is taken."""
    for build in _meant(findings, builds):
        found = [one.use.found for one in nccls.nccls if one.build == build and one.use.found]
        leading = [one for one in found if one.by == _LIBRARY_PATH]
        pin = pin_of(build, "nvidia-nccl")
        if leading:
            yield _take_out(build, leading, "NCCL")
        elif pin is not None:
            why = f"{build.words} was built with this NCCL, and finds it in the folder of the wheel."
            yield from reinstalled(build.environment, install=(pin.requirement,), remove=_there(build, "nccl"), why=why)


@fix("match-cudnn-header", cures=["cudnn.header-mismatch"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def match_cudnn_header(findings: Findings) -> Iterator[Step]:
    """Choose one release of cuDNN for header and library."""
    for id, finding in findings.items:
        if id == "cudnn.header-mismatch":
            why = "Only who compiles here knows which of the two releases is meant."
            yield Step(Manual(finding.remedy), why, Phase.AFTERWARDS)


@fix("correct-nccl-settings", cures=["nccl.init-failed"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def correct_nccl_settings(findings: Findings) -> Iterator[Step]:
    """Take back a setting of NCCL that names a network which is not here."""
    for id, finding in findings.items:
        if id == "nccl.init-failed":
            why = "What sets the variable may be meant for another machine, and a person must tell."
            yield Step(Manual(finding.remedy), why, Phase.AFTERWARDS, root=False)


def _meant(findings: Findings, builds: FrameworkBuilds) -> tuple[FrameworkBuild, ...]:
    """The builds that the findings are about, each once."""
    asked = {(finding.environment, finding.subject) for _, finding in findings.items}
    return tuple(one for one in builds.builds if (one.environment.prefix, one.words) in asked)


def _take_out(build: FrameworkBuild, leading: list[Found], library: str) -> Step:
    folders = " and ".join(dict.fromkeys(found.path.rpartition("/")[0] for found in leading))
    return Step(
        Manual(f"Take {folders} out of {_LIBRARY_PATH}, where it is set, and log in anew."),
        f"{build.words} would take its {library} from there; it brings its own.",
        Phase.AFTERWARDS,
        root=False,
    )


def _there(build: FrameworkBuild, library: str) -> tuple[str, ...]:
    """The wheels of a library that lie in the folder where the framework looks."""
    return tuple(
        one.name
        for one in build.environment.having(f"nvidia-{library}-cu")
        if one.name.removeprefix(f"nvidia-{library}-cu").isdecimal()
    )


def _capabilities(gpus: ComputeGpus | Unavailable) -> tuple[tuple[int, int], ...]:
    known = gpus.gpus if isinstance(gpus, ComputeGpus) else ()
    return tuple(gpu.capability for gpu in known if gpu.capability)
