"""What the benchmark found: verdicts by phase, device and run, and the numbers behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from gpudoctor import __version__

SCHEMA = 2


class Status(Enum):
    """The verdict on a phase, a device or a whole run, the best first.

    Passed: it ran and is as it should be. Warned: it trains, but something is not as it should be. Not measured: the
    GPU was busy with somebody else's work. Skipped: there was nothing to run on, or it does not apply; never a pass.
    Failed: it ran and does not train, or trains wrongly.
    """

    PASSED = "passed"
    WARNED = "warned"
    NOT_MEASURED = "not measured"
    SKIPPED = "skipped"
    FAILED = "failed"


class Judgement(NamedTuple):
    """One thing that is not as it should be. `id` is the id of the check that explains it: "bench.compute-slow"."""

    id: str
    status: Status  # WARNED or FAILED
    subject: str  # "product in fp16"
    text: str  # one sentence, with the numbers


@dataclass
class PhaseResult:
    """One phase on one device."""

    name: str
    status: Status
    reason: str = ""  # one sentence
    judgements: list[Judgement] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)  # what was measured, as plain data


def by_the_worst(name: str, judgements: list[Judgement], numbers: dict[str, Any]) -> PhaseResult:
    """Of a phase with at least one of these: what failed speaks for it, else what comes first."""
    worst = next((one for one in judgements if one.status is Status.FAILED), judgements[0])
    return PhaseResult(name, worst.status, worst.text, judgements, numbers)


@dataclass
class DeviceResult:
    """Everything about one device."""

    text: str  # for a person: "NVIDIA H200 (GPU 0, 140 GiB, compute capability 9.0)"
    backend: str
    home: str = ""
    traits: dict[str, Any] | None = None  # as measures.Traits
    status: Status = Status.SKIPPED
    reason: str = ""
    phases: list[PhaseResult] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)  # counters before and after, samples during the run
    versions: dict[str, str | None] = field(default_factory=dict)  # as this device's child saw them

    def phase(self, name: str) -> PhaseResult | None:
        """The phase of this name, if it was part of the run."""
        return next((phase for phase in self.phases if phase.name == name), None)

    @property
    def judgements(self) -> list[Judgement]:
        """Of all phases, failures first."""
        found = [judgement for phase in self.phases for judgement in phase.judgements]
        return sorted(found, key=lambda judgement: judgement.status is not Status.FAILED)


@dataclass
class BenchResult:
    """A whole run."""

    backend: str  # "cupy", "torch", "numpy"; "auto" when none could be opened
    level: str
    seed: int
    status: Status = Status.SKIPPED
    reason: str = "The benchmark did not finish."
    devices: list[DeviceResult] = field(default_factory=list)
    between_gpus: PhaseResult | None = None  # None: there was one GPU
    versions: dict[str, str | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # "7 other GPUs were not tested: --all"
    began: str = ""  # UTC, "2026-11-25T17:00:00Z"
    seconds: float = 0.0  # the whole run

    @property
    def exit_code(self) -> int:
        """0 it trains (also with warnings), 2 it does not, 3 it could not run."""
        return {Status.PASSED: 0, Status.WARNED: 0, Status.FAILED: 2}.get(self.status, 3)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, schema 2. A number that is not finite becomes null: JSON has no word for it."""
        return {
            "schema": SCHEMA,
            "gpudoctor": __version__,
            "command": "bench",
            "status": self.status.value,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "backend": self.backend,
            "level": self.level,
            "seed": self.seed,
            "devices": [_device_json(device) for device in self.devices],
            "between_gpus": self.between_gpus and _phase_json(self.between_gpus),
            "versions": self.versions,
            "notes": self.notes,
            "began": self.began,
            "seconds": round(self.seconds, 3),
        }


def _device_json(device: DeviceResult) -> dict[str, Any]:
    return {
        "device": device.text,
        "backend": device.backend,
        "home": device.home,
        "traits": finite(device.traits),
        "status": device.status.value,
        "reason": device.reason,
        "phases": [_phase_json(phase) for phase in device.phases],
        "health": finite(device.health),
        "versions": device.versions,
    }


def _phase_json(phase: PhaseResult) -> dict[str, Any]:
    return {
        "phase": phase.name,
        "status": phase.status.value,
        "reason": phase.reason,
        "judgements": [{**judgement._asdict(), "status": judgement.status.value} for judgement in phase.judgements],
        "numbers": finite(phase.numbers),
    }


def finite(value: Any) -> Any:
    """The same data, with None for every number that is not finite, and lists for tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value
