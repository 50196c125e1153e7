"""What the checks from inside a container share."""

from collections.abc import Sequence

from gpudoctor import Evidence, NotApplicable, Unavailable
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNode, DeviceNodes
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement

from ._return_codes import LIBRARY_NOT_FOUND

VISIBLE = "NVIDIA_VISIBLE_DEVICES"
CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES"


def inside(confinement: Confinement) -> None:
    """Raises NotApplicable outside of containers, and where GPUs come from Windows."""
    if not confinement.container:
        raise NotApplicable("this is no container")
    if confinement.wsl:
        raise NotApplicable("WSL: containers get the GPU through /dev/dxg")


def host_has_driver(loaded: LoadedDriver | Unavailable) -> bool:
    """Does the host's driver run? Where it does not, the container is not to blame."""
    return isinstance(loaded, LoadedDriver) and loaded.loaded


def gpu_nodes(nodes: DeviceNodes) -> tuple[DeviceNode, ...]:
    """/dev/nvidia0 and so on: the GPUs that the container was given."""
    return tuple(node for node in nodes.nodes if node.path.removeprefix("/dev/nvidia").isdigit())


def variable(environment: Environment | Unavailable, name: str) -> str | None:
    """None where it is not set, or not known."""
    return environment.variables.get(name) if isinstance(environment, Environment) else None


def hides_gpus(value: str | None) -> bool:
    """Does this value of NVIDIA_VISIBLE_DEVICES ask for no GPU?"""
    return value is not None and value.strip().lower() in ("", "void", "none")


def works(nvml: Nvml | Unavailable, cuda: Cuda | Unavailable) -> bool:
    """Seen, not inferred: both libraries start."""
    return isinstance(nvml, Nvml) and nvml.return_code == 0 and isinstance(cuda, Cuda) and cuda.return_code == 0


def has_libcuda(libraries: DriverLibraries, cuda: Cuda | Unavailable) -> bool:
    """A program that found it elsewhere, through LD_LIBRARY_PATH, proves that it is there."""
    return libraries.get("libcuda.so.1") is not None or (isinstance(cuda, Cuda) and cuda.library_path != "")


def has_nvml(libraries: DriverLibraries, nvml: Nvml | Unavailable) -> bool:
    """As above. Where NVML could not be asked, it is not said to be missing."""
    if libraries.get("libnvidia-ml.so.1") is not None or isinstance(nvml, Unavailable):
        return True
    return nvml.library_path != "" or nvml.return_code != LIBRARY_NOT_FOUND


def in_dev(nodes: Sequence[DeviceNode]) -> Evidence:
    return Evidence("/dev", ", ".join(node.path for node in nodes[:6]) or "no nvidia nodes")


def as_set(name: str, value: str | None) -> Evidence:
    return Evidence(name, "not set" if value is None else repr(value))
