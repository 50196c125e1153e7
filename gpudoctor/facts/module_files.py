"""The NVIDIA module on disk for each kernel (D of the four versions), and what it says of itself."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor.facts.installed_kernels import InstalledKernels, booted_folder, modules_folder
from gpudoctor.facts.modinfo import SIGNATURE_MARK, is_signed, modinfo_in, modinfo_of, plain_blocks, reader_of
from gpudoctor.facts.system import Kernel
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class ModuleFile(NamedTuple):
    """An NVIDIA kernel module on disk (D of the four versions), read from its modinfo section."""

    kernel: str  # release whose folder it lies in
    path: str
    origin: str  # "dkms" (updates/dkms), "updates", "extra", "weak-updates", "prebuilt" (kernel/...: a package's own)
    version: str  # "" if the file does not say
    flavour: str  # "open", "proprietary", "" unknown
    vermagic: str  # "6.1.0-50-amd64 SMP preempt mod_unload modversions"; its first word is the kernel it is built for
    signer: str  # "signed", or "" without a signature
    modified: float  # seconds since the epoch


class ModuleFiles(NamedTuple):
    """All of them, in the order in which depmod prefers them: for each kernel the first is the one modprobe loads."""

    files: tuple[ModuleFile, ...]
    booted: tuple[ModuleFile, ...] | None = None  # NixOS: what modprobe loads until a restart; None: the same

    def of(self, kernel: str) -> tuple[ModuleFile, ...]:
        return tuple(file for file in self.files if file.kernel == kernel)

    def only_after_restart(self, file: ModuleFile) -> bool:
        """Does modprobe find this module, or one of its version, only when the machine has been started anew?"""
        return self.booted is not None and file.version not in {booted.version for booted in self.booted}


# Folders below /lib/modules/KERNEL in the order in which the distributions' depmod.d prefers them, and what a module
# there is. Arch's packages use extramodules, DKMS on Fedora uses extra, Gentoo uses video.
_ORIGINS = {
    "override": "updates",
    "updates": "updates",
    "extra": "extra",
    "extramodules": "prebuilt",
    "video": "extra",
    "misc": "extra",
    "weak-updates": "weak-updates",
    "kernel": "prebuilt",
}
_DEPTH = 4  # extra/drivers/video/nvidia

# The licences that MODULE_LICENSE gives to the modules of the two flavours, in releases 470 to 595. nvidia-uvm and
# nvidia-peermem do not tell: theirs are the same in both, or changed over time.
_FLAVOURS = {
    ("", "NVIDIA"): "proprietary",
    ("", "Dual MIT/GPL"): "open",
    ("drm", "MIT"): "proprietary",
    ("drm", "Dual MIT/GPL"): "open",
    ("modeset", "NVIDIA"): "proprietary",
    ("modeset", "Dual MIT/GPL"): "open",
}
_SIBLINGS = ("drm", "modeset", "peermem", "uvm")  # those that tell the flavour first, the smallest first
_SIBLING_LIMIT = 8 * 1024 * 1024  # bytes, compressed
_CHUNK = 1024 * 1024


@fact
def module_files(host: Host, kernel: Kernel | Unavailable, kernels: InstalledKernels | Unavailable) -> ModuleFiles:
    """Of all installed kernels and the running one, whose files an upgrade may have left without an image."""
    releases = [installed.release for installed in kernels.kernels] if isinstance(kernels, InstalledKernels) else []
    if isinstance(kernel, Kernel):
        releases.insert(0, kernel.release)
    elif not releases:
        raise kernel
    folder = modules_folder(host)
    files = tuple(file for release in dict.fromkeys(releases) for file in _files_of(host, release, folder))
    booted = booted_folder(host)
    if not booted or not isinstance(kernel, Kernel):
        return ModuleFiles(files)
    return ModuleFiles(files, tuple(_files_of(host, kernel.release, booted)))


def _files_of(host: Host, release: str, modules: str) -> Iterator[ModuleFile]:
    base = f"{modules}/{release}"
    folders = {folder: names for folder, names in _folders(host, base) if any(map(_module_name, names))}
    paths = [f"{folder}/{name}" for folder, names in folders.items() for name in names if _module_name(name)]
    if len(paths) != 1:
        # What modprobe really takes of two, and whether a package put its module where nobody else does.
        indexed = [f"{base}/{path}" for path in _indexed(host, base)]
        paths = sorted(dict.fromkeys([*indexed, *paths]), key=lambda path: (path not in indexed, _rank(base, path)))
    for path in paths:
        status = host.status(path)
        if status and status.kind == "file":
            folder = path.rpartition("/")[0]
            names = folders.get(folder) or host.list(folder) or ()
            top = path.removeprefix(f"{base}/").partition("/")[0]
            origin = "dkms" if folder == f"{base}/updates/dkms" else _ORIGINS.get(top, "extra")
            yield ModuleFile(release, path, origin, *_said(host, path, status.size, names), status.modified)


def _folders(host: Host, base: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The few folders in which an NVIDIA module may lie, with the names in them."""
    top = host.list(base) or ()
    for name in _ORIGINS:
        if name in top and name != "kernel":
            yield from _walk(host, f"{base}/{name}", _DEPTH)
    if "kernel" in top:
        for name in host.list(f"{base}/kernel") or ():
            if name.startswith("nvidia"):  # Ubuntu: kernel/nvidia-580, kernel/nvidia-580srv-open
                yield from _walk(host, f"{base}/kernel/{name}", 1)
        yield from _walk(host, f"{base}/kernel/drivers/video", 2, "nvidia")


def _walk(host: Host, folder: str, depth: int, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    names = host.list(folder)
    if names is None:
        return
    yield folder, names
    for name in names if depth > 1 else ():
        if name.startswith(prefix) and ".ko" not in name:
            yield from _walk(host, f"{folder}/{name}", depth - 1)


def _indexed(host: Host, base: str) -> Iterator[str]:
    """Paths below the folder, from depmod's index."""
    text = host.read(f"{base}/modules.dep") or ""
    for line in text.splitlines() if "nvidia" in text else ():
        path = line.partition(":")[0]
        if _module_name(path.rpartition("/")[2]) and "\0" not in path:
            yield path.removeprefix(f"{base}/")


def _rank(base: str, path: str) -> tuple[int, str]:
    top = path.removeprefix(f"{base}/").partition("/")[0]
    return list(_ORIGINS).index(top) if top in _ORIGINS else len(_ORIGINS), path


def _module_name(name: str) -> str:
    """Without .ko and what follows: "nvidia-current"; "" for nvidia-uvm, nvidia-fs and all that is no main module."""
    stem, mark, compression = name.partition(".ko")
    words = stem.replace("_", "-").split("-")
    main = words[0] == "nvidia" and all(
        word in ("current", "tesla", "legacy", "open") or word[:1].isdigit() for word in words[1:]
    )
    return stem if main and mark and compression in ("", ".xz", ".zst", ".gz") else ""


def _said(host: Host, path: str, size: int, names: tuple[str, ...]) -> tuple[str, str, str, str]:
    """Version, flavour, vermagic and signer."""
    folder, _, name = path.rpartition("/")
    stem, _, compression = name.partition(".ko")
    if not compression:
        words = modinfo_of(lambda offset, size: host.read_bytes(path, size, offset=offset) or b"")
        end = host.read_bytes(path, len(SIGNATURE_MARK), offset=-len(SIGNATURE_MARK)) or b""
        return _said_by("", words, is_signed(end), path)
    # Unpacked, nvidia.ko has 60 MB and more. Its siblings come out of the same build, and have a hundredth of that.
    for sibling in _SIBLINGS:
        beside = f"{stem}-{sibling}.ko{compression}"
        if beside in names and size:
            data = host.read_bytes(f"{folder}/{beside}", _SIBLING_LIMIT) or b""
            plain = b"".join(plain_blocks(beside, [data]))
            words = modinfo_of(reader_of(plain))
            if "version" in words:
                return _said_by(sibling, words, is_signed(plain), path)
    return _said_by("", modinfo_in(plain_blocks(path, _chunks(host, path, size))), False, path)


def _said_by(kind: str, words: Mapping[str, str], signed: bool, path: str) -> tuple[str, str, str, str]:
    flavour = _FLAVOURS.get((kind, words.get("license", ""))) or ("open" if "-open" in path and words else "")
    return words.get("version", ""), flavour, words.get("vermagic", "").strip(), "signed" if signed else ""


def _chunks(host: Host, path: str, size: int) -> Iterator[bytes]:
    for offset in range(0, size, _CHUNK):
        yield host.read_bytes(path, _CHUNK, offset=offset) or b""
