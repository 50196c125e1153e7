"""Installed packages that matter to the GPU (P of the four versions), from the package manager's own files."""

from typing import NamedTuple


class Package(NamedTuple):
    """One package in the package manager's database."""

    name: str  # without architecture: "libcuda1"
    version: str  # the package manager's own: "535.309.01-0+deb12u1", "3:580.95.05-1.fc42"
    architecture: str
    state: str  # "installed", "unpacked", "half-configured", "half-installed", "triggers", "removed" (settings left)
    hold: bool  # held back on purpose (apt-mark hold, versionlock)
    vendor: str  # who made it, from Maintainer, Vendor or Packager: "NVIDIA CORPORATION <cudatools@nvidia.com>"
    depends: tuple[str, ...] = ()  # as written: "libnvidia-ptxjitcompiler1 (= 535.309.01-0+deb12u1)"
    conffiles_only: bool = False  # removed, its settings are left ("rc" of dpkg -l)

    @property
    def upstream(self) -> str:
        """The driver version in the package's version: "535.309.01" of "3:535.309.01-0+deb12u1"."""
        return self.version.rpartition(":")[2].partition("-")[0].partition("+")[0].partition("~")[0]


class Packages(NamedTuple):
    """Packages of interest: NVIDIA's driver, CUDA and container packages, kernels, headers, dkms, compilers; and
    every package, whatever its name, that is neither installed nor removed cleanly."""

    manager: str  # "dpkg", "rpm", "pacman", "" if no known database was found
    packages: tuple[Package, ...]

    def installed(self) -> tuple[Package, ...]:
        return tuple(package for package in self.packages if package.state != "removed")

    def get(self, name: str) -> Package | None:
        return next((package for package in self.installed() if package.name == name), None)
