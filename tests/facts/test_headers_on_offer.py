"""Headers that the archive still has, by what apt-cache prints."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor.facts.headers_on_offer import HeadersOnOffer
from gpudoctor.facts.installed_kernels import InstalledKernel, InstalledKernels
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.host import Completed, NotRunning, Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts
from gpudoctor.testing import MachineTree

ASKED = ("apt-cache", "pkgnames", "linux-headers-")
APT = PackageManager("apt")
PACKAGES = Packages("dpkg", (Package("linux-headers-6.1.0-50-amd64", "6.1.176-1", "amd64", "installed", False, ""),))


def installed(**headers: bool) -> InstalledKernels:
    kernels = [InstalledKernel(f"6.1.0-{name[1:]}-amd64", "", there, "", "", None) for name, there in headers.items()]
    return InstalledKernels(tuple(kernels), "", "")


def facts(folder: Path, said: str, code: int = 0, manager: PackageManager = APT) -> Facts:
    disk(folder, {"/etc/os-release": "ID=debian\n"})
    host = MachineTree(str(folder), commands={ASKED: Completed(ASKED, code, said, "")})
    kernels = installed(k56=False, k52=False, k50=True)
    return Facts(host, {PackageManager: manager, InstalledKernels: kernels, Packages: PACKAGES})


def test_of_the_kernels_without_headers_those_whose_headers_apt_knows(tmp_path: Path) -> None:
    said = "linux-headers-6.1.0-56-amd64\nlinux-headers-amd64\nlinux-headers-6.1.0-52-cloud-amd64\n"
    assert facts(tmp_path, said).get(HeadersOnOffer) == HeadersOnOffer(("6.1.0-56-amd64",))


@pytest.mark.parametrize(
    ("said", "code"), [("", 0), ("linux-headers-amd64\n", 100), ("linux-headers-6.1.0-50-amd64\n", 0)]
)
def test_apt_without_lists_tells_nothing(tmp_path: Path, said: str, code: int) -> None:
    with pytest.raises(Unavailable, match="lists fetched"):
        facts(tmp_path, said, code).get(HeadersOnOffer)


def test_only_apt_is_asked_and_only_where_it_runs(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="dnf itself"):
        facts(tmp_path, "", manager=PackageManager("dnf")).get(HeadersOnOffer)
    known = {PackageManager: APT, InstalledKernels: installed(k56=False), Packages: PACKAGES}
    with pytest.raises(NotRunning):
        Facts(RootHost(str(tmp_path)), known).get(HeadersOnOffer)
    known[InstalledKernels] = installed(k56=True)
    assert Facts(RootHost(str(tmp_path)), known).get(HeadersOnOffer) == HeadersOnOffer(())
