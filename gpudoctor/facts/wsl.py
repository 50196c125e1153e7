"""What Windows hands into WSL: the GPU's device, NVIDIA's libraries, and the drivers in Windows's own store."""

from typing import NamedTuple

from gpudoctor.facts.system import Confinement
from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import fact

LIBRARIES = "/usr/lib/wsl/lib"  # NVIDIA's libcuda, libnvidia-ml and nvidia-smi, of Windows's driver
STORE = "/usr/lib/wsl/drivers"  # Windows's driver store: a folder for each driver, as nv_dispi.inf_amd64_0123abcd


class WslHost(NamedTuple):
    """The Windows side, as far as it can be seen from inside WSL."""

    generation: int  # 1 or 2; WSL 1 has no kernel of its own, and no GPU
    release: str  # the kernel's, as evidence: "6.6.87.2-microsoft-standard-WSL2"
    device: bool  # /dev/dxg is there
    libraries: tuple[str, ...]  # names in the folder of libraries
    store: tuple[str, ...]  # NVIDIA's drivers in the store; looked for only where there is no libcuda

    @property
    def has_cuda(self) -> bool:
        return any(name.startswith("libcuda.so") for name in self.libraries)


@fact
def wsl_host(host: Host, confinement: Confinement) -> WslHost:
    """Raises NotRunning where this is no WSL, Unavailable in a container, which is shown little of it."""
    if not confinement.wsl:
        raise NotRunning("this is not WSL")
    if confinement.container:
        raise Unavailable("a container in WSL is not shown what Windows hands into it")
    release = (host.read("/proc/sys/kernel/osrelease") or "").strip()
    libraries = host.list(LIBRARIES) or ()
    found = WslHost(generation_of(release), release, host.status("/dev/dxg") is not None, libraries, ())
    return found if found.has_cuda else found._replace(store=drivers_of_nvidia(host.list(STORE) or ()))


def generation_of(release: str) -> int:
    """1 for "4.4.0-19041-Microsoft", 2 for "5.15.153.1-microsoft-standard-WSL2" and kernels people built for it."""
    return 1 if release.endswith("-Microsoft") else 2


def drivers_of_nvidia(names: tuple[str, ...]) -> tuple[str, ...]:
    """The display drivers of NVIDIA in Windows's store; those of its sound and USB have other names."""
    return tuple(name for name in names if name.startswith("nv") and ".inf_" in name and not _is_companion(name))


def _is_companion(name: str) -> bool:
    """nvhda: sound, nvppc and nvpcf: power, nvvad: virtual sound, nvmoduletracker, nvstor and nvraid: old chipsets."""
    other = ("nvhda", "nvvad", "nvvhci", "nvpcf", "nvppc", "nvswc", "nvmodule", "nvstor", "nvraid", "nvdimm", "nvme")
    return name.startswith(other)
