"""Where Python environments are: from variables, folders, conda's, uv's and pyenv's places, PATH and GPU processes."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor.facts.environment import Environment
from gpudoctor.host import Host, quietly

MOST = 200  # environments; a place with more is a farm, and the rest of it is named as left out


class Candidate(NamedTuple):
    """A folder that may be an environment. `in_use`: somebody means it now."""

    prefix: str
    found_by: str
    in_use: bool


# Where conda's installers put it, below the home folder and below /opt.
_CONDA_FOLDERS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", "conda", ".conda")
_OWN_FOLDERS = (".venv", "venv", "env", ".env")
_ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX")


def candidates(host: Host, environment: Environment, running: Mapping[str, int]) -> Iterator[Candidate]:
    """Environments, some of them twice: found in several ways. Where the user named any, no others are looked at.

    `running`: prefixes of environments that compute on the GPU now, to process ids.
    """
    if host.pythons:
        for path in host.pythons:
            prefix = prefix_of(host, path)
            if prefix:
                yield Candidate(prefix, "--python", True)
        return
    seen = 0
    for prefix, found_by, in_use in _places(host, environment, running):
        if seen < MOST and _is_environment(host, prefix):
            seen += 1
            yield Candidate(_plain(host, prefix), found_by, in_use)


def _places(host: Host, environment: Environment, running: Mapping[str, int]) -> Iterator[tuple[str, str, bool]]:
    on_path = first_on_path(host, environment)
    named = [(name, prefix) for name in _ACTIVE if (prefix := environment.variables.get(name))]
    # Of a venv and conda's base, which many shells activate, the one that was activated last is meant.
    chosen = [prefix for _, prefix in named if _plain(host, prefix) == on_path]
    for name, prefix in named:
        yield prefix, name, not chosen or prefix in chosen
    for prefix, process_id in running.items():
        yield prefix, f"process {process_id}", True
    own = (_head(host, "/proc/self/cmdline") or "").partition("\0")[0]
    if own.startswith("/"):
        prefix = prefix_of(host, own)
        # Where it is installed beside the frameworks. A distribution's package lies in /usr, and says nothing of them.
        yield prefix, "gpudoctor's own", prefix != "/usr"
    here = quietly(host.link, "/proc/self/cwd")
    if here:
        for name in _OWN_FOLDERS:
            yield f"{here.rstrip('/')}/{name}", "this folder", True
    if on_path:
        yield on_path, "PATH", True
    yield "/usr", "the system's own", False
    for prefix in _from_tools(host, environment):
        yield prefix, "installed", False


def _from_tools(host: Host, environment: Environment) -> Iterator[str]:
    homes = _homes(host, environment)
    for home in homes:
        for line in (_head(host, f"{home}/.conda/environments.txt") or "").splitlines():
            if line.strip().startswith("/"):
                yield line.strip()
    bases = [f"{folder}/{name}" for folder in (*homes, "/opt") for name in _CONDA_FOLDERS]
    for base in dict.fromkeys(bases):
        if _names(host, f"{base}/conda-meta"):
            yield base
        for name in _names(host, f"{base}/envs"):
            yield f"{base}/envs/{name}"
    pyenv = environment.variables.get("PYENV_ROOT")
    for root in dict.fromkeys([*([pyenv] if pyenv else []), *(f"{home}/.pyenv" for home in homes)]):
        for name in _names(host, f"{root}/versions"):
            yield f"{root}/versions/{name}"
            for inner in _names(host, f"{root}/versions/{name}/envs"):
                yield f"{root}/versions/{name}/envs/{inner}"
    for home in homes:
        for place in (
            ".local/share/uv/tools",
            ".virtualenvs",
            ".local/share/virtualenvs",
            ".cache/pypoetry/virtualenvs",
        ):
            for name in _names(host, f"{home}/{place}"):
                yield f"{home}/{place}/{name}"


def _homes(host: Host, environment: Environment) -> tuple[str, ...]:
    """The user's home; on a disk, where nobody is logged in, everybody's."""
    home = environment.variables.get("HOME", "")
    if home:
        return (home.rstrip("/") or "/",)
    if host.source == "live":
        return ()
    return ("/root", *(f"/home/{name}" for name in _names(host, "/home")))


def first_on_path(host: Host, environment: Environment) -> str:
    """The prefix of the Python that the shell would start, "" if there is none."""
    for folder in (environment.variables.get("PATH") or "").split(":"):
        for name in ("python3", "python"):
            path = f"{folder.rstrip('/')}/{name}"
            if not folder.startswith("/") or not quietly(host.resolve, path):
                continue
            prefix = _behind_shim(host, environment, path) if folder.rstrip("/").endswith("/shims") else ""
            prefix = prefix or prefix_of(host, path)
            if prefix:
                return prefix
    return ""


def _behind_shim(host: Host, environment: Environment, path: str) -> str:
    """pyenv puts scripts before the interpreters, which choose a version when they are run."""
    root = environment.variables.get("PYENV_ROOT") or path.rpartition("/shims/")[0]
    here = quietly(host.link, "/proc/self/cwd") or "/"
    folders = [here[: len(here) - len(rest)] for rest in _tails(here)]
    files = [*(f"{folder.rstrip('/')}/.python-version" for folder in folders), f"{root}/version"]
    told = environment.variables.get("PYENV_VERSION") or next(filter(None, (_head(host, file) for file in files)), "")
    version = (told.split() or [""])[0].partition(":")[0]
    if version in ("", "system") or "/" in version:
        return ""
    known = _names(host, f"{root}/versions")
    # "3.11" means the newest 3.11.x.
    fitting = [name for name in known if name == version or name.startswith(f"{version}.")]
    return f"{root}/versions/{fitting[-1]}" if fitting else ""


def _tails(path: str) -> Iterator[str]:
    """The parts to cut off a folder to get it, its parent, and so on up to the root."""
    tail = ""
    yield tail
    while path.rstrip("/"):
        path, slash, last = path.rpartition("/")
        tail = f"{slash}{last}{tail}"
        yield tail


def prefix_of(host: Host, path: str) -> str:
    """The environment of an interpreter, or of a folder that is one; "" if it is neither."""
    path = path.rstrip("/") or "/"
    if _is_environment(host, path):
        return _plain(host, path)
    if not path.rpartition("/")[2].startswith(("python", "pypy")):
        return ""
    for _ in range(16):
        folder, _, _ = path.rpartition("/")
        parent = folder.rpartition("/")[0]
        if _head(host, f"{parent}/pyvenv.cfg") is not None:
            return _plain(host, parent)
        target = quietly(host.link, path)
        if not target:
            break
        path = target if target.startswith("/") else f"{folder}/{target}"
    real = quietly(host.resolve, path)
    if not real or not real.rpartition("/")[0].endswith(("/bin", "/MacOS")):
        return ""
    prefix = real.rpartition("/bin/")[0]
    return prefix if _is_environment(host, prefix) else ""


def _is_environment(host: Host, prefix: str) -> bool:
    if not prefix:
        return False
    if _head(host, f"{prefix}/pyvenv.cfg") is not None or _names(host, f"{prefix}/conda-meta"):
        return True
    return any(name.startswith("python3") for name in _names(host, f"{prefix}/lib")) and any(
        name.startswith("python") for name in _names(host, f"{prefix}/bin")
    )


# From 3.13 on there is a build without the lock beside the usual one, with a folder of its own name.
_WITH_LOCK_ALONE = ("", "6", "7", "8", "9", "10", "11", "12")


def search_path(
    host: Host, environment: Environment, prefix: str, version: str, kind: str, system_too: bool
) -> tuple[str, ...]:
    """The folders with distributions that this environment imports from, in its order; some may not be there."""
    python = f"python{version}" if version else "python3"
    own = [f"{prefix}/lib/{python}/site-packages"]
    if version.partition(".")[2] not in _WITH_LOCK_ALONE:
        own.append(f"{prefix}/lib/{python}t/site-packages")
    lib64 = f"{prefix}/lib64/{python}/site-packages"
    if quietly(host.resolve, lib64) not in (None, quietly(host.resolve, own[0])):
        own.append(lib64)
    if prefix in ("/usr", "/usr/local"):
        # Debian's names, and what pip installs beside the distribution's own packages.
        own = [f"/usr/local/lib/{python}/dist-packages", f"/usr/local/lib/{python}/site-packages", *own]
        own += ["/usr/lib/python3/dist-packages", f"/usr/lib/{python}/dist-packages"]
    shared = kind != "venv" or system_too
    home = environment.variables.get("HOME", "")
    user = [f"{home}/.local/lib/{python}/site-packages"] if shared and home else []
    user = [] if environment.variables.get("PYTHONNOUSERSITE") else user
    extra = [folder for folder in (environment.variables.get("PYTHONPATH") or "").split(":") if folder.startswith("/")]
    return tuple(dict.fromkeys(folder.rstrip("/") for folder in (*extra, *user, *own)))


def _plain(host: Host, prefix: str) -> str:
    """One name for one folder, so that it is not looked at twice. The last part may be a link on purpose."""
    return quietly(host.resolve, prefix) or prefix


def _head(host: Host, path: str) -> str | None:
    return quietly(lambda place: host.read(place, first=4096), path)


def _names(host: Host, path: str) -> tuple[str, ...]:
    return quietly(host.list, path) or ()
