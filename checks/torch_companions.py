"""Do the torchvision and torchaudio of each Python environment belong to the torch beside them?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Undecided, check, hint, likely, sure
from gpudoctor.facts.extensions import TorchExtensions
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.package_manager import UnsafeWord

from ._environments import place, severity, undecided


@check(
    "torch.companion-mismatch",
    after=["torch.cpu-only", "torch.no-kernels-for-gpu", "cuda.driver-too-old"],
    symptoms=[
        sure(r"operator torchvision::\w+ does not exist|No such operator torchvision::"),
        sure(r"Could not run 'torchvision::\w+' with arguments from the 'CUDA' backend"),
        sure(r"(torchvision|torchaudio)( and (py)?torch)? were (compiled|built) (with|against|for) different CUDA"),
        sure(r"Couldn't load custom C\+\+ ops"),
        sure(r"torch(vision|audio|text|data) \S+ (requires torch==|has requirement torch==)"),
        sure(r"(torchvision|torchaudio|torchtext)\S*: undefined symbol"),
        likely(r"^torch(vision|audio)[ =]+\S+\+cpu\b", beside=r"^torch[ =]+\S+\+cu\d"),
        r"Could not load this library: \S*(libtorchaudio|_torchaudio)",
        r"partially initialized module 'torchvision' has no attribute 'extension'",
        r"(module 'torch\.library' has no attribute|cannot import name) '(register_fake|impl_abstract)'",
        r"(torchvision|torchaudio).{0,60}The specified procedure could not be found",
        hint(r"Failed to load image Python extension", without=r"lib(jpeg|png\d*|webp|nvjpeg|z)\S*: cannot open"),
    ],
)
def companion_mismatch(builds: FrameworkBuilds, extensions: TorchExtensions) -> Iterator[Finding | Undecided]:
    """torchvision or torchaudio does not belong to the torch beside it.

    What: Each release of torchvision and torchaudio is compiled against one torch, and for one CUDA or for the CPU.
    With another torch their operators are missing; with one for another CUDA they cannot be loaded. It happens when
    torch alone was upgraded, or when one of them came from another index.

    Proof: Requires-Dist in the companion's METADATA against the torch that is installed, and the CUDA that its own
    version.py names against torch's.

    Repair: Install torch's companions for the torch that is there, all from the same index in one command.

    Reference: https://github.com/pytorch/vision#installation; https://docs.pytorch.org/audio/main/installation.html
    """
    for build in builds.of("torch"):
        for prefix, name, reason in extensions.problems:
            if prefix == build.environment.prefix and name in ("torchvision", "torchaudio"):
                yield undecided(build.environment, reason)
        for companion in extensions.companions:
            if companion.prefix != build.environment.prefix:
                continue
            from gpudoctor.python.torch_faults import companion_fault  # here for start-up: only torch with companions

            fault = companion_fault(companion, build)
            if fault is None:
                continue
            one = companion.distribution
            yield Finding(
                f"{one.name} {companion.version} {fault.why}; {build.words} is {place(build.environment)}.",
                f"{one.name} {companion.version}",
                (Evidence(fault.source, fault.value), Evidence(build.source, build.value)),
                _together(build, one.name),
                severity(build.environment, Severity.ERROR if fault.severe else Severity.WARNING),
                build.environment.prefix,
                build.framework,
            )


def _together(build: FrameworkBuild, name: str) -> str:
    from gpudoctor.python.installers import instruction  # here for start-up: only findings need it
    from gpudoctor.python.torch_family import family_mending

    requirements, index, why = family_mending(build)
    try:
        return f"{why}: {instruction(build.environment, requirements, index_url=index)}."
    except UnsafeWord:
        return f"Install {name} and torch anew in one command, from the same index."
