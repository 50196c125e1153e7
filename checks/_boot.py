"""The initramfs, which loads modules before the root file system is there, and may hold older ones."""

from gpudoctor import Unavailable
from gpudoctor.facts.kernels import InstalledKernels
from gpudoctor.facts.system import OperatingSystem

COMMANDS = {
    "debian": "update-initramfs -u -k {release}",
    "fedora": "dracut -f --kver {release}",
    "suse": "dracut -f --kver {release}",
    "arch": "mkinitcpio -P",
}


def refresh_initramfs(system: OperatingSystem, release: str) -> str:
    """ " with `update-initramfs -u -k 6.1.0-56-amd64`": how it is made anew; "" where the distribution is not known."""
    command = COMMANDS.get(system.family, "").format(release=release)
    return f" with `{command}`" if command else ""


def lacks_initramfs(release: str, kernels: InstalledKernels | Unavailable) -> bool:
    """Was this kernel left without one, where others have theirs? Then it will probably not find its disk."""
    installed = kernels.get(release) if isinstance(kernels, InstalledKernels) else None
    others = kernels.kernels if isinstance(kernels, InstalledKernels) else ()
    return installed is not None and not installed.initramfs and any(other.initramfs for other in others)


def do_not_restart(kernels: InstalledKernels | Unavailable) -> str:
    """A sentence for a machine that would not come up again; "" for all others."""
    release = kernels.next_boot if isinstance(kernels, InstalledKernels) else ""
    if not lacks_initramfs(release, kernels):
        return ""
    return f" Do not restart before that: kernel {release} boots next and has no initramfs."
