"""Which kernels' headers can still be had: archives drop those of older kernels, and a repair must not promise them."""

from typing import NamedTuple

from gpudoctor.facts.installed_kernels import InstalledKernels
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.packages import Packages
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact

_HEADERS = "linux-headers-"


class HeadersOnOffer(NamedTuple):
    """Of the kernels whose headers are not installed, those whose headers the repositories have (on apt's systems)."""

    releases: tuple[str, ...]


@fact
def headers_on_offer(
    host: Host, manager: PackageManager, kernels: InstalledKernels, packages: Packages
) -> HeadersOnOffer:
    """From the lists that apt fetched last. Raises Unavailable where there are none, or with other package managers."""
    if manager.kind != "apt":
        raise Unavailable(f"which headers there are only {manager.kind or 'the package manager'} itself can tell")
    bare = tuple(kernel.release for kernel in kernels.kernels if not kernel.headers)
    if not bare:
        return HeadersOnOffer(())
    asked = host.run(("apt-cache", "pkgnames", _HEADERS))
    names = set(asked.stdout.split()) if asked is not None and asked.exit_code == 0 else set()
    if not names - {package.name for package in packages.packages}:
        # Without lists it still knows what is installed.
        raise Unavailable(f"apt knows of no {_HEADERS}* but installed ones: are its lists fetched?")
    return HeadersOnOffer(tuple(release for release in bare if _HEADERS + release in names))
