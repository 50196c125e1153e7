"""Installed kernels: images, headers and initramfs of each, and which one boots next."""

from typing import NamedTuple

from gpudoctor.facts.boot_loader import next_boot
from gpudoctor.host import Host, quietly
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


_IMAGES = ("vmlinuz-", "Image-")
# NixOS has no /lib/modules. What the next boot loads lies here, with the generation that was made last.
_GENERATION = "/run/current-system/kernel-modules/lib/modules"
_BOOTED_GENERATION = "/run/booted-system/kernel-modules/lib/modules"
_NOT_IMAGES = ("rescue", ".old", ".bak", ".signed", ".hmac", ".dpkg-")


@fact
def installed_kernels(host: Host) -> InstalledKernels:
    """From the images in /boot and /lib/modules; a folder of modules without an image is a leftover, no kernel."""
    boot = host.list("/boot") or ()
    images = {}
    for name in boot:
        release = next((name.removeprefix(prefix) for prefix in _IMAGES if name.startswith(prefix)), "")
        if release[:1].isdigit() and not any(mark in release for mark in _NOT_IMAGES):
            images[release] = f"/boot/{name}"
    modules = modules_folder(host)
    if modules == _GENERATION:
        only = tuple(_kernel(host, release, "/run/current-system/kernel", boot) for release in host.list(modules) or ())
        return InstalledKernels(only, only[0].release, "/run/current-system")
    for release in host.list(modules) or ():
        if release[:1].isdigit() and release not in images:
            image = _image_without_version(host, release, boot)
            if image:
                images[release] = image
    newest_first = sorted(images, key=release_order, reverse=True)
    kernels = tuple(_kernel(host, release, images[release], boot) for release in newest_first)
    return InstalledKernels(kernels, *next_boot(host, {kernel.release: kernel.image for kernel in kernels}))


def booted_folder(host: Host) -> str:
    """Where modprobe looks for modules until a restart; "" where that is no other folder."""
    here = modules_folder(host) == _GENERATION and quietly(host.list, _BOOTED_GENERATION) is not None
    return _BOOTED_GENERATION if here else ""


def modules_folder(host: Host) -> str:
    """Where folders of modules lie, one for each kernel."""
    if host.list("/lib/modules") is None:
        generation = quietly(host.list, _GENERATION)
        if generation:
            return _GENERATION
    return "/lib/modules"


def release_order(release: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key: numbers as numbers, and a release candidate before its release, as boot loaders sort their menus."""
    words: list[tuple[int, int, str]] = []
    word = ""
    for character in release + "\0":
        same_kind = (character.isdigit() and word.isdigit()) or (character.isalpha() and word.isalpha())
        if word and not same_kind:
            words.append((3, int(word), "") if word.isdigit() else (2 if word != "rc" else 0, 0, word))
            word = ""
        if character.isascii() and character.isalnum():
            word += character
    return (*words, (1, 0, ""))


def _image_without_version(host: Host, release: str, boot: tuple[str, ...]) -> str:
    folder = f"/lib/modules/{release}"
    # Arch names images by package, and keeps the package's name beside the modules.
    name = f"vmlinuz-{(host.read(f'{folder}/pkgbase') or '').strip()}"
    if name in boot:
        return f"/boot/{name}"
    return f"{folder}/vmlinuz" if host.status(f"{folder}/vmlinuz") else ""


def _kernel(host: Host, release: str, image: str, boot: tuple[str, ...]) -> InstalledKernel:
    build = f"/lib/modules/{release}/build"
    bases = dict.fromkeys((image.rpartition("vmlinuz-")[2], release))
    names = [name for base in bases for name in (f"initrd.img-{base}", f"initramfs-{base}.img", f"initrd-{base}")]
    initramfs = next((f"/boot/{name}" for name in names if name in boot), "")
    status = host.status(initramfs) if initramfs else None
    return InstalledKernel(
        release,
        image,
        host.resolve(build) is not None,
        host.link(build) or "",
        initramfs,
        status.modified if status else None,
    )
