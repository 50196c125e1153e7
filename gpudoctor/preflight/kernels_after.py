"""The kernels of this machine as a transaction leaves them: which there are, which have headers, and which boots."""

from gpudoctor.facts.installed_kernels import InstalledKernel, InstalledKernels, release_order
from gpudoctor.facts.system import Kernel
from gpudoctor.preflight.kernel_packages import coming, going, headers_release, image_path
from gpudoctor.preflight.transaction import Transaction

_INITRAMFS = {"dpkg": "/boot/initrd.img-{}", "rpm": "/boot/initramfs-{}.img", "pacman": "/boot/initramfs-linux.img"}


def kernels_after(
    kernels: InstalledKernels, running: Kernel | None, transaction: Transaction, written: float | None
) -> InstalledKernels:
    """`running`: None where that cannot be told. `written`: when the new files come, seconds since the epoch."""
    manager, changes = transaction.manager, transaction.changes
    with_headers = {
        headers_release(manager, change.name, change.new, change.architecture) for change in changes if change.new
    }
    without_headers = {
        headers_release(manager, change.name, change.old, change.architecture) for change in changes if change.old
    } - with_headers
    gone = going(manager, changes)
    found = {
        kernel.release: kernel._replace(
            headers=(kernel.headers or kernel.release in with_headers) and kernel.release not in without_headers
        )
        for kernel in kernels.kernels
        if kernel.release not in gone
    }
    has_initramfs = any(kernel.initramfs for kernel in kernels.kernels) or not kernels.kernels
    for release, change in coming(manager, changes).items():
        if release not in found:
            headers = release in with_headers
            found[release] = InstalledKernel(
                release,
                image_path(manager, change.name, release),
                headers,
                "",
                _INITRAMFS[manager].format(release) if has_initramfs else "",
                written if has_initramfs else None,
            )
    newest_first = tuple(found[release] for release in sorted(found, key=release_order, reverse=True))
    return InstalledKernels(newest_first, *_next_boot(kernels, running, newest_first, transaction))


def _next_boot(
    before: InstalledKernels, running: Kernel | None, after: tuple[InstalledKernel, ...], transaction: Transaction
) -> tuple[str, str]:
    """The release, "" if it cannot be told, and what says so."""
    releases = [kernel.release for kernel in after]
    if not releases:
        return "", ""
    source = transaction.source
    if transaction.manager == "pacman":
        # Images are named after their packages: the entry of the menu stays, the kernel behind it is another one.
        was = before.next_boot or (running.release if running else "")
        images = [kernel.image for kernel in before.kernels if kernel.release == was]
        heir = next((kernel.release for kernel in after if kernel.image in images), "")
        return (heir, before.next_boot_source or f"{source}: it takes the place of {was}") if heir else ("", "")
    new = {*releases} - {kernel.release for kernel in before.kernels}
    if not new and before.next_boot in ("", *releases):
        return before.next_boot, before.next_boot_source
    if not before.next_boot and before.kernels and transaction.manager == "dpkg":
        return "", ""
    followed = releases
    if "GRUB_FLAVOUR_ORDER" in before.next_boot_source:
        flavour = before.next_boot.rpartition("-")[2]
        followed = [release for release in releases if release.endswith(f"-{flavour}")] or releases
    stayed = [kernel.release for kernel in before.kernels if kernel.release in followed]
    told = before.next_boot in releases and before.next_boot != next(iter(stayed), "")
    if told and transaction.manager == "dpkg":
        return before.next_boot, before.next_boot_source  # the boot loader was told to take this one, and obeys on
    # Red Hat's packages make each new kernel the default (/etc/sysconfig/kernel: UPDATEDEFAULT=yes).
    return followed[0], f"{source}: the newest kernel then"
