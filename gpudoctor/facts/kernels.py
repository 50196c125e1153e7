"""Installed kernels, which one boots next, and the NVIDIA module on disk for each of them."""

from typing import NamedTuple

from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class InstalledKernel(NamedTuple):
    """One kernel release with an image under /boot or /lib/modules."""

    release: str
    image: str  # "/boot/vmlinuz-6.1.0-56-amd64"
    headers: bool  # /lib/modules/RELEASE/build leads somewhere
    headers_link: str  # where it points to, "" if there is no link
    initramfs: str  # path of its initramfs, "" if there is none
    initramfs_modified: float | None  # seconds since the epoch


class InstalledKernels(NamedTuple):
    """All installed kernels, newest first, and the one that the boot loader takes next."""

    kernels: tuple[InstalledKernel, ...]
    next_boot: str  # release, "" if it cannot be told
    next_boot_source: str  # what says so: "/vmlinuz", "GRUB_DEFAULT=0: the newest", ...

    def get(self, release: str) -> InstalledKernel | None:
        return next((kernel for kernel in self.kernels if kernel.release == release), None)


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

    def of(self, kernel: str) -> tuple[ModuleFile, ...]:
        return tuple(file for file in self.files if file.kernel == kernel)
