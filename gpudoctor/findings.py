"""What a check is, what it can say, and the report of them all: the words of the engine as data."""

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor.exit_codes import VERDICTS, ExitRule
from gpudoctor.symptoms import Symptom

if TYPE_CHECKING:
    from gpudoctor.last_look import Changes  # which needs reports of this module


class Severity(enum.IntEnum):
    INFO = 1
    WARNING = 2
    ERROR = 3


class Status(enum.Enum):
    OK = "ok"
    FOUND = "found"
    BLOCKED = "blocked"  # explained by a cause that was found before it, or unknown for the reason of one before it
    UNKNOWN = "unknown"  # a fact could not be had
    CRASHED = "crashed"  # our bug
    SKIPPED = "skipped"  # deselected, or not applicable here


DESELECTED = "deselected"  # the reason of a skipped check that the user left out


class NotApplicable(Exception):
    """Raised by a check that makes no sense on this machine; the text says why. The outcome is `skipped`."""


class NotAsked(NotApplicable):
    """Raised by a check for something that only a request of the user's makes a matter: reports leave it out."""


class Evidence(NamedTuple):
    """What was read, where. `source`: a path, a command, "NVML"... `value`: as it stands there, shortened."""

    source: str
    value: str


class Finding(NamedTuple):
    """One problem on one subject."""

    summary: str  # one sentence
    subject: str = ""  # "0000:01:00.0", "6.1.0-56-amd64", "/usr/lib/.../libcuda.so.535.309.01"
    evidence: Sequence[Evidence] = ()
    remedy: str = ""  # what to do, in one or two sentences
    severity: Severity | None = None  # None: the check's own
    environment: str = ""  # prefix of the Python environment that has the problem, "" the machine
    framework: str = ""  # of the environment's frameworks the one that has it ("torch"), "" all of them


class Undecided(NamedTuple):
    """Yielded by a check for one of several subjects that it could not judge; what it found on the others stays."""

    reason: str
    matters: bool = True  # False: nobody means this subject now, so that it does not make a check fail
    environment: str = ""  # as of a finding


class Check(NamedTuple):
    """A registered check; see `check` for the fields."""

    id: str
    severity: Severity
    after: tuple[str, ...]
    symptoms: tuple[Symptom, ...]
    no_symptom: str
    function: Callable[..., Iterable[Finding | Undecided]]

    @property
    def explanation(self) -> str:
        from inspect import cleandoc  # here for start-up: only `explain` asks

        return cleandoc(self.function.__doc__ or "")

    @property
    def title(self) -> str:
        return (self.function.__doc__ or self.id).strip().partition("\n")[0]


class Outcome(NamedTuple):
    """What became of a check. One that found something can have a reason as well: what else it could not judge."""

    check: Check
    status: Status
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    matters: bool = False  # an unknown (or a crash) that forbids to call the machine fine
    cause: str = ""  # of a blocked one: the id of the check that found what explains it, or met its reason before
    same_reason: bool = False  # of a blocked one: nothing explains it, its cause could not tell either
    not_running: bool = False  # an unknown that was to be expected: nothing runs that could be asked
    not_recorded: bool = False  # an unknown of a snapshot: nobody asked for it then
    unasked: bool = False  # a skipped one that nobody has asked for

    @property
    def why(self) -> str:
        """The reason in one line: of a crash, whose reason is the traceback, the last one."""
        return (self.reason.strip().splitlines() or ["no reason given"])[-1]

    @property
    def looked(self) -> bool:
        """It judged all that it is about: what it found before and does not find now is gone."""
        match self.status:
            case Status.OK:
                return True
            case Status.FOUND:
                return not self.reason
            case Status.SKIPPED:
                return self.reason != DESELECTED
            case _:
                return False


class Acknowledgement(NamedTuple):
    """Somebody knows of a finding, and why it may stay so for a while."""

    reason: str
    expires: str  # its last day: "2027-01-31"


Problem = tuple[str, str, str]  # what tells a finding from all others: id of the check, subject, Python environment


class Ranked(NamedTuple):
    """A finding in the report's order. `explains`: ids of checks that fired as well, and are consequences of it."""

    check: Check
    finding: Finding
    severity: Severity
    explains: tuple[str, ...]
    acknowledged: Acknowledgement | None = None  # not None: shown, and no reason to fail
    certainty: str = ""  # where a text was read instead of a machine: "shown", "likely", "possible"

    @property
    def headline(self) -> str:
        """What is wrong, in one sentence: the check's title where the finding itself says nothing."""
        summary = self.finding.summary
        return summary if any(one.isprintable() and one != " " for one in summary) else self.check.title

    @property
    def problem(self) -> Problem:
        return self.check.id, self.finding.subject, self.finding.environment


class Report(NamedTuple):
    """All outcomes, causes before consequences, and the findings, root cause first, then by severity, and those that
    are acknowledged last.
    """

    outcomes: tuple[Outcome, ...]
    findings: tuple[Ranked, ...]
    exits: ExitRule = ExitRule()
    changes: "Changes | None" = None  # since the last look, where somebody asked for them
    untold: str = ""  # why nothing at all could be judged, "" where something was
    text_file: str = ""  # where a text was read instead of a machine: its file, as the user names it, "" if it has none

    @property
    def status(self) -> str:
        """The worst severity in lower case, "unknown" if something that matters could not be told, or "ok".

        What is acknowledged counts as information.
        """
        return next(iter(self.verdicts), "info" if self.findings else "ok")

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Those of `exit_codes.VERDICTS` that hold."""
        held = {ranked.severity.name.lower() for ranked in self.findings if ranked.acknowledged is None}
        if self.untold or any(outcome.matters for outcome in self.outcomes):
            held.add("unknown")
        return tuple(verdict for verdict in VERDICTS if verdict in held)

    @property
    def failure(self) -> str:
        """The verdict for which this machine fails by the exit rule, "" if it does not."""
        return self.exits.failure(self.verdicts)

    @property
    def exit_code(self) -> int:
        return self.exits.code(self.failure)
