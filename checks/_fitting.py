"""What to do about a build of a framework that does not run here: the command that brings one which does."""

from gpudoctor import Unavailable
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.facts.package_manager import UnsafeWord


def other_build(build: FrameworkBuild, driver: DriverCuda | Unavailable, gpus: ComputeGpus | Unavailable) -> str:
    """The remedy; where nothing fits, how to find out what would."""
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need them
    from gpudoctor.python.other_builds import other_build as choose

    choice = choose(build, driver, gpus)
    if choice is not None:
        try:
            command = instruction(build.environment, choice.requirements, index_url=choice.index_url)
        except UnsafeWord:
            pass
        else:
            return f"Install the build that fits: {command}."
    if (
        isinstance(driver, DriverCuda)
        and not isinstance(gpus, Unavailable)
        and not all(g.capability for g in gpus.gpus)
    ):
        command = f"gpudoctor recommend {build.framework} --driver {driver.driver} --gpu NAME"
        return f"A build for an older CUDA, or a newer driver. Which build it is, `{command}` says."
    return (
        f"No known build of {build.framework} fits here as it is; `gpudoctor recommend {build.framework}` says why, "
        "and which driver would change that."
    )
