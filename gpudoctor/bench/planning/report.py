"""The plan of a convolution net as text, a line for each layer, or as JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from gpudoctor import __version__
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.planning.plan import BYTES, RESERVE, Cost, Plan, largest_batch
from gpudoctor.bench.planning.presets import PRESETS
from gpudoctor.bench.planning.text import text_of
from gpudoctor.reports.text import visible, wrapped

SCHEMA = 1

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_LABEL = 15


class Memory(NamedTuple):
    """Memory that a plan is held against."""

    gpu: str  # "NVIDIA H100 80GB HBM3 (GPU 0)", "" for a size that the user named
    total_bytes: int
    free_bytes: int


class PlanAnswer(NamedTuple):
    """A plan, and what was asked about it. batch: that must fit, None: one image at least."""

    plan: Plan
    name: str  # of the preset, "" for none
    precision: Precision
    batch: int | None
    memories: tuple[Memory, ...]  # one a GPU, or what the user named
    unknown: str  # why there are none, "" where there are

    def largest(self, memory: Memory) -> int:
        """The largest batch there."""
        return largest_batch(self.plan, memory.free_bytes, self.precision)

    @property
    def fits(self) -> bool | None:
        """Whether the batch fits somewhere, None where no memory is known."""
        if not self.memories:
            return None
        return any(self.largest(memory) >= (self.batch or 1) for memory in self.memories)

    @property
    def exit_code(self) -> int:
        """2 where it fits nowhere, else 0."""
        return 2 if self.fits is False else 0


def as_text(answer: PlanAnswer) -> str:
    """80 columns, without colour."""
    plan, precision = answer.plan, answer.precision
    lines = [*wrapped(answer.name or text_of(plan.architecture), "", hanging="  "), "", *_table(plan, precision), ""]

    def row(label: str, text: str) -> None:
        lines.extend(wrapped(text, f"  {label:<{_LABEL}}", hanging=" " * (_LABEL + 2)))

    row("Parameters", f"{plan.total.parameters:,}")
    row(
        "Arithmetic",
        f"{_scaled(plan.flop)}FLOP an image forward ({_scaled(plan.total.macs)}MAC), "
        f"{_scaled(plan.training_flop)}FLOP forward and backward",
    )
    row(
        "An image",
        f"{_bytes(plan.forward_bytes(precision))} forward ({plan.forward_numbers():,} numbers in {precision.value}), "
        f"{_bytes(plan.training_bytes(precision))} with backward",
    )
    row("Beside images", f"{_bytes(plan.fixed_bytes(precision))}: parameters, their gradients, momentum")
    for label, text in _batches(answer):
        row(label, text)
    lines.append("")
    lines += wrapped(_counted(precision), "  ")
    if answer.name:
        preset = PRESETS[answer.name]
        lines += ["", *wrapped(f"{answer.name} is {preset.source}. {preset.note}", "  ")]
    return "\n".join(lines) + "\n"


def as_json(answer: PlanAnswer) -> str:
    """One object and a final line break; sizes in bytes, of one image where nothing else is said."""
    plan, precision = answer.plan, answer.precision
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "command": "bench plan",
        "exit_code": answer.exit_code,
        "net": text_of(plan.architecture),
        "preset": answer.name,
        "image": list(plan.architecture.image),
        "precision": precision.value,
        "layers": [
            {
                "layer": layer.words,
                "output": list(layer.output),
                "parameters": layer.cost.parameters,
                "macs": layer.cost.macs,
                "forward_bytes": layer.cost.outputs * BYTES[precision],
                "training_bytes": _training_bytes(layer.cost, precision),
            }
            for layer in plan.layers
        ],
        "parameters": plan.total.parameters,
        "macs": plan.total.macs,
        "forward_flop": plan.flop,
        "training_flop": plan.training_flop,
        "forward_numbers": plan.forward_numbers(),
        "forward_bytes": plan.forward_bytes(precision),
        "training_bytes": plan.training_bytes(precision),
        "fixed_bytes": plan.fixed_bytes(precision),
        "reserved_bytes": RESERVE,
        "batch": answer.batch,
        "batch_bytes": plan.batch_bytes(answer.batch, precision) if answer.batch else None,
        "fits": answer.fits,
        "memories": [{**memory._asdict(), "largest_batch": answer.largest(memory)} for memory in answer.memories],
        "memory_unknown": answer.unknown,
        "note": PRESETS[answer.name].note if answer.name else "",
    }
    return json.dumps(document, indent=1) + "\n"


def _table(plan: Plan, precision: Precision) -> list[str]:
    lines = [
        f"  {'layer':<16}{'output':<16}{'parameters':>12}{'MFLOP':>11}{'forward':>10}{'with':>11}",
        f"  {'':<16}{'':<16}{'':>12}{'forward':>11}{'':>10}{'backward':>11}",
    ]
    image = plan.architecture.image
    images = _bytes(image.values * BYTES[precision])
    rows = [("images", str(image), "", "", images, images)]
    for layer in plan.layers:
        cost = layer.cost
        learned = f"{cost.parameters:,}" if cost.parameters else ""
        work = f"{2 * cost.macs / 1e6:,.1f}" if cost.macs else ""
        forward = _bytes(cost.outputs * BYTES[precision])
        backward = _bytes(_training_bytes(cost, precision))
        rows.append((layer.words, str(layer.output), learned, work, forward, backward))
    for words, output, learned, work, forward, backward in rows:
        # Names that are wider than their column push the rest of the line; what they say must stay whole.
        lines.append(f"  {words:<15} {output:<15} {learned:>12}{work:>11}{forward:>10}{backward:>11}".rstrip())
    return lines


def _batches(answer: PlanAnswer) -> list[tuple[str, str]]:
    """Label and text of each line on what fits."""
    plan, precision, batch = answer.plan, answer.precision, answer.batch
    lines = []
    if batch is not None:
        whole = plan.batch_bytes(batch, precision) + RESERVE
        lines.append(("Batch", f"{batch:,} images take {_binary(whole)}, {RESERVE >> 20} MiB for CUDA itself included"))
    if answer.unknown:
        lines.append(
            ("Largest batch", f"unknown, for {visible(answer.unknown)}; --memory 24GiB would plan without a GPU")
        )
    for memory in answer.memories:
        most = answer.largest(memory)
        free = _binary(memory.free_bytes)
        where = f"the {free} that are free on {visible(memory.gpu)}" if memory.gpu else f"the {free} of --memory"
        if most == 0:
            needed = _binary(plan.batch_bytes(1, precision) + RESERVE)
            lines.append(("Largest batch", f"not even one image fits into {where}: it takes {needed}"))
        else:
            refused = f"; {batch:,} do not fit" if batch and batch > most else ""
            lines.append(("Largest batch", f"{most:,} fit into {where}{refused}"))
    return lines


def _counted(precision: Precision) -> str:
    copy = ", and once more in 16 bits" if BYTES[precision] < 4 else ""
    wide = "float64" if precision is Precision.FP64 else "float32"
    return (
        "Counted: forward, the image and the output of every layer, activations in place; with backward, the gradients "
        "of the outputs as well, one byte for each number of a rectifier, maximum pool or dropout, and SiLU's two "
        f"numbers; beside images, three times the parameters in {wide}{copy}; for CUDA itself {RESERVE >> 20} MiB. Not "
        "counted: buffers that a library takes while it computes, such as cuDNN's workspace. A program that frees each "
        "gradient as soon as it is used, as PyTorch does, can fit up to twice as many images. MB are 1,000,000 bytes."
    )


def _training_bytes(cost: Cost, precision: Precision) -> int:
    return (2 * cost.outputs + cost.extra) * BYTES[precision] + cost.masks


def _bytes(number: int) -> str:
    """ "61.0 MB": of a thousand each."""
    for unit, size in _UNITS:
        if number >= size:
            return f"{number / size:,.{0 if number >= 100 * size else 1 if number >= 10 * size else 2}f} {unit}"
    return f"{number} B"


def _binary(number: int) -> str:
    """ "24.0 GiB": memory in the units in which GPUs are sold."""
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{number / 2**20:,.1f} MiB"


def _scaled(number: int) -> str:
    """ "15.5 G", to stand before a unit."""
    for prefix, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number} "
