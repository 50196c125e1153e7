"""Frameworks and CUDA libraries that fit the driver and each other, installed with the environment's own tool."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.python.library_wheels import missing_libraries, order_for
from gpudoctor.python.plain_words import environment_path
from gpudoctor.python.steps import reinstalled

from ._remedies import by_remedy
from ._scope import by_hand_if_unsafe


def _meant(findings: Findings, builds: FrameworkBuilds) -> Iterator[FrameworkBuild]:
    """The builds that the findings are about: each names environment and build."""
    meant = {(finding.environment, finding.subject) for _, finding in findings.items}
    return (build for build in builds.builds if (build.environment.prefix, build.words) in meant)


@fix(
    "install-fitting-build",
    cures=["cuda.driver-too-old", "cuda.ptx-newer-than-driver", "cuda.arch-unsupported-by-nvcc"],
    effort=Effort.PYTHON_PACKAGE,
)
@by_hand_if_unsafe
def install_fitting_build(
    findings: Findings, builds: FrameworkBuilds, driver: DriverCuda | Unavailable, gpus: ComputeGpus | Unavailable
) -> Iterator[Step]:
    """Put the build of the framework in place that this driver and these GPUs run."""
    from gpudoctor.python.other_builds import other_build  # here for start-up: it reads the tables of all frameworks

    for id, finding in findings.items:
        if id == "cuda.arch-unsupported-by-nvcc" and not finding.environment and any(_meant(findings, builds)):
            yield by_remedy(finding, "which toolkit is meant")
    for build in _meant(findings, builds):
        choice = other_build(build, driver, gpus)
        if choice is None:
            yield Step(
                Manual(f"Update the driver, or leave {build.framework} to another machine: no known build fits here."),
                f"{build.words} does not run here, and neither does any other build that the tables know.",
                Phase.AFTERWARDS,
                root=False,
            )
            continue
        names = [word.partition("[")[0].partition("=")[0] for word in choice.requirements]
        own = build.distribution.name
        yield from reinstalled(
            build.environment,
            install=choice.requirements,
            # Packages of several names are the same files: cupy-cuda12x in place of cupy-cuda13x.
            remove=() if own in names or build.framework == "jax" else (own,),
            index_url=choice.index_url,
            why=f"{build.words} does not run here: {choice.why}",
        )


@fix(
    "install-cuda-libraries", cures=["cuda.library-missing", "python.cuda-major-mismatch"], effort=Effort.PYTHON_PACKAGE
)
@by_hand_if_unsafe
def install_cuda_libraries(
    findings: Findings, builds: FrameworkBuilds, libraries: FrameworkLibraries, gpus: ComputeGpus | Unavailable
) -> Iterator[Step]:
    """Install the CUDA libraries that a framework needs beside it."""
    for build in _meant(findings, builds):
        missing = missing_libraries(build, libraries, gpus)
        if missing:
            requirements, index_url = order_for(build, missing)
            yield from reinstalled(
                build.environment,
                install=requirements,
                index_url=index_url,
                why=f"{build.words} needs {missing[0].soname}, and the loader finds none.",
            )


@fix("pin-conda-cuda", cures=["cuda.conda-toolkit-too-new"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def pin_conda_cuda(findings: Findings, pythons: PythonEnvironments, driver: DriverCuda | Unavailable) -> Iterator[Step]:
    """Take the CUDA of a conda environment back to what the driver serves."""
    meant = {finding.environment for _, finding in findings.items}
    if isinstance(driver, Unavailable) or driver.cuda is None:
        return
    for environment in pythons.environments:
        pinned = environment.conda_package("cudatoolkit", "cuda-version")
        if environment.prefix not in meant or pinned is None:
            continue
        prefix = environment_path(environment.prefix)
        wanted = f"cuda-version={driver.cuda[0]}.{driver.cuda[1]}"
        yield Step(
            Run(("conda", "install", "-y", "-p", prefix, wanted)),
            f"It holds CUDA {pinned.version}, and {driver.words} is too old for that. The exit status is the proof.",
            Phase.INSTALL,
            Risk.MEDIUM,
            root=environment.owner == 0,
            undo=Run(("conda", "install", "-y", "-p", prefix, f"{pinned.name}={_version(pinned.version)}")),
        )


def _version(text: str) -> str:
    from gpudoctor.facts.package_manager import UnsafeWord  # here: only this fix needs it

    if not text.replace(".", "").isalnum():
        raise UnsafeWord(f"{text!r} is no version")
    return text


@fix("explain-newer-driver", cures=["cuda.call-needs-newer-driver"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def explain_newer_driver(findings: Findings) -> Iterator[Step]:
    """Decide between a newer driver and an older build."""
    for _, finding in findings.items:
        yield by_remedy(finding, "which of the two may change")
