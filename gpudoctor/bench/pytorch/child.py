# ruff: noqa: UP006, UP035 (runs on the old Pythons of users' environments)
"""The child that runs the benchmark with the user's PyTorch: reads a job, prints events, as `running.worker` does.

Its arguments are the file with the materials (`pytorch.backend`) and "cuda" or "cpu".
"""

import faulthandler
import json
import os
import signal
import sys
from typing import Any, Callable, Dict, Sequence

from gpudoctor.bench.pytorch.device import (
    CannotRun,
    DoesNotTrain,
    TorchDevice,
    free_bytes,
    in_words,
    is_out_of_memory,
    open_torch,
)
from gpudoctor.bench.pytorch.learning import measure_numerics, measure_replay, measure_training
from gpudoctor.bench.pytorch.rates import measure_throughput

Emit = Callable[..., None]

_LASTING = ("CUDA", "CUDNN", "CUBLAS")  # in the text of errors that stay with the process

# A phase to what measures it.
MEASURES: Dict[str, Callable[[TorchDevice, Dict[str, Any], Callable[[str], None]], Any]] = {
    "numerics": measure_numerics,
    "training": measure_training,
    "replay": measure_replay,
    "throughput": measure_throughput,
}


def main() -> None:
    """Read a job from standard input, print its events on standard output, and end the process."""
    # What libraries print becomes standard error, so that the events stay pure.
    kept = os.dup(1)
    os.dup2(2, 1)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # with which a hung child is asked where it hangs
    # cuBLAS repeats its bits with a workspace of this size only; TF32 is set by us, precision by precision.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for name in ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"):
        os.environ.pop(name, None)
    path, kind = sys.argv[1:3]
    job = json.loads(sys.stdin.readline())
    with os.fdopen(kept, "w", encoding="utf-8") as stream:

        def emit(kind: str, **fields: Any) -> None:
            stream.write(json.dumps(dict(fields, kind=kind)) + "\n")
            stream.flush()

        run_job(job["phases"], path, kind, emit)
    os._exit(0)  # what libraries registered for the end of a process can hang with a sick driver


def run_job(phases: Sequence[str], path: str, kind: str, emit: Emit) -> None:
    """Run all phases, each to exactly one event `ended`, whatever goes wrong."""
    try:
        device = open_torch(kind)
        tasks = read_materials(device.torch, path)
    except (CannotRun, DoesNotTrain) as why:
        end = "failed" if isinstance(why, DoesNotTrain) else "skipped"
        emit("opened", end=end, reason=str(why))
        for phase in phases:
            emit("ended", phase=phase, end=end, reason=str(why))
        emit("finished")
        return
    about = {"text": device.text, "home": device.home, "traits": device.traits, "versions": device.versions}
    emit("opened", data=about)
    lost = False
    for phase in phases:
        if lost:
            emit("ended", phase=phase, end="skipped", reason="Not run: the device failed before.")
            continue
        if phase not in MEASURES:
            emit("ended", phase=phase, end="skipped", reason="PyTorch is not used for it: CuPy is.")
            continue
        emit("began", phase=phase, seconds=tasks[phase]["seconds"])
        ended = run_phase(device, phase, tasks[phase], emit)
        lost = bool(ended.get("data", {}).get("lost"))
        emit("ended", phase=phase, **ended)
    emit("finished")


def run_phase(device: TorchDevice, phase: str, task: Dict[str, Any], emit: Emit) -> Dict[str, Any]:
    """How a phase ended, as the fields of its event."""
    try:
        measured = MEASURES[phase](device, task, lambda text: emit("note", phase=phase, reason=text))
        if device.traits is not None:
            free_bytes(device)  # gives memory back; and a failure that CUDA has not told yet belongs to this phase
            device.torch.cuda.synchronize()
        return {"end": "measured", "data": {"measured": measured}}
    except CannotRun as why:
        return {"end": "skipped", "reason": str(why)}
    except DoesNotTrain as why:
        return {"end": "failed", "reason": str(why)}
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return {"end": "skipped", "reason": f"Not enough memory is free: {in_words(error)}"}
        # What it refuses, as with operations that it has no repeatable way for, says nothing against the GPU.
        if "deterministic" in str(error) or "not implemented" in str(error):
            return {"end": "skipped", "reason": f"This PyTorch does not offer it: {in_words(error)}"}
        reason = f"PyTorch failed in the middle of the run: {in_words(error)}"
        # What CUDA reports as a failed launch or a lost GPU stays with the process: nothing after it would count.
        return {"end": "failed", "reason": reason, "data": {"lost": any(word in str(error) for word in _LASTING)}}
    except Exception as error:  # noqa: BLE001 - PyTorch's interface differs between versions, and so does what it raises
        return {"end": "skipped", "reason": f"The benchmark does not fit this PyTorch: {in_words(error)}"}


def read_materials(torch: Any, path: str) -> Dict[str, Any]:
    """By phase, what it needs; arrays as tensors of the CPU. See backend.write_materials for the file."""
    with open(path, "rb") as file:
        content = bytearray(file.read())  # a tensor may lie in it: PyTorch wants bytes that can be written
    end = 8 + int.from_bytes(content[:8], "little")
    dtypes = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64}

    def unpacked(value: Any) -> Any:
        if isinstance(value, list):
            return [unpacked(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "dtype" not in value:
            return {name: unpacked(one) for name, one in value.items()}
        count = 1
        for length in value["shape"]:
            count *= length
        flat = torch.frombuffer(content, dtype=dtypes[value["dtype"]], count=count, offset=end + value["offset"])
        return flat.reshape(value["shape"])

    tasks: Dict[str, Any] = unpacked(json.loads(content[8:end].decode("utf-8")))
    return tasks
