"""NCCL in the folders of the system and of Python wheels."""

from pathlib import Path

import pytest
from disk_trees import disk
from healthy_parts import ld_cache

from gpudoctor.facts.nccl import NcclLibraries, nccl_in
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.shared_libraries import SharedLibrary
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

load_plugins()

MULTIARCH = "/usr/lib/x86_64-linux-gnu"
HEADER = (
    '#define NCCL_MAJOR 2\n#define NCCL_MINOR 27\n#define NCCL_PATCH 3\n#define NCCL_SUFFIX ""\n\n'
    "#define NCCL_VERSION_CODE 22703\n#define NCCL_VERSION(X,Y,Z) (((X) >= 2 && (Y) <= 8) ? 1 : 2)\n"
)
DEBIAN: dict[str, str | bytes] = {
    f"{MULTIARCH}/libnccl.so.2": "-> libnccl.so.2.21.5",
    f"{MULTIARCH}/libnccl.so.2.21.5": "",
    "/usr/include/nccl.h": HEADER,
    "/etc/ld.so.cache": ld_cache([f"{MULTIARCH}/libnccl.so.2"]),
}
OWN = SharedLibrary("libnccl.so.2", "/opt/nccl/lib/libnccl.so.2", "/opt/nccl/lib/libnccl.so.2", "2.27.3")
SYSTEM = SharedLibrary("libnccl.so.2", f"{MULTIARCH}/libnccl.so.2", f"{MULTIARCH}/libnccl.so.2.21.5", "2.21.5")


@pytest.mark.parametrize(
    ("library_path", "libraries", "taken"),
    [("", (SYSTEM,), SYSTEM), ("/opt/nccl/lib", (OWN, SYSTEM), OWN), ("/opt/none", (SYSTEM,), SYSTEM)],
)
def test_which_one_the_loader_takes(
    library_path: str, libraries: tuple[SharedLibrary, ...], taken: SharedLibrary, tmp_path: Path
) -> None:
    own = {"/opt/nccl/lib/libnccl.so.2": "", "/opt/nccl/include/nccl.h": HEADER}
    disk(tmp_path, {**DEBIAN, **own, "/proc/self/environ": f"LD_LIBRARY_PATH={library_path}\0"})
    packages = Packages("dpkg", (Package("libnccl2", "2.21.5-1+cuda12.4", "amd64", "installed", False, ""),))
    found = Facts(MachineTree(str(tmp_path))).with_known(packages).get(NcclLibraries)
    assert found.libraries == libraries
    assert found.taken == taken
    assert found.headers == (("/usr/include/nccl.h", "/usr/include/nccl.h", "2.27.3"),)
    assert found.packages == packages.packages


def test_none(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{MULTIARCH}/libnccl-net.so.2": "", f"{MULTIARCH}/libnccl.so": ""}
    assert nccl_in(disk(tmp_path, files), MULTIARCH) is None
    assert Facts(disk(tmp_path, files)).get(NcclLibraries) == ((), (), None, (), ())


def test_a_wheel_without_its_header(tmp_path: Path) -> None:
    folder = "/opt/venv/lib/python3.12/site-packages/nvidia/nccl/lib"
    found = nccl_in(disk(tmp_path, {f"{folder}/libnccl.so.2": ""}), folder)
    assert found is not None
    assert found.version == ""
