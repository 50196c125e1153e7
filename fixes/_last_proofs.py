"""The last steps of a request: which frameworks have to be installed anew, and that the GPU trains."""

from collections.abc import Iterator, Sequence

from gpudoctor import NOTHING_TO_UNDO, Manual, Phase, Run, Step, Unavailable
from gpudoctor.compatibility import Fit, driver_runs
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.facts.wanted import Wanted
from gpudoctor.python.steps import reinstalled

from ._driver_steps import is_by_hand
from ._ground import Ground
from ._scope import file_path

_ORDER = ("driver", "cuda", "cudnn")


def with_proof(
    steps: Sequence[Step], kind: str, driver: str, ground: Ground, builds: FrameworkBuilds | Unavailable
) -> Iterator[Step]:
    """These steps of a request, and in the end `gpudoctor bench`; where it cannot be run, the last step says so.

    `driver`: the version or branch that comes, "" where none does. Only the last of several requests is proved, and
    nothing is where a person has to act first. Raises UnsafeWord.
    """
    tried = ground.kernel.running and (isinstance(ground.gpus, Unavailable) or bool(ground.own_gpus))
    if not steps or is_by_hand(steps) or not tried or not _is_last(kind, ground.wanted):
        yield from steps
        return
    frameworks = _frameworks(builds, driver)
    own = ground.own
    if isinstance(own, OwnInstallation) and own.program and own.cupy:
        yield from steps
        yield Step(
            Run((file_path(own.program), "bench", "--quick")),
            f"Small nets are trained on the GPU, which proves more than any version number.{frameworks} Its exit "
            "status is the proof.",
            Phase.AFTERWARDS,
            root=False,
            undo=NOTHING_TO_UNDO,
        )
        return
    last = max(range(len(steps)), key=lambda number: (steps[number].phase, number))
    words = (
        f"{frameworks} Whether the GPU trains `gpudoctor bench` would prove, had it CuPy (its extra cuda12 or cuda13)."
    )
    for number, step in enumerate(steps):
        yield step._replace(why=step.why + words) if number == last else step


def _is_last(kind: str, wanted: Wanted) -> bool:
    return [request.kind for request in sorted(wanted.requests, key=lambda one: _ORDER.index(one.kind))][-1:] == [kind]


def framework_steps(
    driver: str, builds: FrameworkBuilds | Unavailable, gpus: ComputeGpus | Unavailable
) -> Iterator[Step]:
    """Install builds for another CUDA where a framework that runs now would not with this driver. Raises UnsafeWord."""
    from gpudoctor.python.other_builds import other_build  # here for start-up: it reads the tables

    for build in _too_new_for(driver, builds):
        choice = other_build(build, DriverCuda(driver, None, "what was asked for"), gpus)
        why = f"{build.words} in {build.environment.prefix} is built for {build.cuda_words}, which driver {driver} "
        if choice is not None:
            why += f"does not run; this build it does. {choice.why}"
            install, index = choice.requirements, choice.index_url
            yield from reinstalled(build.environment, install=install, index_url=index, why=why)
        else:
            yield Step(
                Manual(f"Install a {build.framework} for an older CUDA; `gpudoctor recommend` says which fit."),
                f"{why}does not run, and no known build fits in its place.",
                Phase.AFTERWARDS,
                root=False,
            )


def _too_new_for(driver: str, builds: FrameworkBuilds | Unavailable) -> tuple[FrameworkBuild, ...]:
    """The builds in use that a driver does not run."""
    return tuple(build for build in _used(builds) if build.cuda and driver_runs(driver, build.cuda) is Fit.TOO_OLD)


def _used(builds: FrameworkBuilds | Unavailable) -> tuple[FrameworkBuild, ...]:
    known = builds.builds if isinstance(builds, FrameworkBuilds) else ()
    return tuple(build for build in known if build.environment.in_use and build.cuda)


def _frameworks(builds: FrameworkBuilds | Unavailable, driver: str) -> str:
    """A sentence on what becomes of them, "" where there are none."""
    used, anew = _used(builds), _too_new_for(driver, builds) if driver else ()
    if anew:
        return f" {len(anew)} of {len(used)} frameworks had to be installed anew."
    if used:
        return (
            f" No framework has to be installed anew: {', '.join(build.words for build in used[:4])} "
            f"{'bring their' if len(used) > 1 else 'brings its'} own CUDA, which a newer driver runs as well."
        )
    return ""
