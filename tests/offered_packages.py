"""What repositories offer: Debian's as its lists have it, Ubuntu's and NVIDIA's cut after what they publish."""

import io
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from gpudoctor.facts.package_offers import Offer, PackageOffers, read_list

LISTS = Path(__file__).parent / "package_lists"  # fields of real lists of November 2026; descriptions are left out


@cache
def bookworm(*suites: str) -> PackageOffers:
    """Debian 12: all of "bookworm", "bookworm-security" and "bookworm-backports", or only these."""
    texts = [(LISTS / f"{suite}.txt").read_text("utf-8") for suite in suites or _SUITES]
    return PackageOffers(tuple(offer for text in texts for offer in read_list(text, "Debian", "amd64", lambda _: True)))


_SUITES = ("bookworm", "bookworm-security", "bookworm-backports")


def ubuntu(*versions: str, maker: str = "Ubuntu", revision: str = "0ubuntu0.24.04.1") -> tuple[Offer, ...]:
    """Drivers whose names carry the branch, and on Ubuntu the modules ready for its kernel 6.14.0-37."""
    found: list[Offer] = []
    for version in versions:
        branch, full = version.partition(".")[0], f"{version}-{revision}"
        for kind in ("", "-server"):
            series = f"{branch}{kind}"
            library = f"libnvidia-compute-{series}"
            found += [
                _offer(name, full, maker) for name in (library, f"libnvidia-gl-{series}", f"nvidia-utils-{series}")
            ]
            for flavour in ("", "-open"):
                built = (f"nvidia-dkms-{series}{flavour} (= {full})", f"{library} (= {full})")
                found += [
                    _offer(f"nvidia-dkms-{series}{flavour}", full, maker, "dkms"),
                    _offer(
                        f"nvidia-driver-{series}{flavour}", full, maker, *built, f"libnvidia-gl-{series} (= {full})"
                    ),
                    _offer(f"nvidia-headless-{series}{flavour}", full, maker, *built),
                ]
                for kernel in ("6.14.0-37-generic", "generic-hwe-24.04") if maker == "Ubuntu" else ():
                    found.append(_offer(f"linux-modules-nvidia-{series}{flavour}-{kernel}", "6.14.0-37.37+1", maker))
    return tuple(found)


def nvidia(*versions: str, pins: tuple[str, ...] = ()) -> tuple[Offer, ...]:
    """NVIDIA's repository: from branch 590 on for Ubuntu, and always for Debian, without the branch in the names."""
    found: list[Offer] = []
    for version in versions:
        full = f"{version}-1ubuntu1"
        for meta, module in (("nvidia-open", "nvidia-kernel-open-dkms"), ("cuda-drivers", "nvidia-kernel-dkms")):
            needs = (f"{module} (= {full})", f"nvidia-driver-cuda (= {full})", f"libnvidia-compute (= {full})")
            found += [_offer(meta, full, "NVIDIA", *needs), _offer(module, full, "NVIDIA", "dkms")]
        found += [_offer(name, full, "NVIDIA") for name in ("nvidia-driver-cuda", "libnvidia-compute")]
    found += [_offer(f"nvidia-driver-pinning-{pin}", f"{pin}-1ubuntu1", "NVIDIA") for pin in pins]
    return tuple(found)


def toolkits(*versions: str) -> tuple[Offer, ...]:
    """NVIDIA's toolkits ("12.8.1"), each with the parts that take the room."""
    found: list[Offer] = []
    for version in versions:
        suffix = "-".join(version.split(".")[:2])
        parts = {f"cuda-compiler-{suffix}": 600 << 20, f"cuda-libraries-dev-{suffix}": 3 << 30}
        needs = tuple(f"{name} (>= {version})" for name in parts)
        found.append(_offer(f"cuda-toolkit-{suffix}", f"{version}-1", "NVIDIA", *needs))
        found += [
            Offer(name, f"{version}-1", "NVIDIA", download=size // 2, installed_size=size)
            for name, size in parts.items()
        ]
        # The one that drags a driver along.
        found.append(_offer(f"cuda-{suffix}", f"{version}-1", "NVIDIA", "cuda-drivers", f"cuda-toolkit-{suffix}"))
    return tuple(found)


def cudnns(*versions: str, cuda: int = 12) -> tuple[Offer, ...]:
    """NVIDIA's cuDNN 9 ("9.10.2.21")."""
    found: list[Offer] = []
    for version in versions:
        full, suffix = f"{version}-1", f"cuda-{cuda}"
        headers = f"libcudnn9-headers-{suffix} (= {full})"
        found += [
            _offer(f"libcudnn9-{suffix}", full, "NVIDIA", "libc6"),
            _offer(f"libcudnn9-headers-{suffix}", full, "NVIDIA"),
            _offer(f"libcudnn9-dev-{suffix}", full, "NVIDIA", headers, f"libcudnn9-{suffix} (= {full})"),
        ]
    return tuple(found)


def _offer(name: str, version: str, maker: str, *depends: str) -> Offer:
    return Offer(name, version, maker, depends, 10 << 20, 40 << 20)


def as_list(offers: Iterable[Offer], architecture: str = "amd64") -> str:
    """The Packages file of a repository."""
    return "".join(
        f"Package: {offer.name}\nVersion: {offer.version}\nArchitecture: {architecture}\n"
        f"Depends: {', '.join(offer.depends)}\nSize: {offer.download}\n"
        f"Installed-Size: {offer.installed_size // 1024}\n\n"
        for offer in offers
    )


def pacman_database(*folders: str) -> bytes:
    """One of pacman's databases of packages ("nvidia-utils-590.48.01-2")."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for folder in folders:
            archive.addfile(tarfile.TarInfo(f"{folder}/desc"), io.BytesIO(b""))
    return buffer.getvalue()
