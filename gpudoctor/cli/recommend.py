"""`gpudoctor recommend`: the command that installs a framework so that it fits a driver, its GPUs and a Python."""

import re
from typing import NamedTuple

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver, wants_colour
from gpudoctor.cli.source import open_host
from gpudoctor.compatibility import read_architecture
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.package_manager import Argv, UnsafeWord
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.host import GLOBAL_TIMEOUT, Unavailable
from gpudoctor.knowledge import is_data_centre
from gpudoctor.knowledge.cuda import architecture_span
from gpudoctor.knowledge.gpu_names import gpus_called, squeezed_name
from gpudoctor.python.candidates import FRAMEWORKS
from gpudoctor.python.installers import ANYWHERE, TOOLS, caution, install, preparation, tool_of
from gpudoctor.python.pep440 import parse_version
from gpudoctor.python.pep508 import normalised
from gpudoctor.python.recommend import Recommendation, Target, installed_in, recommend, target_of
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.reports.recommendation import Answer, as_json, as_text
from gpudoctor.time_limit import limit, require_time

_ALIASES = {"pytorch": "torch", "onnxruntime-gpu": "onnxruntime"}
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


class RecommendOptions(NamedTuple):
    """`gpudoctor recommend`, as typer understood it."""

    request: str
    driver: str | None = None
    gpus: tuple[str, ...] = ()
    python_version: str | None = None
    machine: str | None = None
    python: str | None = None
    tool: str | None = None
    format: str = "text"
    output: str | None = None
    root: str | None = None
    snapshot: str | None = None


def recommend_command(options: RecommendOptions) -> int:
    """Print the answer. Returns 0 with one, 2 where nothing fits, 3 where it cannot be told. Raises BadUsage."""
    framework, version = _request(options.request)
    if options.tool is not None and options.tool not in TOOLS:
        raise BadUsage(f"--tool {options.tool}: none of {', '.join(TOOLS)}")
    target, environment = _target(options)
    recommendation = recommend(framework, target, version, installed=installed_in(environment))
    try:
        commands = _commands(environment, recommendation, options.tool or "")
    except UnsafeWord as reason:
        raise BadUsage(f"no command can be made for {environment.prefix}: {reason}") from reason
    warning = caution(environment) if commands else ""
    answer = Answer(options.request, target, environment.prefix, recommendation, commands, warning)
    colour = options.output is None and wants_colour()
    deliver(as_json(answer) if options.format == "json" else as_text(answer, colour=colour), options.output)
    return answer.exit_code


def _commands(environment: PythonEnvironment, recommendation: Recommendation, tool: str) -> tuple[Argv, ...]:
    best = recommendation.best
    if best is None:
        return ()
    if not tool:
        tool = tool_of(environment, environment.get(best.requirements[0].partition("=")[0]))
    first = preparation(environment, best.index_url, tool=tool)
    return (*first, install(environment, best.requirements, index_url=best.index_url, tool=tool))


def _request(text: str) -> tuple[str, str]:
    """Framework and version of "torch==2.9.1"; the version is "" where none is asked for."""
    name, equals, version = (part.strip() for part in text.partition("=="))
    framework = _ALIASES.get(normalised(name), normalised(name))
    if framework not in FRAMEWORKS:
        raise BadUsage(
            f"{text!r}: the tables know {', '.join(FRAMEWORKS)}, alone or with a version, as in torch==2.9.1"
        )
    if equals and not parse_version(version):
        raise BadUsage(f"{text!r}: {version!r} is no version; torch==2.9.1 would be one")
    return framework, version


def _target(options: RecommendOptions) -> tuple[Target, PythonEnvironment]:
    """What was named, and for the rest what this machine has."""
    gpus = tuple(_gpu(text) for text in options.gpus)
    driver = _driver(options.driver) if options.driver is not None else ""
    python = _python(options.python_version) if options.python_version is not None else None
    machine = _machine(options.machine) if options.machine is not None else ""
    environment = None
    elsewhere = bool(driver or gpus or machine)  # a machine that is not here
    target = Target("", None, (), None)
    if not (driver and gpus) or options.python or options.root or options.snapshot:
        target, environment = _here(options, gpus_named=bool(gpus), driver_named=bool(driver))
        if python or (elsewhere and not options.python):
            environment = None
            target = target._replace(python=None)
    if driver:
        target = target._replace(driver=driver, driver_cuda=None)
    return (
        target._replace(gpus=gpus or target.gpus, python=python or target.python, machine=machine or target.machine),
        environment or ANYWHERE,
    )


def _here(
    options: RecommendOptions, *, gpus_named: bool, driver_named: bool
) -> tuple[Target, PythonEnvironment | None]:
    """Driver, GPUs and Python of this machine, as far as they were not named, and the environment in use."""
    load_plugins()
    pythons = (options.python,) if options.python else ()
    not_asked = Unavailable("not asked for")
    with limit(GLOBAL_TIMEOUT):
        facts = Facts(open_host(options.root, None, options.snapshot, GLOBAL_TIMEOUT, pythons))
        driver = not_asked if driver_named else facts.get_or_reason(DriverCuda)
        gpus = not_asked if gpus_named else facts.get_or_reason(ComputeGpus)
        found = facts.get_or_reason(PythonEnvironments)
        try:
            require_time()  # what is fitted to half of a machine fits none
        except Unavailable as reason:
            raise BadUsage(f"{reason}; --driver and --gpu ask this machine nothing") from reason
    environment = None
    if isinstance(found, PythonEnvironments):
        environment = next((one for one in found.environments if one.in_use), None)
    return target_of(environment, driver, gpus), environment


def _driver(text: str) -> str:
    if not re.fullmatch(r"[0-9]{3}(?:\.[0-9]+){0,2}", text):
        raise BadUsage(f"--driver {text}: no driver version; 535.104.05 would be one, or its branch, 535")
    return text


def _python(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+)?", text, re.ASCII)
    if not found:
        raise BadUsage(f"--python-version {text}: no version of Python; 3.11 would be one")
    return int(found[1]), int(found[2])


def _machine(text: str) -> str:
    if text.lower() not in _MACHINES:
        raise BadUsage(f"--machine {text}: the tables know {' and '.join(sorted(set(_MACHINES.values())))}")
    return _MACHINES[text.lower()]


def _gpu(text: str) -> ComputeGpu:
    """The GPU that a name, "sm_89" or "8.9" means."""
    dotted = re.fullmatch(r"(\d+)\.(\d)", text.strip(), re.ASCII)
    architecture = read_architecture(text.strip().lower())
    if dotted or architecture:
        capability = (int(dotted[1]), int(dotted[2])) if dotted else architecture.capability if architecture else (0, 0)
        if architecture_span(capability) is None:
            raise BadUsage(f"--gpu {text}: no GPU of this compute capability is known")
        return ComputeGpu("", "", capability, "--gpu", None)
    rows = gpus_called(text)
    meant = {gpu.compute_capability: gpu for gpu in reversed(rows)}
    if not meant:
        raise BadUsage(f"--gpu {text}: the GPU table has no such name; sm_89 or 8.9 says its compute capability")
    if len(meant) > 1:
        listed = "; ".join(f"{gpu.name} ({capability or 'unknown'})" for capability, gpu in sorted(meant.items()))
        raise BadUsage(f"--gpu {text}: several GPUs are called so, of different compute capability: {listed}")
    found = next(iter(meant.values()))
    capability_words = found.compute_capability.split(".")
    known = (int(capability_words[0]), int(capability_words[1])) if len(capability_words) == 2 else None
    return ComputeGpu(
        "",
        found.name if squeezed_name(found.name) == squeezed_name(text) else text.strip(),
        known,
        "GPU table",
        is_data_centre(found.name),
    )
