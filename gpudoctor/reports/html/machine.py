"""What is known of the machine: the lines under the verdict, a row for each GPU and each Python environment."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.findings import Ranked
from gpudoctor.host import Unavailable
from gpudoctor.registry import Facts
from gpudoctor.reports.html.elements import Element, Node, element
from gpudoctor.reports.html.pieces import badge, listed, pairs, prose, section, table
from gpudoctor.reports.machine import MachineSummary
from gpudoctor.reports.text import folded

Anchors = Sequence[tuple[Ranked, str]]  # findings, and the ids of their articles

_SOURCES = {"live": "the running machine", "root": "a mounted root", "snapshot": "a snapshot", "text": "a pasted text"}


class Gpu(NamedTuple):
    """One GPU as the bus and NVML tell it; None: not told by that one."""

    on_bus: PciGpu | None
    answer: NvmlGpu | None

    @property
    def address(self) -> str:
        if self.on_bus is not None:
            return self.on_bus.address
        return self.answer.pci_address if self.answer is not None else ""


def machine_lead(machine: MachineSummary) -> Element:
    """Which machine this is about; what could not be told is left out here, and told below."""
    counts: dict[str, int] = {}
    for name in machine.gpus:
        counts[name] = counts.get(name, 0) + 1
    before = machine.before_asking
    rows = [
        ("Looked at", _SOURCES[machine.source]),
        ("System", machine.os_name or machine.os),
        ("Confined in", machine.confinement),
        ("Kernel", machine.kernel_words),
        ("Driver", f"{machine.driver} loaded" if machine.driver else "none loaded" if machine.driver_told else ""),
        ("GPUs", ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())),
        (
            "NVIDIA modules and devices when this run began",
            "" if before is None else ", ".join(folded(before)) or "none",
        ),
    ]
    return pairs(((name, value) for name, value in rows if value), "machine")


def gpus_section(facts: Facts, anchors: Anchors) -> Element | None:
    """None where there is no GPU to tell of. Columns that no GPU has a value for are left out."""
    gpus, nvml = _gpus(facts), facts.get_or_reason(Nvml)
    if not gpus:
        return None
    columns: dict[str, Callable[[Gpu], str]] = {
        "PCI address": lambda gpu: gpu.address,
        "Held by": lambda gpu: (gpu.on_bus.driver or "nobody") if gpu.on_bus else "",
        "Architecture": _architecture,
        "Memory": _memory,
        "Temperature": lambda gpu: _measured(gpu, "temperature_c", "°C"),
        "Power": _power,
        "Load": lambda gpu: _measured(gpu, "utilization_percent", "%"),
        "PCIe link": _link,
    }
    told = {name: [column(gpu) for gpu in gpus] for name, column in columns.items()}
    told = {name: values for name, values in told.items() if any(values)}
    rows = [
        (
            element("span", _name(gpu), class_="name"),
            _state(gpu, nvml, anchors),
            *(_or_not_told(values[place]) for values in told.values()),
        )
        for place, gpu in enumerate(gpus)
    ]
    return section(
        "GPUs",
        table("A row for each GPU", ("GPU", "State", *told), rows),
        element("p", f"NVML tells nothing: {nvml}.", class_="note") if isinstance(nvml, Unavailable) else None,
    )


def environments_section(machine: MachineSummary, anchors: Anchors) -> Element | None:
    """The Python environments that are in use, or have a framework."""
    if not machine.pythons:
        return None
    rows = [
        (
            element("code", one.prefix),
            _troubles([anchor for anchor in anchors if anchor[0].finding.environment == one.prefix]) or "nothing found",
            one.version or _or_not_told(""),
            "yes" if one.in_use else "no",
            listed(prose(words)[0] for words in one.frameworks) if one.frameworks else "none",
            ", ".join(one.found_by) or _or_not_told(""),
        )
        for one in machine.pythons
    ]
    heads = ("Environment", "State", "Python", "In use", "GPU frameworks", "Found by")
    return section("Python environments", table("A row for each Python environment", heads, rows))


def trials_section(machine: MachineSummary) -> Element | None:
    """What the frameworks really did; None where `--deep` was not asked for."""
    if not machine.trials:
        return None
    rows = [
        (
            f"{one.framework} {one.version}".strip(),
            element("code", one.prefix),
            "" if one.devices is None else str(one.devices),
            badge("unknown", "not known")
            if one.unavailable
            else badge("error", f"failed in {one.failed_at or 'the trial'}")
            if one.failure
            else badge("ok", "computed right on the GPU"),
            one.unavailable or one.failure,
        )
        for one in machine.trials
    ]
    heads = ("Framework", "Environment", "Devices", "Outcome", "Its words")
    return section("Frameworks that were tried", table("A row for each framework that was tried", heads, rows))


def _gpus(facts: Facts) -> list[Gpu]:
    """Of the bus, in its order, with NVML's answers; then those that only NVML lists."""
    nvml, pci = facts.get_or_reason(Nvml), facts.get_or_reason(PciGpus)
    answers = [] if isinstance(nvml, Unavailable) else [*nvml.gpus]
    on_bus = [] if isinstance(pci, Unavailable) else pci.gpus
    by_address = {answer.pci_address: answer for answer in answers if answer.pci_address}
    gpus = [Gpu(one, by_address.pop(one.address, None)) for one in on_bus]
    paired = [gpu.answer for gpu in gpus]
    return [*gpus, *(Gpu(None, answer) for answer in answers if answer not in paired)]


def _name(gpu: Gpu) -> str:
    number = f"{gpu.answer.number}: " if gpu.answer is not None else ""
    answered = gpu.answer.name if gpu.answer is not None else ""
    return number + (answered or (gpu.on_bus.label if gpu.on_bus is not None else "a GPU without a name"))


def _measured(gpu: Gpu, field: str, unit: str) -> str:
    value = gpu.answer.values.get(field) if gpu.answer is not None else None
    return f"{value:,.0f} {unit}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _architecture(gpu: Gpu) -> str:
    capability = gpu.answer.compute_capability if gpu.answer is not None else None
    words = (gpu.on_bus.architecture if gpu.on_bus else "", ".".join(map(str, capability or ())))
    return ", ".join(word for word in words if word)


def _memory(gpu: Gpu) -> str:
    total = gpu.answer.memory_total_bytes if gpu.answer is not None else None
    if not total or gpu.answer is None:
        return ""
    used = gpu.answer.values.get("memory_used_bytes")
    return f"{used / 2**30:.1f} of {total / 2**30:.0f} GiB" if isinstance(used, int) else f"{total / 2**30:.0f} GiB"


def _power(gpu: Gpu) -> str:
    drawn, limit = _measured(gpu, "power_w", "W"), _measured(gpu, "power_limit_w", "W")
    return f"{drawn.removesuffix(' W')} of {limit}" if drawn and limit else drawn


def _link(gpu: Gpu) -> str:
    values = gpu.answer.values if gpu.answer is not None else {}
    generation, width = values.get("pcie_link_generation"), values.get("pcie_link_width")
    if not isinstance(generation, int) or not isinstance(width, int):
        return ""
    most = values.get("pcie_link_width_max")
    return f"Gen {generation} x{width}" + (f" of x{most}" if isinstance(most, int) and most != width else "")


def _state(gpu: Gpu, nvml: Nvml | Unavailable, anchors: Anchors) -> Node:
    """Findings on this GPU, else what NVML says of it. A GPU that nobody asked is not called fine."""
    found = _troubles([anchor for anchor in anchors if gpu.address and anchor[0].finding.subject == gpu.address])
    if found is not None:
        return found
    if gpu.on_bus is not None and not gpu.on_bus.readable:
        return badge("error", "gone from the bus")
    if gpu.answer is None:
        return badge("unknown", "not asked" if isinstance(nvml, Unavailable) else "not listed by NVML")
    if gpu.answer.return_code:
        return badge("error", gpu.answer.return_name or f"NVML code {gpu.answer.return_code}")
    if gpu.answer.field_errors:
        return badge("error", ", ".join(f"{field}: {name}" for field, name in gpu.answer.field_errors.items()))
    return badge("ok", "answers")


def _troubles(found: Anchors) -> Element | None:
    if not found:
        return None
    return listed((_link_to(ranked, anchor) for ranked, anchor in found), "troubles")


def _link_to(ranked: Ranked, anchor: str) -> Element:
    kind = ranked.severity.name.lower()
    return element("a", badge(kind, kind), " ", ranked.check.id, href=f"#{anchor}")


def _or_not_told(value: str) -> Node:
    """An empty cell would look like a fault of the page."""
    return value or element("span", element("span", "-", aria_hidden="true"), _unseen("not told"), class_="untold-cell")


def _unseen(text: str) -> Element:
    """For screen readers alone."""
    return element("span", text, class_="unseen")
