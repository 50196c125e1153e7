"""What the packages that a repository offers need of each other, and how much room they take."""

from collections.abc import Iterable, Iterator

from gpudoctor.facts.package_offers import Offer, PackageOffers, oldest_first
from gpudoctor.facts.packages import Packages


def closure(asked: Iterable[Offer], offers: PackageOffers) -> Iterator[tuple[str, str]]:
    """Names and versions of these, and of what they need in the same version: apt would take the newest of it, and
    find that it does not fit.
    """
    pending, seen = list(asked), set()
    while pending:
        offer = pending.pop(0)
        if offer.name in seen:
            continue
        seen.add(offer.name)
        yield offer.name, offer.version
        for dependency in offer.depends:
            pending += _alike(dependency, offer, offers)


def _alike(dependency: str, by: Offer, offers: PackageOffers) -> list[Offer]:
    """The first alternative that the same maker has in the same version, under its own name or one that it provides;
    of several revisions the newest.
    """
    for name in alternatives(dependency):
        known = [one for one in offers.offers if one.maker == by.maker and name in (one.name, *one.provides)]
        fitting = [one for one in known if one.version == by.version] or [
            one for one in known if _upstream(one.version) == _upstream(by.version)
        ]
        if fitting:
            return [oldest_first(fitting)[-1]]
    return []


def alternatives(dependency: str) -> tuple[str, ...]:
    """The names in "a (= 1) | b:any"."""
    return tuple(part.strip().partition(" ")[0].partition(":")[0] for part in dependency.split("|"))


def _upstream(version: str) -> str:
    """ "535.261.03" of "535.261.03-1~deb12u1"."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0].partition("~")[0]


def sizes(asked: Iterable[Offer], offers: PackageOffers, packages: Packages) -> tuple[int, int]:
    """Bytes to download, and bytes on the disk, of these and of all that comes along from the same repository."""
    there = {package.name for package in packages.installed()}
    pending, seen = list(asked), set()
    download = size = 0
    while pending:
        offer = pending.pop()
        if offer.name in seen or offer.name in there:
            continue
        seen.add(offer.name)
        download, size = download + offer.download, size + offer.installed_size
        for dependency in offer.depends:
            name = alternatives(dependency)[0]
            pending += [one for one in offers.of(name) if one.maker == offer.maker][-1:]
    return download, size
