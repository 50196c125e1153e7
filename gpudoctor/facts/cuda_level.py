"""What programs get from this machine: the CUDA level of its driver, and the compute capability of each GPU."""

from typing import NamedTuple

from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import GIVEN_AWAY, PciGpus
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.host import Unavailable
from gpudoctor.registry import fact


class DriverCuda(NamedTuple):
    """The driver that programs meet."""

    driver: str  # "535.309.01"
    cuda: tuple[int, int] | None  # the highest CUDA that it supports natively: (12, 2); None unknown
    source: str  # where the driver's version was read
    certain: bool = True  # False: the branch is newer than the table, it supports this CUDA at least

    @property
    def words(self) -> str:
        """ "driver 535.309.01 (CUDA 12.2)"."""
        level = f" (CUDA {self.cuda[0]}.{self.cuda[1]}{'' if self.certain else ' or newer'})" if self.cuda else ""
        return f"driver {self.driver}{level}"


class ComputeGpu(NamedTuple):
    """One GPU that programs may use."""

    address: str  # "0000:01:00.0", "" where only NVML told
    name: str  # "NVIDIA GeForce RTX 5090"
    capability: tuple[int, int] | None  # (12, 0), None unknown
    source: str  # "NVML" or "GPU table, 10de:2b85"
    data_centre: bool | None  # forward compatibility is allowed on these only; None unknown

    @property
    def sm(self) -> str:
        """ "sm_120", "" unknown."""
        return f"sm_{self.capability[0]}{self.capability[1]}" if self.capability else ""

    @property
    def words(self) -> str:
        """ "NVIDIA GeForce RTX 5090 (compute capability 12.0)"."""
        known = f" (compute capability {self.capability[0]}.{self.capability[1]})" if self.capability else ""
        return f"{self.name or 'the GPU'}{known}"


class ComputeGpus(NamedTuple):
    """The GPUs of this machine that are not kept for virtual machines; () where there is none."""

    gpus: tuple[ComputeGpu, ...]

    @property
    def distinct(self) -> tuple[ComputeGpu, ...]:
        """One of each name: eight equal GPUs are judged once."""
        return tuple({gpu.name or gpu.address: gpu for gpu in reversed(self.gpus)}.values())[::-1]


@fact
def driver_cuda(
    loaded: LoadedDriver | Unavailable,
    versions: DriverVersions | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> DriverCuda:
    """What the libraries will offer after a reload that is pending, if one is: else what is loaded.

    Raises Unavailable where there is no driver whose version could be told.
    """
    from gpudoctor.knowledge.cuda import highest_cuda  # here for start-up: machines without a driver need no table

    driver, source = _driver(loaded, versions, nvml)
    if not driver[:1].isdigit():
        raise Unavailable("no driver whose version could be told")
    level = highest_cuda(int(driver.partition(".")[0]))
    answers = isinstance(nvml, Nvml) and nvml.return_code == 0 and nvml.driver_version == driver
    if answers and isinstance(nvml, Nvml) and nvml.cuda_version:
        return DriverCuda(driver, _pair(nvml.cuda_version), source)
    if level is None and isinstance(cuda, Cuda) and cuda.driver_version and "/compat" not in cuda.library_path:
        return DriverCuda(driver, _pair(cuda.driver_version), source)
    return DriverCuda(driver, level.cuda if level else None, source, level.certain if level else True)


def _driver(
    loaded: LoadedDriver | Unavailable, versions: DriverVersions | Unavailable, nvml: Nvml | Unavailable
) -> tuple[str, str]:
    if isinstance(versions, DriverVersions):
        if versions.user_space and "/compat" not in versions.user_space_path:
            return versions.user_space, versions.user_space_path
        if versions.on_disk and not versions.loaded:
            return versions.on_disk, versions.on_disk_path
    if isinstance(loaded, LoadedDriver) and loaded.version:
        return loaded.version, loaded.source
    if isinstance(nvml, Nvml) and nvml.driver_version:
        return nvml.driver_version, "NVML"
    return "", ""


def _pair(version: int) -> tuple[int, int]:
    """(12, 2) of 12020."""
    return version // 1000, version % 1000 // 10


@fact
def compute_gpus(gpus: PciGpus | Unavailable, nvml: Nvml | Unavailable) -> ComputeGpus:
    """From NVML where it answers; else from the bus and the GPU table. Raises Unavailable where neither can tell."""
    from gpudoctor.knowledge import is_data_centre, known_gpu  # here for start-up

    if isinstance(nvml, Nvml):
        told = [gpu for gpu in nvml.gpus if gpu.return_code == 0 and gpu.compute_capability]
        if told and len(told) == len(nvml.gpus):
            return ComputeGpus(
                tuple(
                    ComputeGpu(g.pci_address, g.name, g.compute_capability, "NVML", is_data_centre(g.name))
                    for g in told
                )
            )
    if isinstance(gpus, Unavailable):
        raise gpus
    found = []
    for gpu in gpus.gpus:
        if gpu.driver in GIVEN_AWAY:
            continue
        known = known_gpu(gpu.device_id)
        words = known.compute_capability.split(".") if known else []
        capability = (int(words[0]), int(words[1])) if len(words) == 2 else None
        found.append(
            ComputeGpu(gpu.address, gpu.name, capability, f"GPU table, 10de:{gpu.device_id}", is_data_centre(gpu.name))
        )
    return ComputeGpus(tuple(found))
