"""Do the environments, and the notebooks that use them, start the Python that has their packages?"""

import re
from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.distributions import Distribution, is_framework
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.interpreters import Interpreters, JupyterKernel, JupyterKernels
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments

from ._environments import place, severity

_STARTED_ELSEWHERE = r"jupyter|ipykernel|notebook|kernel\.json|PYTHONPATH|which python|sys\.executable|systemd|vs ?code"
_OWN_PACKAGES = r"\.local/lib/python\d\.\d+/site-packages/(torch|tensorflow|jax|cupy|onnxruntime|numpy)\b"


@check(
    "python.interpreter-missing",
    symptoms=[
        sure(r"bad interpreter: No such file or directory"),
        sure(r"No Python at ['\"]"),
        sure(r"did not find executable at '"),
        sure(r"linked to non-existent Python interpreter|virtual environment found in \S+ seems to be broken"),
        r"Failed to inspect Python interpreter from|Python interpreter not found at",
        r"(^|[\s'\"])\S+/bin/python\S*: No such file or directory",
        r"cannot execute: required file not found",
        r"error while loading shared libraries: libpython\d\S*: cannot open shared object file",
        r"Unable to create process using '",
        hint(r"ModuleNotFoundError: No module named 'encodings'"),
        hint(r"No module named '(torch|tensorflow|jax|cupy|onnxruntime)'"),
    ],
)
def interpreter_missing(pythons: PythonEnvironments, interpreters: Interpreters) -> Iterator[Finding]:
    """The Python that a virtual environment was made from is gone, or is another one now.

    What: A virtual environment holds packages and a link to the Python that made it. When an upgrade of the system
    removes that Python, nothing starts any more; when it puts a newer one in its place, that one starts and does not
    find the packages, which lie in the folder of the old version.

    Proof: The links bin/python and bin/python3 of the environment, and where they lead; pyvenv.cfg names the version.

    Repair: Make the environment anew with a list of its packages, or install the old Python again beside the new.

    Reference: https://docs.python.org/3/library/venv.html (environments are made to be thrown away and made anew)
    """
    for one in pythons.environments:
        interpreter = interpreters.of(one.prefix)
        if one.kind != "venv" or interpreter is None or not (one.in_use or _frameworks(one)):
            continue
        config = Evidence(f"{one.prefix}/pyvenv.cfg", f"version {one.version or 'not told'}, home = {one.base}")
        if not one.interpreter:
            yield Finding(
                f"The Python that {one.prefix} was made from is gone: {interpreter.path} leads to nothing.",
                one.prefix,
                (Evidence(interpreter.path, f"-> {interpreter.link}" if interpreter.link else "not there"), config),
                _made_anew(one),
                severity(one, Severity.ERROR),
                one.prefix,
            )
        elif interpreter.version and one.version and interpreter.version != one.version:
            yield Finding(
                f"{one.prefix} starts Python {interpreter.version}, and its packages are for Python {one.version}.",
                one.prefix,
                (Evidence(interpreter.path, f"-> {interpreter.real_path}"), config),
                _made_anew(one),
                severity(one, Severity.ERROR),
                one.prefix,
            )


def _made_anew(environment: PythonEnvironment) -> str:
    from gpudoctor.python.interpreters import commands_for_new_environment  # here for start-up: only findings need it

    try:
        commands = commands_for_new_environment(environment)
    except UnsafeWord:
        commands = ""
    again = f"install Python {environment.version} again" if environment.version else "install its Python again"
    return f"Make it anew: {commands}; or {again}." if commands else f"Make it anew, or {again}."


def _frameworks(environment: PythonEnvironment) -> frozenset[str]:
    return frozenset(
        one.name for one in environment.distributions if is_framework(one.name) and not one.name.startswith("nvidia-")
    )


@check(
    "python.wrong-interpreter",
    severity=Severity.WARNING,
    after=["python.interpreter-missing"],
    symptoms=[
        likely(r"No module named '(torch|tensorflow|jax|cupy|onnxruntime|numba)'", beside=_STARTED_ELSEWHERE),
        likely(_OWN_PACKAGES, beside=r"/(envs/[\w.-]+|\.?v?env[\w.-]*)/(bin|lib)/python\d?"),
        r"\bworks?\b.{0,60}\b(terminal|shell|command line)\b.{0,80}\b(jupyter|notebook|vs ?code|pycharm|cron)\b",
        r"\b(jupyter|notebook|kernel|service)\b.{0,60}\b(wrong|another|different|system|system's) python\b",
        hint(r"No module named '(torch|tensorflow|jax|cupy|onnxruntime|numba)'"),
        hint(r"Failed to start the Kernel|Kernel died before replying to kernel_info"),
        hint(r"ModuleNotFoundError: No module named 'encodings'"),
        hint(_OWN_PACKAGES, beside=r"conda|venv|virtualenv"),
    ],
)
def wrong_interpreter(
    pythons: PythonEnvironments, kernels: JupyterKernels | Unavailable, environment: Environment | Unavailable
) -> Iterator[Finding | Undecided]:
    """Something starts another Python, or brings other packages, than the environment's own.

    What: A notebook starts the program that its kernel.json names, whichever environment Jupyter itself runs in. The
    user's own packages (~/.local) come before those of a conda environment or a Python without a virtual environment,
    and the folders of PYTHONPATH before all. What works in the shell then fails in a notebook or a service.

    Proof: argv in kernel.json and whether that program is there; two versions of one package on an environment's
    search path, and which comes first; the Python that a folder of PYTHONPATH belongs to.

    Repair: `python -m ipykernel install --user --name NAME`, run in the right environment; PYTHONNOUSERSITE=1, or
    `python -m pip uninstall` of the user's copy; take the folder out of PYTHONPATH.

    Reference: https://ipython.readthedocs.io/en/stable/install/kernel_install.html;
    https://docs.python.org/3/library/site.html
    """
    paths = environment.folders("PYTHONPATH") if isinstance(environment, Environment) else ()
    for one in pythons.environments:
        yield from _foreign_folders(one, paths)
        yield from _shadowing(one, paths)
    if not isinstance(kernels, JupyterKernels):
        return
    if any(_frameworks(one) for one in pythons.environments):
        for problem in kernels.problems:
            yield Undecided(problem, matters=False)
        for kernel in kernels.kernels:
            yield from _kernel(kernel, pythons)


def _foreign_folders(one: PythonEnvironment, paths: tuple[str, ...]) -> Iterator[Finding]:
    """Folders of PYTHONPATH that belong to another Python: compiled packages in them cannot be loaded."""
    for folder in dict.fromkeys(path.rstrip("/") for path in paths):
        match = re.search(r"/python(\d\.\d+)/(?:site|dist-packages)", folder)
        there = [found.name for found in one.distributions if found.location == folder and is_framework(found.name)]
        if one.in_use and match and there and one.version and match[1] != one.version:
            yield Finding(
                f"PYTHONPATH puts packages of Python {match[1]} before those of Python {one.version} {place(one)}: "
                f"{', '.join(there[:4])}.",
                "PYTHONPATH",
                (Evidence("PYTHONPATH", folder), Evidence(one.prefix, f"Python {one.version}")),
                f"Take {folder} out of PYTHONPATH; `unset PYTHONPATH` ends it in this shell.",
                environment=one.prefix,
            )


def _shadowing(one: PythonEnvironment, paths: tuple[str, ...]) -> Iterator[Finding]:
    for behind in one.shadowed:
        first = one.get(behind.name)
        if first is None or not is_framework(behind.name) or first.version == behind.version:
            continue
        if first.location in paths:
            by, remedy = "PYTHONPATH", f"Take {first.location} out of PYTHONPATH; `unset PYTHONPATH` ends it here."
        elif "/.local/lib/" in first.location and one.kind != "system":
            by, remedy = "the user's own packages", _without_user_site(one, first)
        else:
            continue  # what is installed beside a distribution's own packages is meant to come first
        yield Finding(
            f"{first.name} {first.version} from {first.location} ({by}) hides {behind.version} {place(one)}.",
            f"{first.name} {first.version}",
            (Evidence(first.folder, first.version), Evidence(behind.folder, behind.version)),
            remedy,
            severity(one, Severity.WARNING, Severity.INFO),
            one.prefix,
        )


def _without_user_site(one: PythonEnvironment, first: Distribution) -> str:
    from gpudoctor.python.installers import spoken, uninstall  # here for start-up: only findings need it

    try:
        away = f"; or take the user's copy away: {spoken(uninstall(one, (first.name,), tool='pip'))}"
    except UnsafeWord:
        away = ""
    return f"`export PYTHONNOUSERSITE=1` keeps the user's packages out of this environment{away}."


def _kernel(kernel: JupyterKernel, pythons: PythonEnvironments) -> Iterator[Finding]:
    known = {one.prefix: one for one in pythons.environments}
    owner = known.get(kernel.belongs_to)
    evidence = (Evidence(kernel.path, f"argv[0] = {kernel.program}"),)
    if not kernel.there:
        default = kernel.name.startswith("python3")  # what a new notebook starts
        yield Finding(
            f"The Jupyter kernel {kernel.name} starts {kernel.program}, which is not there.",
            kernel.path,
            evidence,
            _registered(kernel, owner),
            Severity.WARNING if default and (owner is None or owner.in_use) else Severity.INFO,
            kernel.belongs_to,
        )
        return
    meant = owner or next((one for one in pythons.environments if one.in_use and _frameworks(one)), None)
    started = known.get(kernel.prefix)
    if meant is None or started is None or started.prefix == meant.prefix or not kernel.name.startswith("python3"):
        return
    lacking = sorted(_frameworks(meant) - _frameworks(started))
    if lacking:
        yield Finding(
            f"The Jupyter kernel {kernel.name} starts {kernel.program}, which has no {lacking[0]}; "
            f"{meant.prefix} has it.",
            kernel.path,
            (*evidence, Evidence(kernel.prefix, f"no {lacking[0]}"), Evidence(meant.prefix, f"has {lacking[0]}")),
            _registered(kernel, meant),
            Severity.WARNING if owner is not None and owner.in_use else Severity.INFO,
            kernel.belongs_to,
        )


def _registered(kernel: JupyterKernel, environment: PythonEnvironment | None) -> str:
    from gpudoctor.python.interpreters import kernel_command  # here for start-up: only findings need it

    command = kernel_command(kernel, environment) if environment and environment.interpreter else ""
    if command:
        return f"Register the environment's own Python: {command}."
    folder = kernel.path.rpartition("/")[0]
    anew = f"python -m ipykernel install --user --name {kernel.name}"
    return f"Run `{anew}` with the Python that is meant, or delete {folder}."
