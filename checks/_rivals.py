"""Several distributions of one family in one environment: they bring the same files, and those of one are there."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gpudoctor import Evidence, Finding, Severity, Unavailable
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.facts.wheel_files import Incomplete, WheelFiles
from gpudoctor.python.reinstallations import Reinstallation, family

from ._environments import place, severity
from ._reinstall import remedy


class Rivals(NamedTuple):
    """The members of one family in one site-packages folder, two or more."""

    environment: PythonEnvironment
    members: tuple[Distribution, ...]
    holder: str  # whose files lie there, "" if that was not proven
    evidence: tuple[Evidence, ...]

    @property
    def names(self) -> str:
        """ "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1"."""
        return " and ".join(f"{one.name} {one.version}".strip() for one in self.members)


def rivals(pythons: PythonEnvironments, files: WheelFiles | Unavailable, name: str) -> Iterator[Rivals]:
    for environment in pythons.environments:
        members = family(environment, name)
        members = tuple(one for one in members if any(one.location == o.location and one != o for o in members))
        if len(members) < 2:
            continue
        known = () if isinstance(files, Unavailable) else files.collisions
        collisions = [one for one in known if one.family == name and one.environment.prefix == environment.prefix]
        holder = next((one.holder for one in collisions if one.holder), "")
        proofs = tuple(
            Evidence(one.path, f"sha256 of {one.holder}'s RECORD" if one.holder else one.problem)
            for one in collisions[:2]
        )
        metadata = tuple(Evidence(one.folder, f"{one.name} {one.version}") for one in members)
        yield Rivals(environment, members, holder, (*metadata, *proofs))


def torn(
    files: WheelFiles | Unavailable, name: str, again: Callable[[Incomplete], Reinstallation | None]
) -> Iterator[Finding]:
    """The only member of a family that is left somewhere, with libraries gone: another one took them along.

    `again`: how it is installed anew, None if nobody knows.
    """
    for left in () if isinstance(files, Unavailable) else files.incomplete:
        where, one = left.environment, left.distribution
        if family(where, name) != (one,):
            continue
        yield Finding(
            f"{one.name} {one.version} {place(where)} lacks {len(left.missing)} of its {left.of} libraries, as after "
            "another package with the same files was uninstalled.",
            f"{one.name} {one.version}",
            tuple(Evidence(f"{one.location}/{path}", "in RECORD, not there") for path in left.missing[:3]),
            remedy(where, again(left), f"Uninstall {one.name}, then install it again."),
            severity(where, Severity.ERROR),
            where.prefix,
            name,
        )
