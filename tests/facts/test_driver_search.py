"""Which libcuda programs take, followed on disks."""

from pathlib import Path

from disk_trees import facts_on
from healthy_parts import ld_cache

from gpudoctor.facts.driver_search import LibcudaSearch
from gpudoctor.facts.environment import Environment
from gpudoctor.registry import Facts

SYSTEM = "/usr/lib/x86_64-linux-gnu"
DRIVER = {f"{SYSTEM}/libcuda.so.1": "-> libcuda.so.535.309.01", f"{SYSTEM}/libcuda.so.535.309.01": b"\x7fELF"}


def search(folder: Path, files: dict, *cached: str, library_path: str = "") -> LibcudaSearch:
    known = Environment({"LD_LIBRARY_PATH": library_path} if library_path else {}, ())
    facts = facts_on(folder, {**files, "/etc/ld.so.cache": ld_cache(list(cached))})
    return Facts(facts.host, {Environment: known}).get(LibcudaSearch)


def test_the_driver_s_own(tmp_path: Path) -> None:
    found = search(tmp_path, DRIVER, f"{SYSTEM}/libcuda.so.1")
    assert found.taken is not None
    assert (found.taken.version, found.taken.by) == ("535.309.01", "ld.so.cache")
    assert (found.taken.stub, found.taken.compat, found.compat_in_use, found.compat) == (False, False, None, ())
    assert search(tmp_path / "bare", {}).taken is None


def test_compat_in_place_and_in_use(tmp_path: Path) -> None:
    folder = "/usr/local/cuda-12.4/compat"
    files = {
        **DRIVER,
        f"{folder}/libcuda.so.1": "-> libcuda.so.550.54.15",
        f"{folder}/libcuda.so.550.54.15": b"\x7fELF",
        "/usr/local/cuda": "-> cuda-12.4",
    }
    ready = search(tmp_path / "ready", files, f"{SYSTEM}/libcuda.so.1")
    assert ready.compat_in_use is None
    (one,) = ready.compat  # the link /usr/local/cuda leads to the same
    assert (one.version, one.by, one.compat) == ("550.54.15", "", True)
    used = search(tmp_path / "used", files, f"{SYSTEM}/libcuda.so.1", library_path=folder).compat_in_use
    assert used is not None
    assert (used.folder, used.version, used.by) == (folder, "550.54.15", "LD_LIBRARY_PATH")


def test_stubs_that_ldconfig_found(tmp_path: Path) -> None:
    stubs = "/usr/local/cuda-12.4/targets/x86_64-linux/lib/stubs"
    files = {
        **DRIVER,
        "/usr/local/cuda-12.4/lib64": "-> targets/x86_64-linux/lib",
        f"{stubs}/libcuda.so": b"\x7fELF",
        f"{stubs}/libcuda.so.1": "-> libcuda.so",
    }
    found = search(tmp_path, files, f"{stubs}/libcuda.so.1", f"{SYSTEM}/libcuda.so.1")
    assert found.taken is not None
    assert found.taken.stub
    linked = search(tmp_path / "b", files, library_path="/usr/local/cuda-12.4/lib64/stubs").taken_by_name
    assert linked is not None
    assert linked.stub
