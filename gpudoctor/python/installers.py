"""The program that installs packages into a Python environment, and its command lines as argument lists.

Nothing here runs a command. What was read from the machine is tried first (`plain_words`).
"""

import re
from collections.abc import Iterable, Sequence

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.package_manager import Argv
from gpudoctor.facts.python_environments import PythonEnvironment
from gpudoctor.python.pep508 import normalised
from gpudoctor.python.plain_words import (
    distribution_name,
    environment_path,
    index_address,
    requirement,
    requirement_parts,
)

TOOLS = ("pip", "uv", "conda", "poetry", "pdm", "pipenv")

# No environment of this machine: commands name none, and are for the one that is active where they run.
ANYWHERE = PythonEnvironment("", "", "", "", (), False, (), (), (), 0, (), False, "", "", "", 0, "")

_LOCKED_BY = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm", "Pipfile.lock": "pipenv"}
_VARIANT = re.compile(r"cu(\d{2})(\d+)")  # "cu126" at the end of an index address, or of a local version

# What conda calls them. With a GPU variant asked for, the package that insists on the GPU build.
_CONDA_NAMES = {"torch": "pytorch", "onnxruntime-gpu": "onnxruntime"}
_CONDA_GPU_NAMES = {"torch": "pytorch-gpu", "tensorflow": "tensorflow-gpu"}


def tool_of(environment: PythonEnvironment, distribution: Distribution | None = None) -> str:
    """One of TOOLS, for an environment or for one distribution in it.

    "" where none may install: the Python belongs to the distribution, or the interpreter is gone.
    """
    if environment.managed or (environment.prefix and not environment.interpreter):
        return ""
    if distribution and _of_conda(environment, distribution):
        return "conda"
    locked = _LOCKED_BY.get(environment.lock_file.rpartition("/")[2], "")
    if locked:
        return locked
    # uv leaves pip out of what it makes; and what uv installed stays in uv's hands.
    return "uv" if environment.uv or (distribution and distribution.installer == "uv") else "pip"


def install(
    environment: PythonEnvironment,
    requirements: Sequence[str],
    *,
    index_url: str = "",
    reinstall: bool = False,
    no_deps: bool = False,
    tool: str = "",
) -> Argv:
    """Put these requirements ("torch==2.9.1+cu126", "tensorflow[and-cuda]==2.20.0") into an environment.

    `index_url` replaces PyPI, so that nothing of the same name can come from elsewhere. `reinstall`: also what is there
    in that version. Where no program may install (see `caution`) it is a command for a new, active environment.
    Raises UnsafeWord.
    """
    words = tuple(_for_replacing(environment, requirement(one)) for one in requirements)
    index = index_address(index_url) if index_url else ""
    used = tool or _tool_for(environment, words)
    project, place = _folder(environment), environment.prefix
    indexed = ("--index-url", index) if index else ()
    again = (
        tuple(part for word in words for part in ("--reinstall-package", requirement_parts(word)[0]))
        if reinstall
        else ()
    )
    match used:
        case "conda":
            return _conda_install(environment, words, index, reinstall=reinstall, no_deps=no_deps)
        case "uv" if _project_of(environment) == "uv" and not no_deps:
            named = ("--index", f"{_source_name(index)}={index}") if index else ()
            return ("uv", "add", *_at("--project", project), *again, *named, *words)
        case "uv":
            alone = ("--no-deps",) if no_deps else ()
            return ("uv", "pip", "install", *_at("--python", place), *again, *alone, *indexed, *words)
        case "poetry":
            source = ("--source", _source_name(index)) if index else ()
            return ("poetry", *_at("-C", project), "add", *source, *_plain(words))
        case "pdm":
            return ("pdm", "add", *_at("-p", project), *_plain(words))
        case "pipenv":
            return ("pipenv", "install", *(("--index", index) if index else ()), *_plain(words))
    flags = (*(("--force-reinstall",) if reinstall else ()), *(("--no-deps",) if no_deps else ()))
    return (*_pip(environment), "install", *flags, *indexed, *words)


def uninstall(environment: PythonEnvironment, names: Iterable[str], *, tool: str = "") -> Argv:
    """Take these distributions out of an environment. Raises UnsafeWord."""
    words = tuple(distribution_name(name) for name in names)
    used = tool or _tool_for(environment, words)
    match used:
        case "conda":
            # Their dependents would go with them, and be gone for good.
            called = tuple(_conda_name(environment, word) for word in words)
            return ("conda", "remove", "-y", "--force", *_at("-p", environment.prefix), *called)
        case "uv":
            return ("uv", "pip", "uninstall", *_at("--python", environment.prefix), *words)
        case "poetry":
            return ("poetry", *_at("-C", _folder(environment)), "remove", *words)
        case "pdm":
            return ("pdm", "remove", *_at("-p", _folder(environment)), *words)
        case "pipenv":
            return ("pipenv", "uninstall", *words)
    return (*_pip(environment), "uninstall", "-y", *words)


def preparation(environment: PythonEnvironment, index_url: str, *, tool: str = "") -> tuple[Argv, ...]:
    """What goes before an `install` with an index: poetry must know it by name. Raises UnsafeWord."""
    if not index_url or (tool or tool_of(environment)) != "poetry":
        return ()
    index = index_address(index_url)
    source = ("source", "add", "--priority=explicit", _source_name(index), index)
    return (("poetry", *_at("-C", _folder(environment)), *source),)


def spoken(*commands: Argv) -> str:
    """Commands as one reads and copies them: "`a`, then `b`"."""
    import shlex  # here for start-up: only findings need it

    return ", then ".join(f"`{shlex.join(command)}`" for command in commands)


def instruction(
    environment: PythonEnvironment,
    requirements: Sequence[str],
    *,
    remove: Sequence[str] = (),
    index_url: str = "",
    reinstall: bool = False,
    no_deps: bool = False,
) -> str:
    """The whole remedy as a clause: what to take out, what to put in, and what to mind. Raises UnsafeWord."""
    commands = [uninstall(environment, remove)] if remove else []
    commands += preparation(environment, index_url)
    if requirements:
        commands.append(install(environment, requirements, index_url=index_url, reinstall=reinstall, no_deps=no_deps))
    warning = caution(environment)
    return f"{spoken(*commands)}{f' ({warning})' if warning else ''}"


def caution(environment: PythonEnvironment) -> str:
    """A clause on what is in the way of a command in this environment, or undoes it later; else ""."""
    if environment.managed:
        return (
            f"in an environment of your own, made with `{environment.interpreter or 'python3'} -m venv DIR`: the Python"
            f" of {environment.prefix} belongs to the distribution, and pip refuses to change it"
        )
    if environment.prefix and not environment.interpreter:
        return f"after the environment has been made anew: the interpreter of {environment.prefix} is gone"
    if "/.pixi/envs/" in f"{environment.prefix}/":
        return "pixi.lock brings the old version back: ask for it in the project's own file"
    match _project_of(environment):
        case "":
            return ""
        case "pdm":
            return f"another index must stand in the pyproject.toml beside {environment.lock_file} first"
        case "pipenv":
            return f"in the folder {_folder(environment)}, for {environment.lock_file} governs this environment"
        case tool:
            return f"{tool} goes by {environment.lock_file}, and would bring back what is not changed there too"


def index_of(version: str) -> str:
    """The index that serves this version of torch's family: that of "2.9.1+cu126"; "" where PyPI does."""
    from gpudoctor.knowledge import load_table  # here for start-up: only repairs need it

    local = version.partition("+")[2]
    address: str = load_table("torch")["index"]
    if local == "cpu":
        return address.replace("cu{cuda}", local)
    return address.format(cuda=local[2:]) if _VARIANT.fullmatch(local) else ""


def _of_conda(environment: PythonEnvironment, distribution: Distribution) -> bool:
    if distribution.installer:
        return distribution.installer == "conda"
    package = environment.conda_package(distribution.name, _conda_name(environment, distribution.name))
    return package is not None and package.version == distribution.release


def _tool_for(environment: PythonEnvironment, words: Iterable[str]) -> str:
    """The tool of what is already there of these; without any, that of the environment."""
    there = (environment.get(normalised(requirement_parts(word)[0])) for word in words)
    tools = [tool_of(environment, one) for one in there if one]
    return "conda" if "conda" in tools else tools[0] if tools else tool_of(environment)


def _project_of(environment: PythonEnvironment) -> str:
    return _LOCKED_BY.get(environment.lock_file.rpartition("/")[2], "")


def _folder(environment: PythonEnvironment) -> str:
    """Of the project whose lock file governs the environment; "" without one."""
    return environment_path(environment.lock_file).rpartition("/")[0] if environment.lock_file else ""


def _at(option: str, place: str) -> Argv:
    """The option that names a place; nothing where none is meant."""
    return (option, environment_path(place)) if place else ()


def _pip(environment: PythonEnvironment) -> Argv:
    if not environment.prefix:
        return ("pip",)
    # Where nothing may install, the command is for an environment that is still to be made.
    return (environment_path(environment.interpreter) if tool_of(environment) else "python", "-m", "pip")


def _source_name(index: str) -> str:
    """ "pytorch-cu126" for the index that ends so."""
    return f"pytorch-{index.rstrip('/').rpartition('/')[2]}"


def _for_replacing(environment: PythonEnvironment, word: str) -> str:
    """ "torch==2.13.0" counts as met by 2.13.0+cpu, and nothing would happen; "torch===2.13.0" does not."""
    name, extras, specifiers = requirement_parts(word)
    there = environment.get(normalised(name))
    asked = specifiers.removeprefix("==")
    if there and "+" in there.version and specifiers == f"=={asked}" and asked == there.release:
        return f"{name}{f'[{extras}]' if extras else ''}==={asked}"
    return word


def _plain(words: Iterable[str]) -> Argv:
    """For tools that know no arbitrary equality."""
    return tuple(word.replace("===", "==") for word in words)


def _conda_name(environment: PythonEnvironment, name: str) -> str:
    """What conda calls a distribution: as its records have it, else by its other name."""
    if environment.conda_package(name):
        return name
    if name.startswith("cupy-cuda"):
        return "cupy"
    if name.startswith("nvidia-") and "-cu1" in name:
        return name.removeprefix("nvidia-").partition("-cu1")[0]
    return _CONDA_NAMES.get(name, name)


def _conda_install(
    environment: PythonEnvironment, words: Sequence[str], index: str, *, reinstall: bool, no_deps: bool
) -> Argv:
    flags = (*(("--force-reinstall",) if reinstall else ()), *(("--no-deps",) if no_deps else ()))
    specs, cudas = [], []
    for word in words:
        name, extras, specifiers = requirement_parts(word)
        variant = _VARIANT.search(f"{index} {specifiers}")
        if variant:
            cudas.append(f"{variant[1]}.{variant[2]}")
        elif extras.startswith("cuda1") or name.startswith("cupy-cuda1"):
            cudas.append((extras if extras.startswith("cuda1") else name.partition("-")[2])[4:6])
        wanted = bool(variant or extras) and not reinstall
        called = _CONDA_GPU_NAMES.get(name) if wanted else None
        version = re.sub(r"\+[A-Za-z0-9.]*", "", specifiers)
        version = re.sub(r"^={2,3}", "=", version)
        specs.append(f"{called or _conda_name(environment, name)}{version}")
    pins = tuple(f"cuda-version={cuda}" for cuda in dict.fromkeys(cudas)) if not no_deps else ()
    return ("conda", "install", "-y", *_at("-p", environment.prefix), *flags, *specs, *pins)
