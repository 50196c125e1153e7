"""The initramfs, which loads modules before the root file system is there, and may hold older ones."""

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
