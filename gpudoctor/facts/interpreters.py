"""The interpreters behind Python environments and Jupyter kernels, and what compiling with them needs."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.facts.environment import Environment, programs
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.python_places import prefix_of
from gpudoctor.host import Host, Unavailable, quietly
from gpudoctor.registry import fact


class Interpreter(NamedTuple):
    """The Python that an environment starts. "" for what is not there, or cannot be told."""

    prefix: str  # of the environment
    path: str  # "/home/ada/venv/bin/python"
    link: str  # where that leads, link after link, whether or not something is there
    real_path: str  # "/usr/bin/python3.11"
    version: str  # "3.11", by the name of that file
    header: str  # the Python.h of that interpreter
    folder: str  # where it was looked for


class Interpreters(NamedTuple):
    """One of each environment that matters. `compiler`: the C compiler on PATH, "" if there is none."""

    interpreters: tuple[Interpreter, ...]
    compiler: str
    gone: tuple[tuple[str, str], ...] = ()  # variables that name a program which is not there: TRITON_PTXAS_PATH

    def of(self, prefix: str) -> Interpreter | None:
        return next((one for one in self.interpreters if one.prefix == prefix), None)


class JupyterKernel(NamedTuple):
    """What a notebook starts."""

    name: str  # "python3"
    path: str  # of its kernel.json
    program: str  # the first word of its command: "/opt/conda/bin/python", "python"
    there: bool
    prefix: str  # the environment that the program belongs to, "" unknown
    belongs_to: str  # the environment in whose folder the kernel.json lies, "" none's


class JupyterKernels(NamedTuple):
    """All that were found; `problems`: those that could not be read, and why."""

    kernels: tuple[JupyterKernel, ...]
    problems: tuple[str, ...] = ()


_EVERYBODYS = ("/usr/local", "/usr")  # what lies there is seen by the Jupyter of every environment


@fact
def interpreters(host: Host, environment: Environment | Unavailable, pythons: PythonEnvironments) -> Interpreters:
    """What cannot be looked at is "", as what is not there: whoever judges by it says that it was looked for only."""
    found = []
    for one in pythons.environments:
        if not one.distributions and not one.in_use:
            continue
        path = one.interpreter or f"{one.prefix}/bin/python"
        link, real = _end_of_links(host, path), quietly(host.resolve, path) or ""
        name = real.rpartition("/")[2]
        told = name.removeprefix("python") if name.startswith("python3.") else ""
        version = told.rstrip("td")  # "3.14t" is 3.14 without the lock, "3.11d" one for debugging
        base = real.rpartition("/bin/")[0]
        minor = told or one.version
        folder = f"{base}/include/python{minor}" if base else ""
        header = f"{folder}/Python.h" if folder and quietly(host.resolve, f"{folder}/Python.h") else ""
        found.append(Interpreter(one.prefix, path, link, real, version, header, folder))
    compilers = [*programs(host, environment, "gcc"), *programs(host, environment, "clang")]
    variables = environment.variables if isinstance(environment, Environment) else {}
    named = ((name, variables.get(name, "")) for name in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"))
    gone = tuple((name, path) for name, path in named if path.startswith("/") and not quietly(host.resolve, path))
    return Interpreters(tuple(found), compilers[0] if compilers else "", gone)


@fact
def jupyter_kernels(host: Host, environment: Environment | Unavailable, pythons: PythonEnvironments) -> JupyterKernels:
    """Those of the user, of the system and of the environments; of named environments (--python) only their own."""
    home = environment.variables.get("HOME", "") if isinstance(environment, Environment) else ""
    prefixes = [one.prefix for one in pythons.environments if one.prefix not in _EVERYBODYS]
    places = [(f"{prefix}/share/jupyter/kernels", prefix) for prefix in prefixes]
    if not host.pythons:
        places = [(f"{home}/.local/share/jupyter/kernels", "")] * bool(home) + places
        places += [(f"{folder}/share/jupyter/kernels", "") for folder in _EVERYBODYS]
    problems: list[str] = []
    seen: dict[str, JupyterKernel] = {}
    for folder, owner in places:
        for kernel in _kernels(host, folder, owner, problems):
            seen.setdefault(kernel.path, kernel)
    return JupyterKernels(tuple(seen.values()), tuple(problems))


def _kernels(host: Host, folder: str, owner: str, problems: list[str]) -> Iterator[JupyterKernel]:
    try:
        names = host.list(folder) or ()
    except Unavailable as reason:
        problems.append(str(reason))
        return
    for name in names:
        path = f"{folder}/{name}/kernel.json"
        try:
            text = host.read(path, first=65536)
            program = program_of_kernel(text) if text is not None else ""
            if program is None:
                problems.append(f"{path} is damaged: it names no command")
            elif program:
                absolute = program.startswith("/")
                there = host.resolve(program) is not None if absolute else True
                prefix = prefix_of(host, program) if absolute and there else "" if absolute else owner
                yield JupyterKernel(name, path, program, there, prefix, owner)
        except Unavailable as reason:
            problems.append(str(reason))


def program_of_kernel(text: str) -> str | None:
    """The first word of the command in a kernel.json, None if there is none."""
    import json  # here for start-up: few machines have kernels

    try:
        content = json.loads(text)
    except ValueError:
        return None
    words = content.get("argv") if isinstance(content, dict) else None
    return words[0] if isinstance(words, list) and words and isinstance(words[0], str) and words[0] else None


def relevant_kernel(text: str) -> str:
    """A kernel.json without what nobody here reads: its environment variables may be secrets. For snapshots."""
    import json

    program = program_of_kernel(text)
    return json.dumps({"argv": [program] if program else []})


def _end_of_links(host: Host, path: str) -> str:
    """ "/usr/bin/python3.9" for bin/python, a link to python3 beside it, a link to that; "" if it is no link."""
    last = ""
    for _ in range(16):
        target = quietly(host.link, path)
        if not target:
            break
        path = last = target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
    return last
