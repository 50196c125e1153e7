"""Which libcuda, the user's half of the driver, programs take: LD_LIBRARY_PATH can put another in its place."""

from typing import NamedTuple

from gpudoctor.facts.driver_version import is_driver_version
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.shared_libraries import loaded
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class Libcuda(NamedTuple):
    """One libcuda and what leads to it."""

    path: str  # as the loader names it: "/usr/local/cuda-12.4/compat/libcuda.so.1"
    real_path: str
    version: str  # of the driver it belongs to: "550.54.15", "" if its name does not tell
    by: str  # "LD_LIBRARY_PATH", "ld.so.cache", "default folders", "" where nothing leads to it

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def stub(self) -> bool:
        """Is it a toolkit's stub, made for linking alone?"""
        return "stubs" in (*self.path.split("/"), *self.real_path.split("/"))

    @property
    def compat(self) -> bool:
        """Is it of NVIDIA's forward compatibility package?"""
        return any(part in ("compat", "cuda-compat") for part in (*self.path.split("/"), *self.real_path.split("/")))


class LibcudaSearch(NamedTuple):
    """What the loader takes, and what else lies ready."""

    taken: Libcuda | None  # for libcuda.so.1, that programs are linked with
    taken_by_name: Libcuda | None  # for libcuda.so, that some open by this name (numba, triton)
    compat: tuple[Libcuda, ...]  # forward compatibility libraries of the toolkits in /usr/local, in use or not

    @property
    def compat_in_use(self) -> Libcuda | None:
        return self.taken if self.taken and self.taken.compat else None


@fact
def libcuda_search(host: Host, environment: Environment | Unavailable, cache: LoaderCache) -> LibcudaSearch:
    """From LD_LIBRARY_PATH, ld.so.cache, the default folders, and /usr/local/cuda*/compat."""
    return LibcudaSearch(
        _taken(host, "libcuda.so.1", environment, cache),
        _taken(host, "libcuda.so", environment, cache),
        tuple(_compat(host)),
    )


def _taken(host: Host, soname: str, environment: Environment | Unavailable, cache: LoaderCache) -> Libcuda | None:
    found = loaded(host, soname, environment, cache)
    return Libcuda(found.path, found.real_path, _version(found.real_path), found.by) if found else None


def _version(real_path: str) -> str:
    version = real_path.rpartition(".so.")[2]
    return version if is_driver_version(version) else ""


def _compat(host: Host) -> list[Libcuda]:
    found: dict[str, Libcuda] = {}
    for name in host.list("/usr/local") or ():
        if not name.startswith("cuda"):
            continue
        for folder in (f"/usr/local/{name}/compat", f"/usr/local/{name}/compat/lib"):
            try:
                real = host.resolve(f"{folder}/libcuda.so.1")
            except Unavailable:  # a folder that only others may enter serves nobody here
                continue
            if real:
                found.setdefault(real, Libcuda(f"{folder}/libcuda.so.1", real, _version(real), ""))
    return list(found.values())
