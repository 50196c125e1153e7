"""Bring torch, what belongs to it, and the GPUs of this machine together, with the environment's own tool."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Run, Severity, Step, Unavailable, fix
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.extensions import TorchExtensions
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.python.installers import install, spoken, tool_of
from gpudoctor.python.steps import reinstalled

from ._scope import by_hand_if_unsafe
from .python_packages import restored


def _meant(findings: Findings, builds: FrameworkBuilds) -> Iterator[FrameworkBuild]:
    """The torch of each environment with a finding; a mere note is no reason to change an environment."""
    serious = {finding.environment for _, finding in findings.items if finding.severity is not Severity.INFO}
    return (build for build in builds.of("torch") if build.environment.prefix in serious)


@fix("fit-torch", cures=["torch.cpu-only", "torch.no-kernels-for-gpu"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def fit_torch(
    findings: Findings, builds: FrameworkBuilds, gpus: ComputeGpus, driver: DriverCuda | Unavailable
) -> Iterator[Step]:
    """Install the build of torch that has code for these GPUs and that the driver runs."""
    from gpudoctor.python.torch_family import fitting_build  # here for start-up: it reads the tables

    for build in _meant(findings, builds):
        found = fitting_build(build, driver, gpus)
        if found.best is None:
            told = " ".join(found.instead) or found.unknown or "no build that is known fits"
            yield Step(
                Manual(f"Choose a torch by hand ({told.rstrip('.')}), or leave it to another machine."),
                f"{build.words} in {build.environment.prefix} cannot use the GPU, and no known build fits.",
                Phase.AFTERWARDS,
                root=False,
            )
            continue
        yield from reinstalled(
            build.environment,
            install=found.best.requirements,
            index_url=found.best.index_url,
            why=f"{build.words} cannot use the GPU, and this build can. {found.best.why}",
        )


@fix("align-torch-family", cures=["torch.companion-mismatch"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def align_torch_family(findings: Findings, builds: FrameworkBuilds) -> Iterator[Step]:
    """Install the torchvision and torchaudio that belong to the torch that is there."""
    from gpudoctor.python.pins import torch_pin
    from gpudoctor.python.torch_family import family_mending  # here for start-up: it reads the tables

    for build in _meant(findings, builds):
        pinned = torch_pin(build.environment)
        if pinned:
            yield from restored(build.environment, *pinned)
            continue
        requirements, index, why = family_mending(build)
        yield from reinstalled(
            build.environment,
            install=requirements,
            index_url=index,
            why=f"{why}: each release of torchvision and torchaudio is compiled for one torch.",
        )


@fix("renew-extensions", cures=["python.extension-abi"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def renew_extensions(findings: Findings, builds: FrameworkBuilds, extensions: TorchExtensions) -> Iterator[Step]:
    """Install compiled packages for the torch that is there, or compile them anew against it."""
    from gpudoctor.python.torch_family import fitting_pin, mending  # here for start-up: it reads the tables
    from gpudoctor.python.torch_faults import extension_fault

    for build in _meant(findings, builds):
        environment = build.environment
        for extension in extensions.extensions:
            fault = extension_fault(extension, build, extensions) if extension.prefix == environment.prefix else None
            if fault is None:
                continue
            pinned = fitting_pin(environment, extension)
            if pinned:
                yield from restored(environment, *pinned)
                continue
            one = extension.distribution
            command = mending(extension, build)
            why = f"{one.name} {one.version} {fault.why}, and {build.words} is there."
            if not tool_of(environment) or environment.lock_file:
                yield Step(Manual(f"Run {spoken(command)}."), why, Phase.AFTERWARDS, root=environment.owner == 0)
                continue
            yield Step(
                Run(command),
                f"{why} Compiling can take an hour. The exit status is the proof.",
                Phase.BUILD,
                Risk.MEDIUM,
                root=environment.owner == 0,
                undo=Run(install(environment, (f"{one.name}=={one.release}",), reinstall=True, no_deps=True)),
            )


@fix("renew-bitsandbytes", cures=["bitsandbytes.no-binary"], effort=Effort.PYTHON_PACKAGE)
@by_hand_if_unsafe
def renew_bitsandbytes(findings: Findings, builds: FrameworkBuilds) -> Iterator[Step]:
    """Install a bitsandbytes with a library for torch's CUDA, or take back the variable that names another."""
    from gpudoctor.python.torch_family import quantisation_requirement  # here for start-up: it reads the tables

    by_variable = [finding for _, finding in findings.items if finding.subject == "BNB_CUDA_VERSION"]
    for finding in by_variable[:1]:
        yield Step(
            Manual(finding.remedy),
            "The variable makes bitsandbytes load another library than the one for torch's CUDA.",
            Phase.AFTERWARDS,
            root=False,
        )
    rest = Findings(tuple(item for item in findings.items if item[1].subject != "BNB_CUDA_VERSION"))
    for build in _meant(rest, builds):
        wanted = quantisation_requirement(build)
        if wanted:
            why = (
                f"This release of bitsandbytes has a library for {build.cuda_words}, which {build.words} was built for."
            )
            yield from reinstalled(build.environment, install=(wanted,), why=why)
        else:
            yield Step(
                Manual(f"Install a torch for another CUDA: no bitsandbytes has a library for {build.cuda_words}."),
                f"{build.words} was built for a CUDA that no known release of bitsandbytes serves.",
                Phase.AFTERWARDS,
                root=False,
            )


@fix("give-triton-its-tools", cures=["triton.ptxas-too-old", "triton.toolchain-missing"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def give_triton_its_tools(findings: Findings) -> Iterator[Step]:
    """Give triton an assembler that knows the GPU, a C compiler, and Python's headers."""
    for id, finding in findings.items:
        if finding.severity is Severity.INFO:
            continue
        what = "this GPU's assembler" if id.endswith("ptxas-too-old") else "a compiler"
        yield Step(
            Manual(finding.remedy),
            f"triton compiles when a program runs, and lacks {what}: which way suits that program its owner knows.",
            Phase.AFTERWARDS,
            root=False,
        )
