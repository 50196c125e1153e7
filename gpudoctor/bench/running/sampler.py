"""Watches the GPUs through NVML, in a child, while the benchmark runs: clocks, power, temperature, and what it counts.

Where NVML fails or hangs the benchmark goes on without it, and `Sampler.failure` says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from gpudoctor.bench.measures import Counters, Sample
from gpudoctor.bench.running.lines import Speaker, end_all, listen, listen_to_the_end, start_speaker
from gpudoctor.bench.verdicts.clocks import REASONS
from gpudoctor.children import own_python, signal_failure
from gpudoctor.facts.kernel_log import kernel_log
from gpudoctor.facts.xids import xid_lines
from gpudoctor.host import Host, Unavailable

INTERVAL = 0.1  # seconds between two samples of a GPU
BUSY_UTILISATION = 5  # percent, before the run: somebody else computes
BUSY_FREE_BYTES = 1 << 30  # less is free: somebody else holds the memory

# Starting NVML takes up to three seconds a GPU where no persistence daemon runs, a question about a GPU milliseconds.
_START_PATIENCE = 10.0
_START_PATIENCE_EACH = 4.0
_PATIENCE = 5.0
_CHILD = "from gpudoctor.bench.running.nvml_child import main; main()"


@dataclass
class Sampler:
    """The child that watches, and all that it has said; by the UUIDs that were asked for."""

    speaker: Speaker | None  # None: it is over
    patience: float  # seconds without a word until it counts as hung
    samples: dict[str, list[Sample]]  # in the order of time
    before: dict[str, Counters] = field(default_factory=dict)
    after: dict[str, Counters] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)  # what NVML says is wrong with a GPU: "GPU is lost"
    stopping: bool = False  # it was told to end
    failure: str = ""  # why there is nothing, or nothing any more: a sentence without a full stop

    def take_in(self) -> None:
        """Take in what the child has said, without waiting for more."""
        if self.speaker is None:
            return
        ended = self.speaker.ended
        if ended:
            listen_to_the_end(self.speaker)
        for line in self.speaker.take_lines():
            try:
                self._hear(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                self.end(f"the child that asks NVML said what is no sample: {line[:80]!r}")
                return
        if any(self.samples.values()):
            self.patience = min(self.patience, _PATIENCE)
        if ended:
            fine = self.failure or (self.stopping and self.speaker.child.process.returncode == 0)
            self.end(self.failure if fine else _why_it_ended(self.speaker))
        elif time.monotonic() - self.speaker.heard_at > self.patience:
            self.end(f"NVML did not answer for {self.patience:.0f} s")

    def _hear(self, told: Mapping[str, Any]) -> None:
        match told:
            case {"sample": values}:
                self.samples[values["uuid"]].append(Sample(**values))
            case {"counters": values}:
                kept = self.after if self.samples[values["uuid"]] else self.before
                kept[values["uuid"]] = Counters(**values)
            case {"error": [str(uuid), str(text)]}:
                self.errors.setdefault(uuid, []).append(text)
            case {"failure": str(text)}:
                self.failure = text
            case _:
                raise ValueError(told)

    def end(self, failure: str) -> None:
        """Nothing more is wanted, or will come: why, "" if that is as it should be."""
        if self.speaker is not None:
            self.failure = failure
            end_all([self.speaker], patience=0.5)
            self.speaker = None


def start_sampler(
    uuids: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    argv: Sequence[str] | None = None,
    interval: float = INTERVAL,
    patience: float | None = None,
) -> Sampler:
    """Start watching these GPUs or MIG instances. It raises nothing: see `Sampler.failure`.

    `argv`, `patience` (seconds without a word): for tests. Whoever starts it calls `stop_sampler`, whatever happens.
    """
    if patience is None:
        patience = _START_PATIENCE + _START_PATIENCE_EACH * len(uuids)
    sampler = Sampler(None, patience, {uuid: [] for uuid in uuids})
    order = json.dumps({"uuids": list(uuids), "interval": interval})
    try:
        sampler.speaker = start_speaker(argv or own_python(_CHILD), environment, given=order, limit=None)
    except OSError as error:
        sampler.failure = f"the child that asks NVML cannot be started: {error.strerror}"
    return sampler


def first_look(sampler: Sampler, seconds: float = 1.5) -> None:
    """Watch until every GPU was seen idle three times in a row, or the time is over: for `busy_reason`.

    The seconds count from the first sample. A driver that was just woken reports a full load for a moment.
    """
    began = None
    while sampler.speaker is not None:
        listen([sampler.speaker], INTERVAL)
        sampler.take_in()
        if began is None and any(sampler.samples.values()):
            began = time.monotonic()
        if all(_idle(samples[-3:]) for samples in sampler.samples.values()):
            return
        if began is not None and time.monotonic() - began > seconds:
            return


def stop_sampler(sampler: Sampler) -> None:
    """Have the counters read once more, and the child ended. May be called twice."""
    if sampler.speaker is None:
        return
    sampler.stopping = True
    until = time.monotonic() + _PATIENCE
    try:
        sampler.speaker.child.process.terminate()
        while sampler.speaker is not None and time.monotonic() < until:
            listen([sampler.speaker], INTERVAL)
            sampler.take_in()
    finally:
        if sampler.speaker is not None:
            sampler.end("the child that asks NVML did not end when it was told to")


def busy_reason(before: Counters | None, samples: Sequence[Sample]) -> str:
    """Why a GPU is not measured, from what was seen before anything ran: somebody else uses it. "" where it is free.

    A sentence without a full stop. What NVML does not tell speaks for nothing.
    """
    processes = before.processes if before else None
    free = before.free_memory_bytes if before else None
    if processes:
        return f"{processes} other {'process computes' if processes == 1 else 'processes compute'} on it"
    load = _utilisation(samples[-3:])
    if load is not None and load > BUSY_UTILISATION:
        return f"it was at {load:.0f} % of utilisation before the run"
    if free is not None and free < BUSY_FREE_BYTES:
        return f"only {free >> 20} MiB of its memory are free"
    return ""


def summarise(samples: Sequence[Sample], began: float, ended: float) -> dict[str, Any]:
    """One GPU between two moments of time.monotonic(): how many samples, least, middle and most of each reading.

    `reasons`: the clocks event reasons that were seen, by the share of samples, 0 to 1. A reading that was never told
    is None.
    """
    taken = [sample for sample in samples if began <= sample.at <= ended]
    told = [sample.reasons for sample in taken if sample.reasons is not None]
    readings = ("sm_mhz", "memory_mhz", "power_w", "temperature_c", "utilisation")
    return {
        "samples": len(taken),
        **{name: _spread([getattr(sample, name) for sample in taken]) for name in readings},
        "reasons": {
            REASONS.get(1 << bit, f"reason {1 << bit:#x}"): sum(bool(mask >> bit & 1) for mask in told) / len(told)
            for bit in range(64)
            if any(mask >> bit & 1 for mask in told)
        }
        if told
        else None,
    }


def count_xids(host: Host, pci_address: str) -> int | None:
    """How often the driver reported an error (Xid) of this GPU, "0000:07:00.0", in the kernel's log since the boot.

    None: this user may not read the log. What an old driver says without a domain counts for a GPU of any domain.
    """
    try:
        log = kernel_log(host)
    except Unavailable:
        return None
    return sum(told.may_be_of(pci_address) for told in xid_lines(log.lines))


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    return {"min": min(known), "median": median(known), "max": max(known)} if known else None


def _utilisation(samples: Sequence[Sample]) -> float | None:
    known = [sample.utilisation for sample in samples if sample.utilisation is not None]
    return median(known) if known else None


def _idle(samples: Sequence[Sample]) -> bool:
    loads = [sample.utilisation for sample in samples]
    return len(loads) == 3 and all(load is None or load <= BUSY_UTILISATION for load in loads)


def _why_it_ended(speaker: Speaker) -> str:
    code = speaker.child.process.returncode
    how = signal_failure(code) or f"it ended with exit code {code}"
    last = speaker.last_words.splitlines()[-1:]
    return f"the child that asks NVML gave up: {how}" + (f": {last[0][:200]}" if last and code > 0 else "")
