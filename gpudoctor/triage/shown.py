"""What a text states of a machine: versions, names and answers, each with the line where it stands."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.packages import Packages

NOT_SAID = "the text does not say"
THE_TEXT = "the text"  # as the source of what stands somewhere in it


class Stated(NamedTuple):
    """A value as it stands in the text."""

    value: str
    line: int  # as pasted, from 1
    words: str  # the line, shortened


class ShownDriver(NamedTuple):
    """None for what the text does not say."""

    version: (
        Stated | None
    )  # of the driver, as nvidia-smi, collect_env or the reader says: "535.161.08", or a branch "535"
    cuda: Stated | None  # the highest CUDA that it serves: "12.2"
    library: Stated | None  # of the libraries, where that is told apart from the module
    module: Stated | None  # of the module in the kernel
    file: Stated | None  # of the module file, as modinfo tells it
    nvml: Nvml | None  # the answer of nvidia-smi


class ShownPython(NamedTuple):
    """One environment. People show several at most by mistake; then the last word on each package counts."""

    version: str  # "3.11", "" not told
    packages: Mapping[str, Stated]  # by normalised name
    conda: tuple[CondaPackage, ...]
    whole: bool  # it is a list of what is installed, so that what is not in it is not there
    torch: Stated | None  # the version that torch itself tells: "2.7.0+cu128"
    torch_cuda: Stated | None  # what it was built for: "12.8", "None"
    torch_sees_gpu: bool | None  # the answer of torch.cuda.is_available()
    jax_sees_gpu: bool  # it lists one among its devices


class ShownSystem(NamedTuple):
    """ "" and () for what the text does not say."""

    name: str  # "Ubuntu 22.04.3 LTS"
    id: str  # "ubuntu", "windows", "macos"
    version: str  # "22.04"
    kernel: str  # "6.8.0-87-generic"
    machine: str  # "x86_64", "aarch64"
    container: str  # "docker", "kubernetes"...
    wsl: bool
    kernel_lines: tuple[str, ...]  # messages of the kernel that concern GPUs
    variables: Mapping[str, Stated]  # the environment's: LD_LIBRARY_PATH...


class Shown(NamedTuple):
    """All that was read from a text."""

    system: ShownSystem
    packages: Packages | None  # the distribution's, None where no list is shown
    driver: ShownDriver
    gpus: tuple[Stated, ...]  # names
    python: ShownPython
    no_gpu: bool  # it says that there is none of NVIDIA's
    speaks_of_gpu: bool  # it speaks of a GPU, of CUDA or of a driver of NVIDIA's at all

    @property
    def anything(self) -> bool:
        """Was anything read that a check could judge?"""
        return bool(
            self.gpus
            or self.python.packages
            or self.python.conda
            or self.python.torch
            or self.driver.version
            or self.packages
        )


def line_of(stated: Stated) -> str:
    """ "line 14", as the source of evidence."""
    return f"line {stated.line}" if stated.line else THE_TEXT
