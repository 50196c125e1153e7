"""The Python environments of the machine, found from files, and what each has installed that concerns the GPU."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from gpudoctor.facts.conda import CondaPackage, conda_packages
from gpudoctor.facts.distributions import Distribution, distributions_in, site_packages
from gpudoctor.facts.elf import elf_machine
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.processes import DeviceUsers
from gpudoctor.facts.python_places import Candidate, candidates, search_path
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact

T = TypeVar("T")


class PythonEnvironment(NamedTuple):
    """One environment. "" and () for what nothing tells."""

    prefix: str  # "/home/ada/venv", "/usr", "/opt/conda/envs/train"
    interpreter: str  # "/home/ada/venv/bin/python"; "" if it is not there any more
    version: str  # "3.11"
    kind: str  # "venv", "conda", "system", "interpreter" (a Python of its own: pyenv's, uv's)
    found_by: tuple[str, ...]  # "VIRTUAL_ENV", "--python", "PATH", "process 4711"...
    in_use: bool  # somebody means it now: named, active, first on PATH, or running on the GPU
    site_packages: tuple[str, ...]  # in the order in which imports look
    distributions: tuple[Distribution, ...]  # those that concern the GPU; of each name the one that imports find
    shadowed: tuple[Distribution, ...]  # those behind another of their name
    total: int  # of all distributions
    conda: tuple[CondaPackage, ...]  # conda's own records of what concerns the GPU
    uv: bool  # made by uv, which leaves pip out
    lock_file: str  # "/home/ada/train/uv.lock": the lock file of the project that it belongs to, "" none
    managed: str  # the path of EXTERNALLY-MANAGED: the distribution's own Python, where pip refuses; "" none
    base: str  # of a venv: the folder of the Python that it was made from, "/usr/bin"
    owner: int  # user id of the folder
    machine: str  # "x86_64", "aarch64"
    problems: tuple[str, ...] = ()  # what could not be told, and why
    full_version: str = ""  # "3.11.7", "" where only the minor version is told

    def get(self, name: str) -> Distribution | None:
        return next((one for one in self.distributions if one.name == name), None)

    def having(self, *prefixes: str) -> tuple[Distribution, ...]:
        """Those whose names begin so."""
        return tuple(one for one in self.distributions if one.name.startswith(prefixes))

    def conda_package(self, *names: str) -> CondaPackage | None:
        return next((package for package in self.conda if package.name in names), None)

    @property
    def minor_version(self) -> tuple[int, int] | None:
        major, _, minor = self.version.partition(".")
        return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


class PythonEnvironments(NamedTuple):
    """All that were found, those in use first."""

    environments: tuple[PythonEnvironment, ...]


@fact
def python_environments(host: Host, environment: Environment, users: DeviceUsers | Unavailable) -> PythonEnvironments:
    """Named ones, else the active ones, those of this folder, of conda, uv and pyenv, on PATH, and of GPU processes."""
    running = {} if isinstance(users, Unavailable) else {h.python: h.process_id for h in users.holders if h.python}
    places: dict[str, list[Candidate]] = {}
    for candidate in candidates(host, environment, running):
        places.setdefault(candidate.prefix, []).append(candidate)
    found = [_environment(host, environment, prefix, group) for prefix, group in places.items()]
    return PythonEnvironments(tuple(sorted(found, key=lambda one: not one.in_use)))


def _environment(host: Host, environment: Environment, prefix: str, group: list[Candidate]) -> PythonEnvironment:
    problems: list[str] = []
    settings = _pyvenv(_or_note(lambda: host.read(f"{prefix}/pyvenv.cfg", first=4096), problems))
    version = _version(host, prefix, settings, problems)
    conda, damaged = conda_packages(host, prefix)
    kind = _kind(prefix, bool(settings), bool(conda or damaged))
    system_too = settings.get("include-system-site-packages", "").lower() == "true"
    path = search_path(host, environment, prefix, version, kind, system_too)
    sites = [_or_note(lambda location=location: site_packages(host, location), problems) for location in path]  # type: ignore[misc]
    there = [site for site in sites if site is not None]
    distributions: dict[str, Distribution] = {}
    shadowed = []
    for site in there if any(site.has_framework for site in there) else ():
        for one in distributions_in(host, site):
            if distributions.setdefault(one.name, one) is not one:
                shadowed.append(one)
    interpreter = _interpreter(host, prefix, version)
    status = _or_note(lambda: host.status(prefix), problems)
    return PythonEnvironment(
        prefix,
        interpreter,
        version,
        kind,
        tuple(dict.fromkeys(candidate.found_by for candidate in group)),
        any(candidate.in_use for candidate in group),
        tuple(site.location for site in there),
        tuple(distributions.values()),
        tuple(shadowed),
        sum(len(site.folders) for site in there),
        conda,
        "uv" in settings,
        _lock_file(host, prefix) if kind == "venv" else "",
        _managed(host, prefix, version) if kind == "system" else "",
        settings.get("home", ""),
        status.user if status else 0,
        (_or_note(lambda: elf_machine(host, interpreter), []) or "") if distributions and interpreter else "",
        (*problems, *damaged),
        _full_version(settings, conda),
    )


def _or_note(ask: Callable[[], T | None], problems: list[str]) -> T | None:
    """The answer; what cannot be told is noted among the problems of the environment."""
    try:
        return ask()
    except Unavailable as reason:
        problems.append(str(reason))
        return None


def _pyvenv(text: str | None) -> dict[str, str]:
    pairs = (line.partition("=") for line in (text or "").splitlines())
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def _version(host: Host, prefix: str, settings: dict[str, str], problems: list[str]) -> str:
    """ "3.11" of pyvenv.cfg, else of the folder with the standard library."""
    told = settings.get("version") or settings.get("version_info") or ""
    words = told.split(".")
    if len(words) > 1 and words[0].isdecimal() and words[1].isdecimal():
        return f"{words[0]}.{words[1]}"
    names = _or_note(lambda: host.list(f"{prefix}/lib"), problems) or ()
    minors = [int(name[8:]) for name in names if name.startswith("python3.") and name[8:].isdecimal()]
    if len(minors) > 1:  # the system may have several: python3 says which is meant
        real = (_or_note(lambda: host.resolve(f"{prefix}/bin/python3"), problems) or "").rpartition("/python3.")[2]
        minors = [int(real)] if real.isdecimal() else minors
    if not minors:
        problems.append(f"{prefix}: nothing tells which Python it is of")
        return ""
    return f"3.{max(minors)}"


def _full_version(settings: dict[str, str], conda: tuple[CondaPackage, ...]) -> str:
    told = settings.get("version") or ".".join((settings.get("version_info") or "").split(".")[:3])
    python = next((package.version for package in conda if package.name == "python"), "")
    known = told or python
    return known if known.count(".") == 2 and all(part.isdecimal() for part in known.split(".")) else ""


def _kind(prefix: str, venv: bool, conda: bool) -> str:
    if conda:
        return "conda"
    if venv:
        return "venv"
    return "system" if prefix in ("/usr", "/usr/local") else "interpreter"


def _interpreter(host: Host, prefix: str, version: str) -> str:
    for name in ("python", "python3", f"python{version}"):
        path = f"{prefix}/bin/{name}"
        if _or_note(lambda path=path: host.resolve(path), []):  # type: ignore[misc]
            return path
    return ""


def _managed(host: Host, prefix: str, version: str) -> str:
    path = f"{prefix}/lib/python{version}/EXTERNALLY-MANAGED"
    return path if _or_note(lambda: host.resolve(path), []) else ""


def _lock_file(host: Host, prefix: str) -> str:
    """Of the project in whose folder the environment lies; a package that is changed behind its back comes back."""
    folder = prefix.rpartition("/")[0]
    for name in ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"):
        path = f"{folder}/{name}"
        if _or_note(lambda path=path: host.status(path), []):  # type: ignore[misc]
            return path
    return ""
