"""What Windows hands into WSL, read from the folders that it mounts."""

from pathlib import Path

import pytest
from disk_trees import disk

from gpudoctor import NotRunning, Unavailable
from gpudoctor.facts.wsl import WslHost, generation_of
from gpudoctor.host import FileStatus
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost
from gpudoctor.testing import MachineTree

load_plugins()
RELEASE = "5.15.153.1-microsoft-standard-WSL2"
LIBRARIES, STORE = "/usr/lib/wsl/lib", "/usr/lib/wsl/drivers"
DXG = {"/dev/dxg": FileStatus("character", 0o666, 0, 0, 0, 0.0, (10, 125))}
MINE = "nv_dispi.inf_amd64_0afec3f2050014a0"
OTHERS = ("iigd_dch.inf_amd64_5e01", "nvhda.inf_amd64_2b1c", "nvpcf.inf_amd64_77aa", "u0399.inf_amd64_aa")


def tree(folder: Path, *files: str, release: str = RELEASE) -> MachineTree:
    disk(folder, {"/proc/sys/kernel/osrelease": f"{release}\n", **dict.fromkeys(files, "")})
    return MachineTree(str(folder), nodes=DXG)


def test_windows_with_a_driver(tmp_path: Path) -> None:
    found = Facts(tree(tmp_path, f"{LIBRARIES}/libcuda.so.1", f"{LIBRARIES}/libdxcore.so", f"{STORE}/{MINE}/")).get(
        WslHost
    )
    assert found == WslHost(2, RELEASE, True, ("libcuda.so.1", "libdxcore.so"), ())
    assert found.has_cuda


def test_the_store_is_looked_into_where_there_is_no_libcuda(tmp_path: Path) -> None:
    recorded = RecordingHost(
        tree(tmp_path, f"{LIBRARIES}/libdxcore.so", *(f"{STORE}/{name}/" for name in (MINE, *OTHERS)))
    )
    found = Facts(recorded).get(WslHost)
    assert found.store == (MINE,)
    kept = redacted(recorded.answers)
    assert kept[f"list {STORE}"] == [MINE]
    assert Facts(SnapshotHost(kept)).get(WslHost) == found


def test_nothing_is_mounted(tmp_path: Path) -> None:
    assert Facts(tree(tmp_path, release="4.4.0-19041-Microsoft")).get(WslHost).generation == 1


def test_other_places(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="not WSL"):
        Facts(tree(tmp_path, release="6.8.0-90-generic")).get(WslHost)
    with pytest.raises(Unavailable, match="container in WSL"):
        Facts(tree(tmp_path / "container", "/.dockerenv")).get(WslHost)


@pytest.mark.parametrize(
    ("release", "generation"),
    [(RELEASE, 2), ("4.4.0-19041-Microsoft", 1), ("6.6.87.2-microsoft-standard-WSL2+", 2), ("4.19.104-microsoft", 2)],
)
def test_generations(release: str, generation: int) -> None:
    assert generation_of(release) == generation
