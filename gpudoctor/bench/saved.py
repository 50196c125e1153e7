"""What a run leaves behind in the state folder: its verdicts on each GPU, which `gpudoctor check` reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from gpudoctor import __version__
from gpudoctor.bench.result import BenchResult, DeviceResult, Status
from gpudoctor.facts.loaded import loaded_driver
from gpudoctor.machine import LiveHost
from gpudoctor.state import make_folder, replace_file, require_own, state_folder

NAME = "bench.json"  # in the state folder; gpudoctor.facts.bench reads it
RECORD_SCHEMA = 1

_MOST_GPUS = 64  # in the record; those that were measured last

# The checks on which a phase that ran is a verdict. Phases that say it themselves, in "judged", are not here.
_CHECKS = {
    "numerics": ("bench.numerics-wrong", "bench.does-not-train"),
    "training": ("bench.does-not-train",),
    "replay": ("bench.replay-differs",),
    "burn": ("bench.replay-differs",),
}


def save_run(result: BenchResult) -> str:
    """Keep the verdicts on each GPU for `gpudoctor check`. Returns the file's path, "" where there are none to keep.

    GPUs that this run left out keep what an earlier one said. Raises OSError, BadSource if others could have written
    to the state folder.
    """
    gpus = [_record(device, result) for device in result.devices if device.traits and device.backend != "numpy"]
    gpus = [gpu for gpu in gpus if gpu["judged"] or gpu["judgements"]]
    if not gpus:
        return ""
    folder = state_folder()
    make_folder(folder)
    path = os.path.join(folder, NAME)
    again = {_key(gpu) for gpu in gpus}
    gpus += [gpu for gpu in _earlier(path) if _key(gpu) not in again]
    document = {"schema": RECORD_SCHEMA, "gpudoctor": __version__, "gpus": gpus[:_MOST_GPUS]}
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())
    return path


def _record(device: DeviceResult, result: BenchResult) -> dict[str, Any]:
    traits = device.traits or {}
    driver = device.versions.get("driver") or result.versions.get("driver") or loaded_driver(LiveHost()).version
    judged: set[str] = set()
    for phase in device.phases:
        if phase.status in (Status.PASSED, Status.WARNED, Status.FAILED):
            judged.update(phase.numbers.get("judged", _CHECKS.get(phase.name, ())))
    return {
        "name": traits.get("name", ""),
        "uuid": traits.get("uuid", ""),
        "pci_address": traits.get("pci_address", ""),
        "driver": driver,
        "at": time.time(),
        "level": result.level,
        "backend": device.backend,
        "judged": sorted(judged),
        "not_judged": {
            phase.name: phase.reason for phase in device.phases if phase.status in (Status.NOT_MEASURED, Status.SKIPPED)
        },
        "judgements": [{**one._asdict(), "status": one.status.value} for one in device.judgements],
    }


def _earlier(path: str) -> list[dict[str, Any]]:
    """What is on record. A file that is damaged, or of another schema, is replaced without ado: it is only a record."""
    try:
        require_own(path)
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError):
        return []
    match document:
        case {"schema": int(schema), "gpus": list(gpus)} if schema == RECORD_SCHEMA:
            return [gpu for gpu in gpus if isinstance(gpu, dict)]
        case _:
            return []


def _key(gpu: Mapping[str, Any]) -> str:
    return str(gpu.get("uuid") or gpu.get("pci_address") or gpu.get("name"))
