"""`gpudoctor bench plan`: what a convolution net will cost, and the largest batch that fits this GPU."""

import re

from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.planning.layers import BadArchitecture
from gpudoctor.bench.planning.plan import plan_of
from gpudoctor.bench.planning.presets import net_named
from gpudoctor.bench.planning.report import Memory, PlanAnswer, as_json, as_text
from gpudoctor.bench.planning.text import read_image
from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver
from gpudoctor.cli.source import open_host
from gpudoctor.facts.answers import Nvml
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts, load_plugins

_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def bench_plan(
    net: str,
    *,
    image: str | None = None,
    batch: int | None = None,
    memory: str | None = None,
    precision: str = "fp32",
    format: str = "text",
    output: str | None = None,
) -> int:
    """Print the plan of a preset or of a net's text. Raises BadUsage, with one sentence, for what is neither.

    image: another size of the images, as 32x32x3. batch: also what that many images at a time take. memory: plan for
    so much free memory ("24GiB") instead of asking the GPUs of this machine.
    Returns 0; 2 where not even one image, or not this batch, fits into the memory that is known.
    """
    try:
        architecture, name = net_named(net, read_image(image) if image is not None else None)
        plan = plan_of(architecture)
    except BadArchitecture as error:
        raise BadUsage(str(error)) from error
    if batch is not None and batch < 1:
        raise BadUsage(f"--batch {batch}: a batch is one image or more")
    try:
        stored = Precision(precision)
    except ValueError:
        raise BadUsage(f"--precision {precision}: none of {', '.join(one.value for one in Precision)}") from None
    unknown = ""
    memories: tuple[Memory, ...] = ()
    if memory is not None:
        size = read_size(memory)
        memories = (Memory("", size, size),)
    else:
        try:
            memories = memories_here()
        except Unavailable as reason:
            unknown = str(reason)
    answer = PlanAnswer(plan, name, stored, batch, memories, unknown)
    deliver(as_json(answer) if format == "json" else as_text(answer), output)
    return answer.exit_code


def read_size(text: str) -> int:
    """Bytes of "24GiB", "24G" (the same), "24GB" (10**9 each) or "8000MiB". Raises BadUsage."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([kmgt])(i?b)?", text.strip().lower(), re.ASCII)
    if not found or not float(found[1]):
        raise BadUsage(f"--memory {text[:40]}: no size of a memory; 24GiB would be one, or 8000MiB")
    unit: int = (1000 if found[3] == "b" else 1024) ** _POWERS[found[2]]
    return round(float(found[1]) * unit)


def memories_here() -> tuple[Memory, ...]:
    """One for each GPU of this machine that tells its free memory. Raises Unavailable if none does."""
    load_plugins()
    nvml = Facts(open_host()).get(Nvml)
    if nvml.return_code != 0:
        raise Unavailable(f"NVML cannot be asked ({nvml.return_name or nvml.return_code})")
    memories = []
    for gpu in nvml.gpus:
        free = gpu.values.get("memory_free_bytes")
        if isinstance(free, int) and gpu.memory_total_bytes:
            memories.append(Memory(f"{gpu.name} (GPU {gpu.number})", gpu.memory_total_bytes, free))
    if not memories:
        raise Unavailable("no GPU tells how much of its memory is free" if nvml.gpus else "there is no GPU here")
    return tuple(memories)
