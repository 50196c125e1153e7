"""Can triton, which compiles kernels for torch.compile and many others, do so on this machine?"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.interpreters import Interpreters
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit

from ._environments import on_gpus, place, severity, undecided
from ._surroundings import ANOTHER_PTXAS

_NAMES = ("triton", "pytorch-triton")
_VARIABLES = ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH")


def _triton(environment: PythonEnvironment) -> Distribution | None:
    return next((found for name in _NAMES if (found := environment.get(name))), None)


@check(
    "triton.ptxas-too-old",
    severity=Severity.WARNING,
    after=["torch.no-kernels-for-gpu"],
    symptoms=[
        sure(
            r"ptxas(-\w+)? fatal\s*: Value 'sm_\d+[af]?' is not defined for option 'gpu-name'",
            beside=r"triton|inductor",
        ),
        r"ptxas(-\w+)? fatal\s*: Value 'sm_\d+[af]?' is not defined for option 'gpu-name'",
        r"\bPTXASError\b",
        r"`ptxas` failed with error code",
        r"'sm_\d+[af]?' is not a recognized processor for this target",
        likely(ANOTHER_PTXAS),
        hint(r"Cannot find ptxas\b", beside=r"triton"),
    ],
)
def ptxas_too_old(
    pythons: PythonEnvironments,
    gpus: ComputeGpus,
    environment: Environment | Unavailable,
    toolkits: CudaToolkits | Unavailable,
    interpreters: Interpreters | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The ptxas inside triton does not know this GPU.

    What: triton brings NVIDIA's assembler, ptxas, of the CUDA that was current when it was released. For a GPU that
    came later it stops: torch.compile, and every library with triton kernels, fails, while torch itself works.

    Proof: The table of the ptxas programs in triton's wheels, read from the programs themselves, against the compute
    capability of the GPU. TRITON_PTXAS_PATH puts another program in its place.

    Repair: Set TRITON_PTXAS_PATH to the ptxas of a CUDA toolkit that knows the GPU, or install a newer torch, which
    brings its triton.

    Reference: https://github.com/triton-lang/triton/issues/8539
    """
    kinds = on_gpus(gpus)
    variables = environment.variables if isinstance(environment, Environment) else {}
    gone = dict(interpreters.gone) if isinstance(interpreters, Interpreters) else {}
    for one in pythons.environments:
        found = _triton(one)
        if found is None or one.get("torch") is None:
            continue
        for gpu in kinds:
            program = _program(found, gpu, variables if one.in_use else {}, gone, toolkits)
            if isinstance(program, str):
                yield undecided(one, program)
            elif not program.knows:
                yield Finding(
                    f"{program.words} {place(one)} does not know {gpu.words}: torch.compile and kernels written for "
                    "triton fail."
                    if not program.gone
                    else f"{program.words} is not there, and triton {place(one)} wants to compile with it.",
                    f"{found.name} {found.version}",
                    (
                        *program.evidence,
                        Evidence(found.folder, f"Version: {found.version}"),
                        Evidence(gpu.source, gpu.words),
                    ),
                    _another(gpu, toolkits, program),
                    severity(one, Severity.WARNING, Severity.INFO),
                    one.prefix,
                )


class _Program(NamedTuple):
    """The ptxas that triton would call."""

    words: str
    knows: bool
    variable: str  # that names it, or can
    named: bool  # the variable names it
    gone: bool
    evidence: tuple[Evidence, ...]


def _program(
    found: Distribution,
    gpu: ComputeGpu,
    variables: Mapping[str, str],
    gone: Mapping[str, str],
    toolkits: CudaToolkits | Unavailable,
) -> _Program | str:
    """A text says why that cannot be told."""
    from gpudoctor.knowledge.companions import ptxas_used  # here for start-up: only where triton is

    if gpu.capability is None:
        return f"the compute capability of {gpu.words} is not known ({gpu.source})"
    ptxas = ptxas_used(found.release, gpu.capability) if found.installer != "conda" else None
    variable = _VARIABLES[ptxas is not None and ptxas.file == "ptxas-blackwell"]
    path = variables.get(variable, "")
    if path:
        told = (Evidence(variable, path),)
        if variable in gone:
            return _Program(f"{path}, which {variable} names,", False, variable, True, True, told)
        toolkit = _toolkit_of(path, toolkits)
        from gpudoctor.python.torch_family import knows  # here for start-up: only where the variable is set

        able = knows(toolkit, gpu) if toolkit else None
        if toolkit is None or able is None:
            return f"of which CUDA the program is that {variable} names ({path}) is not known"
        words = f"{path} of CUDA {toolkit.version}, which {variable} names,"
        return _Program(words, able, variable, True, False, (*told, Evidence(toolkit.version_source, toolkit.version)))
    if ptxas is None:
        return f"which ptxas {found.name} {found.version} uses is not known"
    # What came before triton's first GPUs is not the assembler's fault.
    old = gpu.capability[0] * 10 + gpu.capability[1] < ptxas.lowest
    words = f"The {ptxas.file} of CUDA {ptxas.cuda[0]}.{ptxas.cuda[1]} in {found.name} {found.version}"
    known = ", ".join(f"sm_{number}" for number in ptxas.newer)
    value = f"sm_{ptxas.lowest} to sm_90{f', {known}' if known else ''}"
    evidence = (Evidence(f"table of triton {found.release}, {ptxas.file}", value),)
    return _Program(words, old or ptxas.knows(gpu.capability), variable, False, False, evidence)


def _toolkit_of(path: str, toolkits: CudaToolkits | Unavailable) -> Toolkit | None:
    known = toolkits.toolkits if isinstance(toolkits, CudaToolkits) else ()
    return next(
        (one for one in known for folder in (one.folder, one.real_folder) if path == f"{folder}/bin/ptxas"), None
    )


def _another(gpu: ComputeGpu, toolkits: CudaToolkits | Unavailable, program: _Program) -> str:
    from gpudoctor.python.torch_family import toolkit_with_ptxas_for, torch_with_ptxas_for  # here for start-up

    root, newer = toolkit_with_ptxas_for(gpu, toolkits), torch_with_ptxas_for(gpu)
    if program.gone:
        return (
            f"`unset {program.variable}`, or let it name a ptxas that is there{f': {root}/bin/ptxas' if root else ''}."
        )
    ways = [f"`export {program.variable}={root}/bin/ptxas` takes the toolkit's own, which knows it"] if root else []
    if newer:
        ways.append(
            f"torch {newer} and later bring a triton that knows it (`gpudoctor recommend torch` names the build)"
        )
    if not ways:
        return f"Install a CUDA toolkit that knows {gpu.sm}, and let {program.variable} name its bin/ptxas."
    text = "; ".join(ways)
    return f"{text[0].upper()}{text[1:]}."


@check(
    "triton.toolchain-missing",
    severity=Severity.INFO,
    symptoms=[
        sure(r"libcuda\.so cannot found!"),
        sure(r"Please create a symlink of libcuda\.so to any of the file"),
        sure(r"Failed to find C compiler\b"),
        sure(r"(main|cuda_utils|driver)\.c:\d+:\d+: fatal error: Python\.h: No such file"),
        sure(r"Python\.h: No such file or directory", beside=r"triton|inductor|torch\.compile"),
        r"Python\.h: No such file or directory",
        r"cannot find -l:?(cuda\b(?!rt)|libcuda\.so)",
        r"Command '\[.*(gcc|cc|clang)'.*'-l:?(lib)?cuda",
        r"No working C\+\+ compiler found in torch\._inductor",
        hint(r"\b(gcc|cc): (command )?not found", beside=r"triton|inductor|torch\.compile"),
        hint(r"Cannot find a working triton installation"),
    ],
)
def toolchain_missing(pythons: PythonEnvironments, gpus: ComputeGpus, found: Interpreters) -> Iterator[Finding]:
    """triton finds no C compiler, or no Python.h, and needs both for torch.compile.

    What: To start a kernel triton compiles a little C file against Python's headers when it is first used. Without a
    compiler, or without the headers of this very Python, torch.compile and triton's kernels fail; the rest of torch
    works. A compiler that CC names is not seen here.

    Proof: There is no gcc or clang in the folders of PATH; or no Python.h where the interpreter has its headers.

    Repair: Install gcc and the headers (python3-dev, python3-devel). Where triton finds no libcuda, TRITON_LIBCUDA_PATH
    names the folder that has it.

    Reference: https://github.com/triton-lang/triton (python/triton/runtime/build.py)
    """
    on_gpus(gpus)
    if not any(_triton(one) for one in pythons.environments):
        raise NotApplicable("no Python environment has triton")
    for one in pythons.environments:
        interpreter, triton = found.of(one.prefix), _triton(one)
        if triton is None or not one.in_use or interpreter is None or not interpreter.real_path:
            continue
        missing = []
        if not found.compiler:
            missing.append(("a C compiler", Evidence("PATH", "no gcc, no clang"), "gcc"))
        if not interpreter.header:
            evidence = Evidence(f"{interpreter.folder}/Python.h", "not there")
            package = f"python{one.version}-dev (python3-devel)" if interpreter.real_path.startswith("/usr/") else ""
            missing.append((f"the headers of Python {one.version}", evidence, package))
        if missing:
            packages = [package for _, _, package in missing if package]
            named = " and ".join(name for name, _, _ in missing)
            yield Finding(
                f"{triton.name} {triton.version} {place(one)} does not find {named}: torch.compile needs it, "
                "the rest of torch does not.",
                f"{triton.name} {triton.version}",
                tuple(evidence for _, evidence, _ in missing),
                f"If you use torch.compile, install {' and '.join(packages)} with the package manager."
                if packages
                else "If you use torch.compile, take a Python that brings its headers.",
                environment=one.prefix,
            )
