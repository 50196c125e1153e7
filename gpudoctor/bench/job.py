"""What a child of the benchmark is told to do, and what it says while doing it: JSON both ways.

The child reads one job from standard input and prints one event a line. Every phase of the job ends in exactly one
event `ended`: a phase that is never heard of again did not run, and what did not run is never green.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, NamedTuple

LEFT_OUT = "left out: "  # how a note begins that tells of a part of a phase that could not be measured


class Phase(str, Enum):
    """The phases, in the order in which they run."""

    NUMERICS = "numerics"
    TRAINING = "training"
    REPLAY = "replay"
    THROUGHPUT = "throughput"
    BURN = "burn"
    BETWEEN_GPUS = "between GPUs"


class Level(str, Enum):
    """How much of it: about ten seconds, about a minute, or a stretch of full load after the minute."""

    QUICK = "quick"
    DEFAULT = "default"
    BURN = "burn"


class Job(NamedTuple):
    """What one child has to do."""

    backend: str  # "cupy", "torch", "numpy"
    phases: tuple[Phase, ...]
    level: Level
    seed: int
    burn_seconds: float = 0.0
    busy: bool = False  # somebody else computes on this GPU: nothing is timed

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The same job again. Raises ValueError, KeyError or TypeError for a text that is none."""
        told = json.loads(text)
        told["phases"] = tuple(Phase(name) for name in told["phases"])
        told["level"] = Level(told["level"])
        return cls(**told)


class End(str, Enum):
    """How a phase ended."""

    MEASURED = "measured"  # `data` has what was measured: the verdict is still to come
    FAILED = "failed"  # it ran, and `reason` says what was seen
    SKIPPED = "skipped"  # it does not apply, or could not run here: `reason`


KINDS = ("opened", "began", "note", "ended", "finished")


class Event(NamedTuple):
    """One line of a child."""

    kind: str  # one of KINDS
    phase: str = ""
    end: str = ""  # of "ended": a value of End
    reason: str = ""
    seconds: float = 0.0  # of "began": about how long it will take
    data: dict[str, Any] = {}  # of "opened": device and versions; of "ended": what was measured  # noqa: RUF012

    def to_json(self) -> str:
        """One line; NaN and infinity are written as Python's json writes them."""
        return json.dumps({name: value for name, value in self._asdict().items() if value or name == "kind"})

    @classmethod
    def from_json(cls, line: str) -> Event:
        """The same event again. Raises ValueError for a line that is none."""
        told = json.loads(line)
        if not isinstance(told, dict) or told.get("kind") not in KINDS:
            raise ValueError(f"no event: {line[:80]!r}")
        try:
            event = cls(**told)
        except TypeError as error:
            raise ValueError(str(error)) from error
        texts = (event.phase, event.end, event.reason)
        if not (all(isinstance(text, str) for text in texts) and isinstance(event.data, dict)):
            raise ValueError(f"no event: {line[:80]!r}")
        if not isinstance(event.seconds, int | float) or not event.seconds >= 0:
            raise ValueError(f"no event: {line[:80]!r}")
        if event.kind == "ended":
            End(event.end)
        return event
