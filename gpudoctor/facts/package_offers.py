"""What the repositories of this machine offer of driver, CUDA and cuDNN, as their lists were fetched last.

Asked for by requests only: a diagnosis judges what is installed.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gpudoctor.facts.elf import elf_machine
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.package_names import is_of_interest
from gpudoctor.facts.package_order import dpkg_order
from gpudoctor.facts.wanted import Wanted
from gpudoctor.host import Host, NotRunning, Unavailable
from gpudoctor.registry import fact


class Offer(NamedTuple):
    """One version of one package in one repository."""

    name: str
    version: str  # the package manager's own: "535.309.01-1~deb12u1"
    maker: str  # of the repository: "NVIDIA", "Debian", "Ubuntu"...; "" unknown
    depends: tuple[str, ...] = ()  # in dpkg's form: "libnvidia-ml1 (= 535.309.01-1)", "a | b"
    download: int = 0  # bytes, 0 unknown
    installed_size: int = 0  # bytes, 0 unknown
    provides: tuple[str, ...] = ()  # names that it stands for: "nvidia-kernel-support--v1"


class PackageOffers(NamedTuple):
    """All that are of interest; () where nothing was asked for. `unread`: lists that could not be read, and why."""

    offers: tuple[Offer, ...]
    unread: tuple[str, ...] = ()

    def of(self, name: str) -> tuple[Offer, ...]:
        """The newest last."""
        return oldest_first(offer for offer in self.offers if offer.name == name)


def oldest_first(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    return tuple(sorted(offers, key=lambda offer: dpkg_order(offer.version)))


@fact
def package_offers(host: Host, wanted: Wanted, manager: PackageManager) -> PackageOffers:
    """From apt's lists, and pacman's databases. Raises Unavailable with other package managers: they alone can tell."""
    if not wanted.requests:
        return PackageOffers(())
    match manager.kind:
        case "apt":
            return _apt(host)
        case "pacman":
            return _pacman(host)
    raise Unavailable(f"what the repositories offer only {manager.kind or 'the package manager'} itself can tell")


_LISTS = "/var/lib/apt/lists"
# The parts of distributions' own archives that have neither drivers nor toolkits, and lists of tens of megabytes.
_DISTRIBUTIONS = ("Debian", "Ubuntu")
_WITHOUT_DRIVERS = re.compile(r"_(main|universe|non-free-firmware)_binary-")
_COMPRESSED = (".lz4", ".xz", ".gz", ".bz2", ".zst")
_HELPER = "/usr/lib/apt/apt-helper"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _apt(host: Host) -> PackageOffers:
    offers: dict[tuple[str, str, str], Offer] = {}
    unread = []
    names = host.list(_LISTS)
    if names is None:
        raise Unavailable(f"there is no {_LISTS}")
    own = _ARCHITECTURES.get(elf_machine(host, "/bin/sh"), "")
    for name in names:
        stem = next((name.removesuffix(ending) for ending in _COMPRESSED if name.endswith(ending)), name)
        if not stem.endswith("_Packages"):
            continue
        if own and "_binary-" in name and f"_binary-{own}_" not in name:
            continue
        try:
            maker = _maker(host, stem)
            if maker in _DISTRIBUTIONS and _WITHOUT_DRIVERS.search(name):
                continue
            text = _list(host, f"{_LISTS}/{name}", compressed=name != stem)
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        # All of NVIDIA's own: a toolkit needs packages of many names.
        wanted = (lambda _: True) if maker == "NVIDIA" else is_of_interest
        for offer in read_list(text, maker, own, wanted):
            offers.setdefault((offer.name, offer.version, offer.maker), offer)
    return PackageOffers(tuple(offers.values()), tuple(unread))


def _list(host: Host, path: str, *, compressed: bool) -> str:
    """Raises Unavailable for a compressed list where apt's own reader cannot be run, and for one that is too long."""
    if not compressed:
        return host.read(path) or ""
    try:
        done = host.run((_HELPER, "cat-file", path))
    except NotRunning as reason:
        raise Unavailable(f"{path} is compressed, and apt is not running to read it") from reason
    if done is None or done.exit_code:
        raise Unavailable(f"{path}: {done.stderr.strip() if done else f'there is no {_HELPER}'}")
    return done.stdout


def _maker(host: Host, name: str) -> str:
    """Who signs the repository that a list is of."""
    distribution, found, rest = name.partition("_dists_")
    stem = f"{distribution}_dists_{rest.partition('_')[0]}" if found else name.removesuffix("_Packages")
    for file in (f"{stem}_InRelease", f"{stem}_Release"):
        text = host.read(f"{_LISTS}/{file}", first=8192)
        if text is not None:
            return _maker_in(text)
    return "NVIDIA" if "nvidia" in name or "_cuda-repo" in name else ""


def _maker_in(release: str) -> str:
    """Of the head of a Release file."""
    found = re.search(r"^Origin: *(.+)$", release, re.MULTILINE)
    origin = found[1].strip() if found else ""
    makers = {"NVIDIA": "NVIDIA", "Debian": "Debian", "Ubuntu": "Ubuntu"}
    return next((maker for word, maker in makers.items() if origin.startswith(word)), origin)


def read_list(text: str, maker: str, architecture: str, wanted: Callable[[str], bool]) -> Iterator[Offer]:
    """The offers in a Packages file of Debian's format, of one architecture ("" any) and those for all."""
    for stanza in text.split("\n\n"):
        name = stanza.lstrip("\n").partition("\n")[0].removeprefix("Package: ").strip()
        if not name or not wanted(name):
            continue
        fields = dict(_fields(stanza))
        if architecture and fields.get("Architecture") not in (architecture, "all"):
            continue
        depends = [part.strip() for key in ("Pre-Depends", "Depends") for part in fields.get(key, "").split(",")]
        yield Offer(
            name,
            fields.get("Version", ""),
            maker,
            tuple(part for part in depends if part),
            _number(fields.get("Size", "")),
            _number(fields.get("Installed-Size", "")) * 1024,
            tuple(part.split()[0] for part in fields.get("Provides", "").split(",") if part.strip()),
        )


def _fields(stanza: str) -> Iterator[tuple[str, str]]:
    for line in stanza.split("\n"):
        if line[:1] not in (" ", "\t"):
            key, separator, value = line.partition(":")
            if separator:
                yield key, value.strip()


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


_SYNC = "/var/lib/pacman/sync"
_SYNC_LIMIT = 64 * 1024 * 1024  # bytes; extra.db has 8 MiB


def _pacman(host: Host) -> PackageOffers:
    names = host.list(_SYNC)
    if names is None:
        raise Unavailable(f"there is no {_SYNC}")
    found: list[Offer] = []
    unread = []
    for name in names:
        if name.endswith(".db"):
            data = host.read_bytes(f"{_SYNC}/{name}", _SYNC_LIMIT)
            try:
                found += read_database(data or b"", name.removesuffix(".db"))
            except ValueError as reason:
                unread.append(f"{_SYNC}/{name}: {reason}")
    return PackageOffers(tuple(found), tuple(unread))


def read_database(data: bytes, repository: str) -> Iterable[Offer]:
    """The offers in one of pacman's databases, an archive of a folder NAME-VERSION-RELEASE for each package.

    Raises ValueError if it is none, or compressed in a way that cannot be read here.
    """
    import tarfile  # here for start-up: only requests on Arch need it
    import zlib

    found: dict[tuple[str, str], Offer] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for member in archive:
                name, _, rest = member.name.partition("/")[0].rpartition("-")
                name, _, version = name.rpartition("-")
                if name and is_of_interest(name):
                    found.setdefault((name, version), Offer(name, f"{version}-{rest}", "Arch Linux"))
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"the database of {repository} cannot be read ({error})") from error
    return found.values()
