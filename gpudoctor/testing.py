"""For the tests of checks and fixes, ours and yours."""

from collections.abc import Mapping, Sequence

from gpudoctor.diagnose import Outcome, run_check
from gpudoctor.host import Completed, FileStatus, Host, ProbeAnswer, SqlValue
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import Step
from gpudoctor.snapshot import SnapshotHost

__all__ = ["ProbesOf", "facts_of", "outcome_of", "steps_of"]


def facts_of(*facts: object) -> Facts:
    """Nothing but these facts: all others are unknown."""
    load_plugins(fixes=True)
    return Facts(SnapshotHost({}), {type(fact): fact for fact in facts})


def outcome_of(check_id: str, *facts: object) -> Outcome:
    """What becomes of one check on nothing but these facts."""
    known = facts_of(*facts)
    return run_check(registry.checks[check_id], known)


def steps_of(fix_id: str, *facts: object) -> tuple[Step, ...]:
    """The steps of one fix on nothing but these facts. Raises Unavailable if it needs another."""
    known = facts_of(*facts)
    return tuple(known.call(registry.fixes[fix_id].function))


class ProbesOf(Host):
    """A recorded machine whose driver is really asked: files from one host, probes from another."""

    def __init__(self, files: Host, probes: Host) -> None:
        self._files, self._probes = files, probes
        self.source = files.source

    def read(self, path: str, *, last: int | None = None) -> str | None:
        return self._files.read(path, last=last)

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        return self._files.read_bytes(path, limit, offset=offset)

    def list(self, path: str) -> tuple[str, ...] | None:
        return self._files.list(path)

    def link(self, path: str) -> str | None:
        return self._files.link(path)

    def resolve(self, path: str) -> str | None:
        return self._files.resolve(path)

    def status(self, path: str) -> FileStatus | None:
        return self._files.status(path)

    def free_bytes(self, path: str) -> int | None:
        return self._files.free_bytes(path)

    def query(
        self, path: str, sql: str, parameters: Sequence[SqlValue] = ()
    ) -> tuple[tuple[SqlValue, ...], ...] | None:
        return self._files.query(path, sql, parameters)

    def run(self, argv: Sequence[str], *, timeout: float = 10.0) -> Completed | None:
        return self._files.run(argv, timeout=timeout)

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        return self._probes.probe(names)
