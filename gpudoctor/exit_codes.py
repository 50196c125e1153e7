"""Which exit code says what, and to whom: monitoring, node-problem-detector, Slurm and CI disagree about code 2."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

# What a report can say against a machine, the one that decides first. "unknown": something that could have been an
# error could not be told.
VERDICTS = ("error", "warning", "unknown")

# Not knowing weighs more than a warning here: who lets warnings pass still wants to hear that nobody could look.
FAIL_ON: Mapping[str, tuple[str, ...]] = {
    "error": ("error",),
    "unknown": ("error", "unknown"),
    "warning": VERDICTS,
    "never": (),
}


class ExitMap(NamedTuple):
    """The exit codes that somebody understands; what does not fail is 0. `fail_on`: where the user names none."""

    error: int
    warning: int
    unknown: int
    fail_on: str


EXIT_MAPS: Mapping[str, ExitMap] = {
    # Monitoring plugins guidelines: 1 WARNING, 2 CRITICAL, 3 UNKNOWN. Also what `check` does by itself.
    "nagios": ExitMap(2, 1, 3, "warning"),
    # node-problem-detector, custom plugins: 1 is a problem, 2 and more mean that it could not be told.
    "npd": ExitMap(1, 1, 2, "unknown"),
    # A Prolog that fails drains the node and requeues the job: right for a broken GPU, and for nothing less.
    "slurm": ExitMap(1, 1, 1, "error"),
    "simple": ExitMap(1, 1, 1, "warning"),
    # EX_TEMPFAIL of sysexits.h: the job is fine, another machine may do it.
    "retry": ExitMap(75, 75, 75, "unknown"),
}


class ExitRule(NamedTuple):
    """What the user asked for: names in FAIL_ON ("" the map's own) and EXIT_MAPS."""

    fail_on: str = ""
    exit_map: str = "nagios"

    @property
    def failing(self) -> tuple[str, ...]:
        """The verdicts that make the exit code another one than 0."""
        return FAIL_ON[self.fail_on or EXIT_MAPS[self.exit_map].fail_on]

    def failure(self, verdicts: Collection[str]) -> str:
        """The one of these verdicts for which a machine fails, "" if it does not."""
        return next((verdict for verdict in VERDICTS if verdict in verdicts and verdict in self.failing), "")

    def code(self, verdict: str) -> int:
        """The exit code of one of VERDICTS, of "" (nothing against this machine) 0."""
        codes = EXIT_MAPS[self.exit_map]
        match verdict if verdict in self.failing else "":
            case "error":
                return codes.error
            case "warning":
                return codes.warning
            case "unknown":
                return codes.unknown
            case _:
                return 0
