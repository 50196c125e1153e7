"""The rules by which driver, CUDA, GPU and cuDNN fit each other, as pure functions over the tables of `knowledge`.

A CUDA release and a compute capability are pairs of numbers, (12, 8) and (8, 9); a driver is the text of its version.
Each answer has a value for "cannot tell"; none stands in for it.
"""

from collections.abc import Iterable
from enum import Enum
from functools import cache
from typing import NamedTuple

from gpudoctor.knowledge.cuda import CudaLevel, highest_cuda, minimum_driver, version_numbers


class Fit(Enum):
    """Whether a driver runs a build."""

    RUNS = "runs"
    TOO_OLD = "too old"
    UNKNOWN = "unknown"


class Forward(Enum):
    """Whether the forward compatibility package can make an old driver run a newer CUDA."""

    ALLOWED = "allowed"
    REFUSED = "refused"  # the driver refuses it on this kind of GPU
    NOT_NEEDED = "not needed"  # the driver runs it as it is; the package would only disturb
    UNKNOWN = "unknown"


class Coverage(Enum):
    """Whether a build has code for a GPU."""

    NATIVE = "native"
    PTX = "ptx"  # compiled by the driver when it is loaded: see can_jit
    NONE = "none"
    UNKNOWN = "unknown"


class Verdict(Enum):
    """Whether a build runs on a machine, and if not, what is in the way first."""

    RUNS = "runs"
    DRIVER_TOO_OLD = "driver too old"
    NO_KERNELS = "no kernels"  # no code for this GPU
    PTX_TOO_NEW = "ptx too new"  # only PTX, which this driver is too old to compile
    UNKNOWN = "unknown"


class Architecture(NamedTuple):
    """One word of an architecture list."""

    ptx: bool
    capability: tuple[int, int]
    suffix: str  # "", "a": this very architecture, "f": its family


def driver_runs(driver: str, cuda: tuple[int, int]) -> Fit:
    """Whether a driver ("580.95.05") runs programs built with a CUDA release.

    From CUDA 11 on every driver from the minimum of the major on does (minor version compatibility), before that
    from the toolkit's own driver on; newer drivers always run older CUDA. A bare branch ("580") stands for a current
    driver of that branch.
    """
    numbers = version_numbers(driver)
    if not numbers:
        return Fit.UNKNOWN
    minimum = minimum_driver(cuda)
    if minimum is None:
        return _by_level(driver_level(driver), cuda)
    least = version_numbers(minimum.version)
    if len(numbers) == 1:
        return Fit.RUNS if numbers[0] >= least[0] else Fit.TOO_OLD
    return Fit.RUNS if numbers >= least else Fit.TOO_OLD


def _by_level(level: CudaLevel | None, cuda: tuple[int, int]) -> Fit:
    """For a CUDA release without a known minimum: what the branch serves, where that decides."""
    if level is None:
        return Fit.UNKNOWN
    if level.cuda >= cuda:
        return Fit.RUNS
    return Fit.TOO_OLD if level.certain and cuda[0] > level.cuda[0] else Fit.UNKNOWN


def driver_level(driver: str) -> CudaLevel | None:
    """The CUDA that a driver serves natively, told from its branch; None: its branch is older than the table."""
    numbers = version_numbers(driver)
    return highest_cuda(numbers[0]) if numbers else None


def forward_compatible(data_centre: bool | None, driver: str, cuda: tuple[int, int]) -> Forward:
    """Whether cuda-compat of a CUDA release may serve where the driver is too old.

    `data_centre` tells the kind of GPU (`is_data_centre`): it is allowed on no other. ALLOWED says that the hardware
    permits it; NVIDIA's support matrix decides which kernel drivers each package works with.
    """
    fit = driver_runs(driver, cuda)
    if fit is Fit.RUNS:
        return Forward.NOT_NEEDED
    if data_centre is None or fit is Fit.UNKNOWN:
        return Forward.UNKNOWN
    return Forward.ALLOWED if data_centre else Forward.REFUSED


@cache
def read_architecture(word: str) -> Architecture | None:
    """A word of an architecture list: "sm_90a" is native code for 9.0, "compute_120" PTX; None: another word."""
    kind, _, rest = word.partition("_")
    number = rest.rstrip("af")
    suffix = rest[len(number) :]
    if kind not in ("sm", "compute") or len(number) < 2 or not number.isdecimal() or len(suffix) > 1:
        return None
    return Architecture(kind == "compute", (int(number[:-1]), int(number[-1])), suffix)


def serves(architecture: Architecture, capability: tuple[int, int]) -> bool:
    """Whether code for an architecture runs on a GPU.

    Native code runs on the same major and the same or a higher minor, PTX on the same or any higher capability.
    The suffix "a" binds either to its very architecture, "f" to the family: the same major, not a lower minor.
    """
    if architecture.suffix == "a":
        return architecture.capability == capability
    if architecture.ptx and not architecture.suffix:
        return architecture.capability <= capability
    return architecture.capability[0] == capability[0] and architecture.capability[1] <= capability[1]


def coverage(architectures: Iterable[str], capability: tuple[int, int], *, ptx_told: bool = True) -> Coverage:
    """Whether a build with these architectures ("sm_86", "compute_90") has code for a GPU.

    Words of another kind are passed over; UNKNOWN where no word is left. Where the list may leave out PTX
    (`ptx_told` False), it is UNKNOWN for a GPU newer than every architecture of the list.
    """
    known = [found for word in architectures if (found := read_architecture(word))]
    if not known:
        return Coverage.UNKNOWN
    serving = [architecture for architecture in known if serves(architecture, capability)]
    if not serving:
        newer = all(architecture.capability < capability for architecture in known)
        return Coverage.UNKNOWN if newer and not ptx_told else Coverage.NONE
    return Coverage.PTX if all(architecture.ptx for architecture in serving) else Coverage.NATIVE


def can_jit(driver_cuda: tuple[int, int], toolkit_cuda: tuple[int, int]) -> bool:
    """Whether a driver of this CUDA level compiles the PTX that a toolkit made: it must not be older than it."""
    return driver_cuda >= toolkit_cuda


def judge(
    cuda: tuple[int, int],
    architectures: Iterable[str],
    driver: str,
    capability: tuple[int, int],
    *,
    ptx_told: bool = True,
) -> Verdict:
    """Whether a build (its CUDA release and architectures) runs with this driver on a GPU of this capability.

    For a driver whose branch the table lacks, PTX newer than what is known of it gives UNKNOWN.
    """
    fit, covered = driver_runs(driver, cuda), coverage(architectures, capability, ptx_told=ptx_told)
    if fit is Fit.TOO_OLD:
        return Verdict.DRIVER_TOO_OLD
    if covered is Coverage.NONE:
        return Verdict.NO_KERNELS
    if fit is Fit.UNKNOWN or covered is Coverage.UNKNOWN:
        return Verdict.UNKNOWN
    if covered is Coverage.NATIVE:
        return Verdict.RUNS
    level = driver_level(driver)
    if level is None:
        return Verdict.UNKNOWN
    if can_jit(level.cuda, cuda):
        return Verdict.RUNS
    return Verdict.PTX_TOO_NEW if level.certain else Verdict.UNKNOWN


def cudnn_serves(running: tuple[int, ...], built: tuple[int, ...]) -> bool:
    """Whether the cuDNN that runs serves a program compiled against another: same major, not a lower minor."""
    return running[:1] == built[:1] and running[1:2] >= built[1:2]
