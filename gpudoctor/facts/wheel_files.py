"""Wheels that wrote the same files, and whose files lie there now: RECORD files compared with the disk, by hash."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.facts.record import RecordFile, parse_record, sha256_of, shared_paths
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class Collision(NamedTuple):
    """Two distributions that brought different files of the same names: the one installed last has the others'."""

    environment: PythonEnvironment
    family: str  # "onnxruntime", "nvidia-cudnn": at most one member belongs in an environment
    one: Distribution
    other: Distribution
    differing: int  # files that both brought, with different content
    path: str  # one of them
    holder: str  # the name of the distribution whose content lies at that path, "" neither's or unknown
    problem: str  # why the holder is not known, "" if it is

    @property
    def overwritten(self) -> str:
        """The name of the distribution that lost, "" if that is not known."""
        return {self.one.name: self.other.name, self.other.name: self.one.name}.get(self.holder, "")


class Incomplete(NamedTuple):
    """A distribution whose files are gone, as after another one with the same files was uninstalled."""

    environment: PythonEnvironment
    distribution: Distribution
    missing: tuple[str, ...]  # libraries of its RECORD that are not there
    of: int  # libraries in its RECORD


class Untold(NamedTuple):
    """What RECORD files do not tell."""

    prefix: str  # of the environment
    names: tuple[str, ...]  # of the distributions whose files are meant
    reason: str


class WheelFiles(NamedTuple):
    """What is wrong with files of wheels that other wheels bring as well."""

    collisions: tuple[Collision, ...]
    incomplete: tuple[Incomplete, ...]
    problems: tuple[Untold, ...] = ()


_FAMILIES = ("nvidia-", "onnxruntime", "ort-nightly", "cupy", "tensorflow", "tf-nightly", "faiss", "intel-tensorflow")
# Where their libraries are few enough to look at each: not in TensorFlow, whose RECORD has 24,000 rows.
_LOOKED_AT = (
    "nvidia-cudnn",
    "nvidia-nccl",
    "nvidia-nvshmem",
    "nvidia-curand",
    "nvidia-cusolver",
    "onnxruntime",
    "cupy-cuda",
)
_LIBRARIES = 40


@fact
def wheel_files(host: Host, pythons: PythonEnvironments) -> WheelFiles:
    """Only distributions of known families are compared: reading all RECORD files would take longer than all else."""
    problems: list[Untold] = []
    collisions: list[Collision] = []
    incomplete: list[Incomplete] = []
    for one in pythons.environments:
        if not one.having(*_FAMILIES):
            continue
        records = _Records(host, one, problems)
        collisions += _collisions(host, one, records)
        incomplete += _incomplete(host, one, records)
    return WheelFiles(tuple(collisions), tuple(incomplete), tuple(problems))


class _Records:
    """RECORD files of one environment, each read once."""

    def __init__(self, host: Host, environment: PythonEnvironment, problems: list[Untold]) -> None:
        self._host, self._prefix, self.problems = host, environment.prefix, problems
        self._known: dict[str, RecordFile | None] = {}

    def of(self, distribution: Distribution) -> RecordFile | None:
        """None where there is none that tells anything: conda and the system's package managers write none."""
        path = f"{distribution.folder}/RECORD"
        if path not in self._known:
            self._known[path] = self._read(path, distribution.name)
        return self._known[path]

    def _read(self, path: str, name: str) -> RecordFile | None:
        try:
            text = self._host.read(path)
        except Unavailable as reason:
            self.problems.append(Untold(self._prefix, (name,), str(reason)))
            return None
        if text is None:
            return None
        record = parse_record(text)
        if record.damaged:
            self.problems.append(Untold(self._prefix, (name,), f"{path}: {record.damaged} rows cannot be read"))
        elif not record.entries:  # a full disk or a power cut left it so
            self.problems.append(Untold(self._prefix, (name,), f"{path} lists no files"))
            return None
        return record


def _collisions(host: Host, environment: PythonEnvironment, records: _Records) -> Iterator[Collision]:
    if len(environment.having(*_FAMILIES)) < 2:
        return
    from gpudoctor.knowledge.wheels import collision_families  # here for start-up: one package collides with nothing

    for family in collision_families():
        members = [one for one in environment.distributions if one.name in family.members]
        for one, other in combinations(members, 2):
            if one.location != other.location:
                continue
            first, second = records.of(one), records.of(other)
            if first is None or second is None:
                both = f"{one.name} and {other.name} are both in {environment.prefix}"
                reason = f"{both}, and no RECORD tells whose files lie there"
                records.problems.append(Untold(environment.prefix, (one.name, other.name), reason))
                continue
            paths = shared_paths(first, second)
            differing = [path for path in paths if first.entries[path].hash != second.entries[path].hash]
            if differing:
                path = min(differing, key=lambda path: (first.entries[path].size or 1 << 60, path))
                owners = {sha256_of(first.entries[path]): one.name, sha256_of(second.entries[path]): other.name}
                holder, problem = _holder(host, f"{one.location}/{path}", owners)
                whole = f"{one.location}/{path}"
                yield Collision(environment, family.name, one, other, len(differing), whole, holder, problem)


def _holder(host: Host, path: str, owners: Mapping[str, str]) -> tuple[str, str]:
    try:
        digest = host.digest(path)
    except Unavailable as reason:
        return "", str(reason)
    if digest is None:
        return "", f"{path} is gone"
    return owners.get(digest, ""), "" if digest in owners else f"{path} is neither's: it was changed since"


def _incomplete(host: Host, environment: PythonEnvironment, records: _Records) -> Iterator[Incomplete]:
    for one in environment.having(*_LOOKED_AT):
        record = records.of(one)
        if record is None:
            continue
        libraries = [path for path in record.entries if ".so" in path and ".." not in path][:_LIBRARIES]
        try:
            missing = tuple(path for path in libraries if host.status(f"{one.location}/{path}") is None)
        except Unavailable:
            continue  # what cannot be looked at is found out by those who load it
        if missing:
            yield Incomplete(environment, one, missing, len(libraries))
