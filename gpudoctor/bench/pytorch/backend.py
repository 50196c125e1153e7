"""The benchmark with the user's own PyTorch: which Python has it, how its child is started, and what it is given.

The child tests that very installation, its cuBLAS and its cuDNN. It runs in the Python that PyTorch is installed in,
and by root as the owner of that environment. It may have neither gpudoctor nor NumPy: its code comes as text, and what
it learns from as a file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy
from numpy.typing import NDArray

from gpudoctor.bench import net as nets
from gpudoctor.bench.datasets.digits import digits_split
from gpudoctor.bench.datasets.glyphs import CLASSES, SIZE, draw
from gpudoctor.bench.devices.device import CannotRun
from gpudoctor.bench.job import Job, Level, Phase
from gpudoctor.bench.measuring.materials import BATCH, MOMENTUM, RATE, numerics_materials, reference_run
from gpudoctor.bench.measuring.workload import SIZE as TIMED_SIZE
from gpudoctor.bench.measuring.workload import vgg_like
from gpudoctor.bench.net import Net, PerNode
from gpudoctor.bench.nodes import AveragePool, Conv, Dense, Flatten, MaxPool, ReLU, SiLU
from gpudoctor.bench.phases import replay, throughput, training
from gpudoctor.bench.running.worker import expected_seconds
from gpudoctor.children import Account, owner_of
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.host import Unavailable

# In the order in which they import one another.
MODULES = ("device", "learning", "timing", "memory", "convolving", "rates", "child")

# The folder in which the doctor happens to run is nothing to import from: somebody else may write to it.
_BOOT = """\
import sys
sys.path[:] = [entry for entry in sys.path if entry]
from types import ModuleType
for name, text in {sources!r}:
    module = sys.modules[name] = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
module.main()
"""

_ALIGNED = 64  # bytes


class Launch(NamedTuple):
    """How the child is started: the arguments of `children.start`."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    account: Account | None  # in whose name it runs, None: as who we are


def python_with_torch(environments: PythonEnvironments) -> str:
    """The interpreter of the first environment that has PyTorch; those in use come first.

    Raises CannotRun where there is none.
    """
    having = [one for one in environments.environments if one.get("torch") and one.interpreter]
    if having:
        return having[0].interpreter
    named = [one.prefix for one in environments.environments if "--python" in one.found_by]
    if named:
        raise CannotRun(f"{', '.join(named)} has no PyTorch.")
    raise CannotRun("No Python environment with PyTorch was found: activate it, or name it with --python.")


def torch_launch(interpreter: str, materials: str, *, on_gpu: bool = True) -> Launch:
    """The child in this Python, with this file of materials.

    Raises CannotRun where root must not run what lies there, or where it is not ours to run.
    """
    folder = Path(__file__).parent
    sources = [(f"gpudoctor.bench.pytorch.{name}", (folder / f"{name}.py").read_text("utf-8")) for name in MODULES]
    argv = (interpreter, "-c", _BOOT.format(sources=sources), materials, "cuda" if on_gpu else "cpu")
    try:
        account = owner_of(interpreter)
    except Unavailable as reason:
        raise CannotRun(f"{reason}.") from reason
    except OSError as error:
        raise CannotRun(f"{interpreter} cannot be run: {error.strerror}.") from error
    if account is None:
        return Launch(argv, dict(os.environ), None)
    return Launch(argv, account.environment(), account)


@contextmanager
def materials_file(job: Job, *, on_gpu: bool = True) -> Iterator[str]:
    """The path of a file with the materials of a job, for as long as the context lasts; children may share it."""
    with tempfile.NamedTemporaryFile(prefix="gpudoctor-bench-", suffix=".bin") as file:
        write_materials(job, file, on_gpu=on_gpu)
        file.flush()
        # Read by children that run as somebody else. There is nothing in it but pictures of digits.
        os.fchmod(file.fileno(), 0o644)
        yield file.name


def write_materials(job: Job, file: IO[bytes], *, on_gpu: bool = True) -> None:
    """Write what the phases of a job need.

    The file is the length of a JSON text (8 bytes, the lowest first), the text, and then the numbers of its arrays. The
    text has an object a phase; an array in it is an object of `dtype`, `shape` and `offset` from the end of the text.
    """
    arrays = _Arrays()
    makers = {
        Phase.NUMERICS: _numerics,
        Phase.TRAINING: _training,
        Phase.REPLAY: _replay,
        Phase.THROUGHPUT: _throughput,
    }
    tasks = {
        phase.value: {**makers[phase](job, arrays, on_gpu), "seconds": expected_seconds(phase, job)}
        for phase in job.phases
        if phase in makers
    }
    arrays.write(tasks, file)


def layers_of(net: Net) -> list[list[object]]:
    """The net as data: a list for each node, its kind and its numbers. Raises ValueError for other nodes than these."""
    layers: list[list[object]] = []
    for node in net:
        match node:
            case Conv():
                layers.append(["conv", node.channels_in, node.channels_out, node.kernel, node.padding, node.stride])
            case Dense():
                layers.append(["dense", node.inputs, node.outputs])
            case MaxPool():
                layers.append(["max", node.size, node.stride or node.size])
            case AveragePool():
                layers.append(["average", node.size, node.stride or node.size])
            case ReLU():
                layers.append(["relu"])
            case SiLU():
                layers.append(["silu"])
            case Flatten():
                layers.append(["flatten"])
            case _:
                raise ValueError(f"PyTorch is not told of {type(node).__name__}")
    return layers


class _Arrays:
    """Arrays that are going to be written, each at its place behind the text."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []
        self._size = 0

    def add(self, array: NDArray[Any]) -> dict[str, object]:
        """What stands for the array in the text."""
        placed = {"dtype": str(array.dtype), "shape": list(array.shape), "offset": self._size}
        self._arrays.append(array)
        self._size = _aligned(self._size + array.nbytes)
        return placed

    def of(self, parameters: PerNode) -> list[dict[str, object]]:
        """One for each parameter, in the order of the net, in float32."""
        return [self.add(one.astype("float32")) for own in parameters for one in own]

    def write(self, tasks: dict[str, Any], file: IO[bytes]) -> None:
        """The whole file; JSON allows the spaces at the end of the text."""
        text = json.dumps(tasks).encode()
        text = text.ljust(_aligned(8 + len(text)) - 8)
        file.write(len(text).to_bytes(8, "little") + text)
        for array in self._arrays:
            content = array.tobytes()
            file.write(content.ljust(_aligned(len(content)), b"\0"))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _numerics(job: Job, arrays: _Arrays, on_gpu: bool) -> dict[str, Any]:
    materials = numerics_materials(job.seed)
    losses, gradient = reference_run(materials)
    return {
        "layers": layers_of(materials.net),
        "parameters": arrays.of(materials.parameters),
        "images": arrays.add(numpy.concatenate(materials.images)),
        "labels": arrays.add(numpy.concatenate(materials.labels)),
        "losses": losses.tolist(),
        "gradient": arrays.add(gradient),
        "batch": BATCH,
        "rate": RATE,
        "momentum": MOMENTUM,
    }


def _training(job: Job, arrays: _Arrays, on_gpu: bool) -> dict[str, Any]:
    learned, test = digits_split(job.seed)
    net = training.digits_net()
    return {
        "layers": layers_of(net),
        "parameters": arrays.of(_initial(net, job.seed, 2)),
        "images": arrays.add(learned.images),
        "labels": arrays.add(learned.labels),
        "test_images": arrays.add(test.images),
        "test_labels": arrays.add(test.labels),
        "seed": job.seed,
        "batch": training.BATCH,
        "rate": training.RATE,
        "momentum": training.MOMENTUM,
        "most_epochs": training.MOST_EPOCHS,
        "accuracy_needed": training.ACCURACY_NEEDED,
        "loss_fallen": training.LOSS_FALLEN,
    }


def _replay(job: Job, arrays: _Arrays, on_gpu: bool) -> dict[str, Any]:
    load = replay.ON_GPU if on_gpu else replay.ON_CPU
    net = nets.smooth_net(SIZE, CLASSES, load.widths)
    glyphs = draw(load.batch * 4, [job.seed, 6])
    return {
        "layers": layers_of(net),
        "parameters": arrays.of(_initial(net, job.seed, 7)),
        "images": arrays.add(glyphs.images),
        "labels": arrays.add(glyphs.labels),
        "batch": load.batch,
        "steps": load.steps,
        "rate": replay.RATE,
        "momentum": replay.MOMENTUM,
    }


def _throughput(job: Job, arrays: _Arrays, on_gpu: bool) -> dict[str, Any]:
    in_short = job.level is Level.QUICK
    sizes = throughput.ON_CPU
    if on_gpu:
        sizes = throughput.ON_GPU_IN_SHORT if in_short else throughput.ON_GPU
    return {
        **{name: value for name, value in sizes._asdict().items() if name != "protocol"},
        **sizes.protocol._asdict(),
        "size": TIMED_SIZE,
        "layers": layers_of(vgg_like(sizes.widths, sizes.hidden)),
        "seed": job.seed,
        "busy": job.busy,
        "in_short": in_short,
    }


def _initial(net: Net, seed: int, use: int) -> PerNode:
    return nets.initial_parameters(net, numpy, numpy.random.default_rng([seed, use]), "float32")
