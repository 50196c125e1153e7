"""The result of the benchmark as text for a terminal: the verdict first, then what it rests on."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from gpudoctor.bench.result import BenchResult, DeviceResult, Judgement, PhaseResult, Status
from gpudoctor.bench.words import amount

WIDTH = 80
_LABEL = 14
_BAR = 32

_VERSION_NAMES = {
    "driver": "driver",
    "cuda_driver": "CUDA of the driver",
    "cupy": "CuPy",
    "cuda_runtime": "CUDA of CuPy",
    "cublas": "cuBLAS",
    "torch": "torch",
    "torch_cuda": "CUDA of torch",
    "cudnn": "cuDNN",
    "gpudoctor": "gpudoctor",
    "python": "Python",
    "numpy": "NumPy",
    "kernel": "Linux",
}


def as_text(result: BenchResult) -> str:
    """The report, without colour, no line longer than 80 columns (but for a word that is), a newline at the end."""
    lines = [*_folded(f"{_word(result.status)}  ", result.reason)]
    if result.exit_code == 3:
        lines += _folded(" " * (len(_word(result.status)) + 2), "Nothing was shown, so this is not a pass.")
    for device in result.devices:
        if device.home or len(result.devices) > 1:  # else it could not be opened, and that is all there is to say
            lines += ["", *_device(device)]
    if result.between_gpus is not None:
        lines += ["", "Between the GPUs", *_phase(result.between_gpus)]
    lines.append("")
    for note in result.notes:
        lines += _row("Note", note)
    lines += _row("Time", f"{result.seconds:.1f} s in all, level {result.level}, seed {result.seed}")
    lines += _row("Versions", versions_of(result))
    if result.versions.get("os"):
        lines += _row("System", str(result.versions["os"]))
    return "\n".join(lines) + "\n"


def _device(device: DeviceResult) -> list[str]:
    lines = _folded("", f"{device.text or 'No device'}: {device.status.value}")
    for phase in device.phases:
        if phase.status is Status.SKIPPED and not device.home:
            continue  # it could not be opened, and that is said on top
        lines += _phase(phase)
    for id in dict.fromkeys(judgement.id for judgement in device.judgements):
        lines += _row("", f"What it means: gpudoctor explain {id}")
    return lines


def _phase(phase: PhaseResult) -> list[str]:
    lines = _row(phase.name, f"{phase.status.value}. {phase.reason}".rstrip())
    lines += _others(phase.judgements, phase.reason)
    lines += _learning(phase.numbers)
    rates = phase.numbers.get("rates")
    if isinstance(rates, Sequence):
        lines += [_rate(rate) for rate in rates]
    return lines


def _others(judgements: Sequence[Judgement], said: str) -> list[str]:
    return [line for one in judgements if one.text != said for line in _row("", one.text)]


def name_of_rate(rate: Mapping[str, Any]) -> str:
    """ "product fp32". Of a convolution there are two: through patches, and the fast one."""
    path = str(rate.get("detail", "")).rpartition(", ")[2] if rate["what"] == "convolution" else ""
    return " ".join(word for word in (rate["what"], rate["precision"], path) if word)


def _rate(rate: Mapping[str, Any]) -> str:
    line = f"    {name_of_rate(rate):<{_LABEL + 12}}{amount(rate['median']):>9} {rate['unit']:<9}"
    if rate.get("share") is not None:
        line += f"{rate['share']:5.0%} of {amount(rate['peak'])}"
        if rate.get("clock_mhz"):
            line += f" at {rate['clock_mhz']:,.0f} MHz"
    elif rate.get("modelled"):
        line += f" model {amount(rate['modelled'])}"
    return line.rstrip()


def _learning(numbers: Mapping[str, Any]) -> list[str]:
    """A line for each epoch, the loss drawn as a bar."""
    losses, accuracies = numbers.get("losses"), numbers.get("accuracies")
    if not isinstance(losses, Sequence) or not isinstance(accuracies, Sequence):
        return []
    lines = [f"    epoch      loss   test     {numbers['images']} images, tested on {numbers['test_images']} others"]
    rows = [("before", numbers["untrained_loss"], numbers["untrained_accuracy"])]
    rows += [
        (str(number), loss, accuracy) for number, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]
    for name, loss, accuracy in rows:
        lines.append(f"    {name:>6} {loss:9.3f} {accuracy:6.1%}  {_bar(loss, rows[0][1])}".rstrip())
    return lines


def _bar(loss: float, longest: float) -> str:
    if not (math.isfinite(loss) and math.isfinite(longest) and longest > 0):
        return ""
    return "#" * min(_BAR, max(1, round(_BAR * loss / longest)))


def versions_of(result: BenchResult) -> str:
    """What it ran with, in words."""
    known = dict(result.versions)
    for device in result.devices:
        known.update({name: version for name, version in device.versions.items() if version})
    return ", ".join(f"{name} {known[key]}" for key, name in _VERSION_NAMES.items() if known.get(key))


def _word(status: Status) -> str:
    return status.value.upper()


def _row(label: str, text: str) -> list[str]:
    return _folded(f"  {label:<{_LABEL}}", text)


def _folded(first: str, text: str) -> list[str]:
    # A path or an address must stay whole to be copied.
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
