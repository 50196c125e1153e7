"""The build of a framework to put in place of the one that does not run here."""

from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.frameworks import FrameworkBuild
from gpudoctor.host import Unavailable
from gpudoctor.python.recommend import Choice, installed_in, recommend, target_of


def other_build(
    build: FrameworkBuild, driver: DriverCuda | Unavailable, gpus: ComputeGpus | Unavailable
) -> Choice | None:
    """The same release for another CUDA where there is one that fits, else the newest release that does."""
    target = target_of(build.environment, driver, gpus)
    installed = installed_in(build.environment)
    release = build.version.partition("+")[0] or build.distribution.release
    same = recommend(build.framework, target, release, installed=installed).best
    return same or recommend(build.framework, target, installed=installed).best
