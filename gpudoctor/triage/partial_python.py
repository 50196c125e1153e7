"""The facts of the Python environment that a text states: packages, builds, wheels that collide."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations

from gpudoctor.facts.cuda_release import release_in, release_in_tag
from gpudoctor.facts.deep import DeepTrials, FrameworkTrial
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds, framework_builds
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.facts.wheel_files import Collision, WheelFiles
from gpudoctor.host import Host, Unavailable
from gpudoctor.knowledge.torch import default_build, older_default, variants
from gpudoctor.triage.shown import NOT_SAID, Shown, Stated, line_of


def python_facts(host: Host, shown: Shown) -> Mapping[type, object]:
    """By type. Nothing is known where no package was named."""
    environment = _environment(shown)
    if environment is None:
        return {}
    pythons = PythonEnvironments((environment,))
    return {
        PythonEnvironments: pythons,
        FrameworkBuilds: _builds(host, shown, pythons),
        WheelFiles: WheelFiles(tuple(_collisions(environment)), (), ()),
        DeepTrials: _seen_at_work(shown),
    }


def _collisions(environment: PythonEnvironment) -> Iterator[Collision]:
    """Two that bring the same files cannot both be whole; which one is, nobody can tell from their names."""
    from gpudoctor.knowledge.wheels import collision_families, shared_count, shared_files

    for family in collision_families():
        members = [one for one in environment.distributions if one.name in family.members]
        for one, other in combinations(members, 2):
            path = next(iter(shared_files(one.name, other.name)), "the files of both")
            count = shared_count(one.name, other.name)
            problem = f"{NOT_SAID} whose files lie there"
            yield Collision(environment, family.name, one, other, count, path, "", problem)


def _environment(shown: Shown) -> PythonEnvironment | None:
    python = shown.python
    packages = dict(python.packages)
    if python.torch:
        packages["torch"] = python.torch
    elif "torch" not in packages:
        conda = next((package for package in python.conda if package.name in ("pytorch", "libtorch")), None)
        if conda:
            packages["torch"] = Stated(conda.version, 0, f"{conda.name} {conda.version} {conda.build}")
    if not packages and not python.conda:
        return None
    distributions = tuple(
        Distribution(name, stated.value, (), line_of(stated), "", "conda" if stated.line == 0 else "")
        for name, stated in sorted(packages.items())
    )
    return PythonEnvironment(
        prefix="",
        interpreter="python",
        version=python.version,
        kind="conda" if python.conda else "venv",
        found_by=("the text",),
        in_use=True,
        site_packages=(),
        distributions=distributions,
        shadowed=(),
        total=len(distributions),
        conda=python.conda,
        uv=False,
        lock_file="",
        managed="",
        base="",
        owner=0,
        machine=shown.system.machine,
        problems=(),
    )


def _builds(host: Host, shown: Shown, pythons: PythonEnvironments) -> FrameworkBuilds:
    """As the files would tell; of torch the text tells more, or the table of published wheels."""
    builds = framework_builds(host, pythons).builds
    # Beside a jaxlib that is named alone there may be a plugin: only a list of all that is installed shows none.
    known = [b for b in builds if b.distribution.name != "jaxlib" or b.cuda or shown.python.whole]
    return FrameworkBuilds(tuple(_torch(shown, b) if b.framework == "torch" else b for b in known))


def _torch(shown: Shown, build: FrameworkBuild) -> FrameworkBuild:
    python, machine = shown.python, shown.system.machine
    version = build.version
    local = version.partition("+")[2]
    release = version.partition("+")[0]
    source, value = build.distribution.folder, f"torch {version}"
    package = build.environment.conda_package("pytorch", "libtorch")
    cuda, told = None, True
    if python.torch_cuda:
        cuda = release_in(python.torch_cuda.value)
        told = cuda is not None or python.torch_cuda.value.startswith(("None", "Could not collect"))
        source, value = line_of(python.torch_cuda), python.torch_cuda.words
    elif local:
        cuda = release_in_tag(local)
        told = cuda is not None or local.startswith("cpu")
    elif package:
        cuda, told = _cuda_of_conda(package.build, build.environment)
        value = f"{package.name} {package.version} {package.build}"
    elif shown.system.id == "windows":
        told = True  # PyPI's wheels for Windows are for the CPU
        value = f"torch {version}, which PyPI has for Windows without CUDA"
    else:
        default = default_build(release, machine)
        cuda = default.cuda if default else older_default(release)
        told = default is not None or cuda is not None
        value = f"torch {version}, whose wheel on PyPI is built so" if told else value
    architectures: tuple[str, ...] = ()
    ptx_told = True
    if cuda and not package:
        default = default_build(release, machine)
        if default and default.cuda == cuda:
            architectures, ptx_told = default.architectures, default.ptx_told
        else:
            architectures = next((v.architectures for v in variants(release) if v.cuda == cuda), ())
    return build._replace(
        cuda=cuda,
        architectures=architectures,
        architectures_source=f"table of torch {release}" if architectures else "",
        source=source,
        value=value,
        problem="" if told else f"{NOT_SAID} for which CUDA torch {version} was built",
        ptx_told=ptx_told,
    )


def _cuda_of_conda(words: str, environment: PythonEnvironment) -> tuple[tuple[int, int] | None, bool]:
    """(10, 1) of "py3.7_cuda10.1.243_cudnn7.6.3_0" and of "cuda126_py312h0d5d3f0_0"; and whether it tells."""
    if "cpu" in words or environment.conda_package("cpuonly"):
        return None, True
    found = re.search(r"cuda(\d+)\.(\d+)|cuda(\d{2})(\d)", words)
    if found is None:
        return None, False
    major, minor = [group for group in found.groups() if group]
    return (int(major), int(minor)), True


def _seen_at_work(shown: Shown) -> DeepTrials | Unavailable:
    """JAX lists the devices that it has started; torch only asks whether there is one."""
    if not shown.python.jax_sees_gpu:
        return Unavailable(NOT_SAID)
    return DeepTrials((FrameworkTrial("jax", "", 1, "", "", (), {}, prefix=""),))
