"""Baselines: results that later runs are held against. The file is what `bench --format json` prints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gpudoctor.bench.result import SCHEMA, BenchResult, DeviceResult, Judgement, PhaseResult, Status
from gpudoctor.bench.words import amount
from gpudoctor.host import BadSource
from gpudoctor.plain_files import read_named
from gpudoctor.state import replace_file

ID = "bench.below-baseline"

# SuperBench calls a GPU defective that is this far below its baseline.
WARN_BELOW = 0.95

_LARGEST = 64 * 1024 * 1024  # bytes

_CPU = "CPU"

Kind = tuple[str, str, str]  # what, precision, shape
Row = Mapping[str, Any]  # of a result's rates


class BaselineDevice(NamedTuple):
    """One device of a baseline."""

    name: str  # "NVIDIA H200", CPU for the CPU
    uuid: str
    sm_count: int
    driver: str
    rates: Mapping[Kind, Row]  # the rows of the result


class Baseline(NamedTuple):
    """A result that later ones are held against."""

    path: str
    level: str
    backend: str
    devices: tuple[BaselineDevice, ...]


def save_baseline(path: str, result: BenchResult) -> None:
    """Write a result so that `load_baseline` reads it. Raises BadSource if it is none to go by, OSError."""
    if not any(_rates(_throughput(device)) for device in result.devices):
        raise BadSource(f"no baseline was written to {path}: this run measured no rates ({result.reason})")
    if result.status is Status.FAILED:
        raise BadSource(f"no baseline was written to {path}: this run failed, and a sick GPU is no yardstick")
    replace_file(os.path.abspath(path), (json.dumps(result.to_json(), indent=1) + "\n").encode(), mode=0o644)


def load_baseline(path: str) -> Baseline:
    """Read it again. Raises BadSource, in words for the user."""
    data = read_named(path, _LARGEST + 1)
    if len(data) > _LARGEST:
        raise BadSource(f"{path}: too large for a baseline")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{path}: not a baseline: {error}") from error
    match document:
        case {"command": "bench", "schema": int(schema)} if schema != SCHEMA:
            raise BadSource(f"{path}: a result of schema {schema}; this gpudoctor compares with schema {SCHEMA}")
        case {"command": "bench", "schema": int(), "level": str(level), "backend": str(backend), "devices": list(told)}:
            devices = tuple(one for one in map(_baseline_device, told) if one is not None)
        case _:
            raise BadSource(f"{path}: not a baseline: it is no result of `gpudoctor bench --format json`")
    if not devices:
        raise BadSource(f"{path}: not a baseline: no rates are in it")
    return Baseline(path, level, backend, devices)


def require_comparable(
    baseline: Baseline, *, level: str, backend: str, names: Sequence[str], precisions: Sequence[str] | None = None
) -> None:
    """Raises BadSource, in words for the user, if a run cannot be held against the baseline.

    names: of the GPUs to be tested. precisions: of the products that were timed; None before the run.
    """
    if baseline.level != level:
        raise BadSource(f"{baseline.path}: a baseline of level {baseline.level}, and this run is of level {level}")
    if baseline.backend != backend:
        raise BadSource(f"{baseline.path}: a baseline measured with {baseline.backend}, and this run uses {backend}")
    there = list(dict.fromkeys(one.name for one in baseline.devices))
    for name in names:
        if name not in there:
            raise BadSource(f"{baseline.path}: a baseline of {' and '.join(there)}, and this GPU is {name}")
        if precisions is None:
            continue
        known = {precision for one in baseline.devices if one.name == name for precision in _precisions(one.rates)}
        if set(precisions) != known:
            raise BadSource(
                f"{baseline.path}: a baseline with products in {_listed(known)}, and this run has {_listed(precisions)}"
            )


def judge_against_baseline(device: DeviceResult, level: str, baseline: Baseline) -> PhaseResult:
    """The phase baseline: warned about each rate that is more than 5 % below the same GPU's, else its model's."""
    rates = _by_kind(_rates(_throughput(device)))
    traits = device.traits or {}
    name, sm_count = str(traits.get("name", _CPU)), traits.get("sm_count", 0)
    if not rates:
        return PhaseResult("baseline", Status.SKIPPED, "This run measured no rates to hold against the baseline.")
    try:
        require_comparable(baseline, level=level, backend=device.backend, names=[name], precisions=_precisions(rates))
    except BadSource as why:
        return PhaseResult("baseline", Status.SKIPPED, f"Not compared: {why}.")
    models = [one for one in baseline.devices if one.name == name and one.sm_count == sm_count]
    then = next((one for one in models if one.uuid == traits.get("uuid")), models[0] if models else None)
    if then is None:
        return PhaseResult("baseline", Status.SKIPPED, f"Not compared: {baseline.path} has another edition of {name}.")
    return _compared(rates, then, baseline.path, device.versions.get("driver") or "")


def _compared(rates: Mapping[Kind, Row], then: BaselineDevice, path: str, driver: str) -> PhaseResult:
    found, rows, other_shapes = [], [], []
    changed = f" The driver was {then.driver} then, and is {driver} now." if driver and driver != then.driver else ""
    for kind, now in rates.items():
        before = then.rates.get(kind)
        what = f"{now['what']} in {now['precision']}" if now["precision"] else str(now["what"])
        if before is None or before["unit"] != now["unit"]:
            other_shapes.append(what)
            continue
        share = now["median"] / before["median"]
        rows.append({"what": now["what"], "precision": now["precision"], "then": before["median"], "share": share})
        if not share >= WARN_BELOW:
            text = (
                f"The {what} reaches {amount(now['median'])} {now['unit']}: {share:.1%} of the "
                f"{amount(before['median'])} in the baseline {path}.{changed}"
            )
            found.append(Judgement(ID, Status.WARNED, what, text))
    numbers: dict[str, Any] = {
        "path": path,
        "compared": rows,
        "not_compared": other_shapes,
        "judged": [ID] if rows else [],
    }
    if found:
        return PhaseResult("baseline", Status.WARNED, found[0].text, found, numbers)
    if not rows:
        return PhaseResult("baseline", Status.SKIPPED, f"Nothing in {path} was timed in the same shape.", [], numbers)
    least = min(row["share"] for row in rows)
    reason = f"{len(rows)} rates are no less than {WARN_BELOW:.0%} of {path}; the least is at {least:.0%}."
    return PhaseResult("baseline", Status.PASSED, reason, [], numbers)


def _throughput(device: DeviceResult) -> Mapping[str, Any]:
    phase = device.phase("throughput")
    # A busy GPU's rates are of no use, neither as a baseline nor against one.
    return phase.numbers if phase is not None and phase.status is not Status.NOT_MEASURED else {}


def _rates(numbers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows that are whole: a damaged baseline may lack any of it."""
    found = []
    for row in numbers.get("rates") or ():
        match row:
            case {"what": str(), "precision": str(), "detail": str(), "unit": str(), "median": int() | float() as rate}:
                found += [row] if rate > 0 else []
    return found


def _by_kind(rows: Iterable[Mapping[str, Any]]) -> dict[Kind, Row]:
    return {(row["what"], row["precision"], row["detail"]): row for row in rows}


def _baseline_device(device: object) -> BaselineDevice | None:
    """None: it has no rates."""
    match device:
        case {"traits": traits, "phases": list(phases), "versions": dict(versions)}:
            rates = _by_kind(row for phase in phases for row in _rates(_numbers_of(phase)))
        case _:
            return None
    driver = str(versions.get("driver") or "")
    match traits:
        case {"name": str(name), "uuid": str(uuid), "sm_count": int(sm_count)} if rates:
            return BaselineDevice(name, uuid, sm_count, driver, rates)
        case None if rates:
            return BaselineDevice(_CPU, "", 0, driver, rates)
        case _:
            return None


def _numbers_of(phase: object) -> Mapping[str, Any]:
    match phase:
        case {"phase": "throughput", "status": str(status), "numbers": dict(numbers)}:
            return numbers if status != Status.NOT_MEASURED.value else {}
        case _:
            return {}


def _precisions(rates: Iterable[Kind]) -> list[str]:
    return [precision for what, precision, _ in rates if what == "product"]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"
