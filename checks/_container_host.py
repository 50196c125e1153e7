"""Where checks of containers, seen from the host, make sense."""

from typing import NamedTuple

from gpudoctor import Evidence, NotApplicable, NotRunning, Unavailable
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement


class HostDriver(NamedTuple):
    """The driver that containers are to get. Each version "" where there is none, or nobody can tell."""

    loaded: str
    libraries: str
    proof: Evidence

    @property
    def version(self) -> str:
        """Of the files that a container gets."""
        return self.libraries or self.loaded


def on_the_host(confinement: Confinement) -> None:
    """Raises NotApplicable in a container: engine and toolkit are the host's."""
    if confinement.container:
        raise NotApplicable(f"{confinement.container} container: what starts containers is on the host")


def host_driver(loaded: LoadedDriver | Unavailable, libraries: DriverLibraries | Unavailable) -> HostDriver:
    """Raises NotApplicable where there is no driver, Unavailable where that cannot be told."""
    for one in (loaded, libraries):
        if isinstance(one, Unavailable) and not isinstance(one, NotRunning):
            raise one
    if isinstance(libraries, DriverLibraries) and libraries.version:
        in_memory = loaded.version if isinstance(loaded, LoadedDriver) else ""
        proof = Evidence(libraries.libraries[0].real_path, libraries.version)
        return HostDriver(in_memory, libraries.version, proof)
    if isinstance(loaded, LoadedDriver) and loaded.version:
        return HostDriver(loaded.version, "", Evidence(loaded.source, loaded.version))
    raise NotApplicable("there is no NVIDIA driver here whose files a container could get")
