"""Steps in Python environments that many fixes share: packages go out and come in with the environment's own tool."""

from collections.abc import Iterable, Iterator, Sequence

from gpudoctor import Findings, Manual, Phase, Risk, Run, Step
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.python.installers import index_of, instruction, spoken, tool_of, uninstall
from gpudoctor.python.installers import install as install_command
from gpudoctor.python.pep508 import normalised
from gpudoctor.python.plain_words import environment_path, requirement


def environments_in(findings: Findings, pythons: PythonEnvironments) -> tuple[PythonEnvironment, ...]:
    """The environments that the findings are about, in the order of the machine's."""
    meant = {finding.environment for _, finding in findings.items}
    return tuple(environment for environment in pythons.environments if environment.prefix in meant)


def reinstalled(
    environment: PythonEnvironment,
    *,
    install: Sequence[str] = (),
    remove: Sequence[str] = (),
    index_url: str = "",
    no_deps: bool = False,
    why: str,
) -> Iterator[Step]:
    """Take `remove` out, then put `install` in: "torch==2.9.1+cu126". `why`: a sentence.

    What both sides of a collision wrote is whole again only after both went. A project with a lock file, and a Python
    that belongs to the distribution, are left to a person. Raises UnsafeWord.
    """
    if not tool_of(environment) or environment.lock_file or "/.pixi/envs/" in f"{environment.prefix}/":
        commands = instruction(environment, install, remove=remove, index_url=index_url, no_deps=no_deps)
        yield Step(Manual(f"Run {commands}."), why, Phase.AFTERWARDS, root=environment.owner == 0)
        return
    leaving = [found for name in remove if (found := environment.get(normalised(name)))]
    if leaving:
        yield Step(
            Run(uninstall(environment, [one.name for one in leaving])),
            f"{_named(leaving)} must go first: what is removed later takes files of the new ones along.",
            Phase.REMOVE,
            Risk.MEDIUM,
            root=environment.owner == 0,
            verify=Run(("test", "!", "-e", environment_path(leaving[0].folder))),
            undo=_back_to(environment, leaving),
        )
    if install:
        gone = {one.name for one in leaving}
        yield _installation(environment, install, index_url, why, gone, no_deps=no_deps)


def _installation(
    environment: PythonEnvironment,
    requirements: Sequence[str],
    index_url: str,
    why: str,
    gone: set[str],
    *,
    no_deps: bool,
) -> Step:
    names = [_name(word) for word in requirements]
    replaced = [found for name in names if name not in gone and (found := environment.get(name))]
    new = [name for name in names if not environment.get(name) or name in gone]
    # What is there already proves nothing.
    there = {one.folder for one in environment.distributions if one.name not in gone}
    folders = [_folder_of(environment, word) for word in requirements if "==" in word]
    proof = next((Run(("test", "-e", folder)) for folder in folders if folder not in there), None)
    if any("[" in word for word in requirements):
        undo = _back_with_extras(environment, requirements, gone)
    elif replaced:
        undo = _back_to(environment, replaced, requirements)
    else:
        undo = Run(uninstall(environment, new))
    action = Run(install_command(environment, requirements, index_url=index_url, no_deps=no_deps))
    if undo == action:  # what is wrong are the packages beside these, and which of them change only the installer knows
        undo = Manual(
            f"{_named(replaced)} stays as it was; install the packages that came along in their old versions."
        )
    return Step(
        action,
        why if proof else f"{why} The exit status is the proof.",
        Phase.INSTALL,
        Risk.MEDIUM,
        root=environment.owner == 0,
        verify=proof,
        undo=undo,
    )


def _back_with_extras(environment: PythonEnvironment, requirements: Sequence[str], gone: set[str]) -> Run | Manual:
    """An extra changes the framework's whole family and NVIDIA's wheels; what is new with it stays."""
    family = tuple(_name(word).partition("-")[0] for word in requirements if "[" in word)
    were = [one for one in environment.having(*family, "nvidia-", "cuda-") if one.name not in gone]
    if were:
        return _back_to(environment, were, requirements, no_deps=True)
    return Run(uninstall(environment, [_name(word) for word in requirements]))


def _back_to(
    environment: PythonEnvironment,
    were: Iterable[Distribution],
    instead: Sequence[str] = (),
    *,
    no_deps: bool = False,
) -> Run | Manual:
    """The versions that were there, each from the index that it came from. `instead`: what is there by then."""
    by_index: dict[str, list[str]] = {}
    for one in were:
        pin = f"{one.name}=={one.version}" if one.version else one.name
        if any(word.startswith(f"{pin}+") for word in instead):
            pin = f"{one.name}==={one.version}"  # installers take 2.9.1+cu126 for 2.9.1, and would leave it
        by_index.setdefault(index_of(one.version), []).append(pin)
    commands = [
        install_command(environment, pins, index_url=index, no_deps=no_deps) for index, pins in by_index.items()
    ]
    return Run(commands[0]) if len(commands) == 1 else Manual(f"Run {spoken(*commands)}.")


def _folder_of(environment: PythonEnvironment, exact: str) -> str:
    """The dist-info folder that "torch==2.9.1+cu126" makes. Raises UnsafeWord."""
    name, _, version = requirement(exact).partition("==")
    there = environment.get(_name(name))
    if there and there.folder.endswith(".dist-info"):
        stem = there.folder.rpartition("/")[2].partition("-")[0]
        location = there.location
    else:
        stem = _name(name).replace("-", "_")
        location = environment.site_packages[0] if environment.site_packages else environment.prefix
    return environment_path(f"{location}/{stem}-{version.lstrip('=').partition(',')[0]}.dist-info")


def _name(word: str) -> str:
    """The normalised name in "tensorflow[and-cuda]==2.20.0"."""
    return normalised(word.partition("[")[0].partition("=")[0].partition("<")[0].partition(">")[0].rstrip("~!"))


def _named(distributions: Iterable[Distribution]) -> str:
    return " and ".join(f"{one.name} {one.version}".rstrip() for one in distributions)
