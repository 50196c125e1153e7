"""For the tests of checks and fixes, ours and yours."""

from collections.abc import Mapping, Sequence

from gpudoctor.diagnose import run_check
from gpudoctor.findings import Outcome
from gpudoctor.host import Completed, FileStatus, Host, ProbeAnswer
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import Step
from gpudoctor.snapshot import SnapshotHost

__all__ = ["MachineTree", "facts_of", "outcome_of", "steps_of"]


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


class MachineTree(RootHost):
    """A running machine laid out in a folder: /proc and /sys are plain files there, device nodes are given by status.

    `commands`: what a command prints, by its words; others are not installed. `probes`: the host whose driver is
    really asked; without one, asking fails with the words of `no_answer`.
    """

    source = "live"
    absent = ()

    def __init__(
        self,
        root: str,
        *,
        nodes: Mapping[str, FileStatus] | None = None,
        commands: Mapping[tuple[str, ...], Completed] | None = None,
        probes: Host | None = None,
        no_answer: str = "not asked in this test",
    ) -> None:
        super().__init__(root)
        self._nodes, self._commands, self._probes, self._no_answer = nodes or {}, commands or {}, probes, no_answer

    def list(self, path: str) -> tuple[str, ...] | None:
        if path == "/dev":
            return tuple(sorted(node.removeprefix("/dev/") for node in self._nodes))
        return super().list(path)

    def status(self, path: str) -> FileStatus | None:
        return self._nodes.get(path) or super().status(path)

    def run(self, argv: Sequence[str], *, timeout: float = 10.0) -> Completed | None:
        return self._commands.get(tuple(argv))

    def try_framework(self, interpreter: str, framework: str, timeout: float) -> ProbeAnswer:
        if self._probes is None:
            return ProbeAnswer(None, self._no_answer)
        return self._probes.try_framework(interpreter, framework, timeout)

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        if self._probes is None:
            return {name: ProbeAnswer(None, self._no_answer) for name in names}
        return self._probes.probe(names)
