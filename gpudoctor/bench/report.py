"""The result of the benchmark as text for a terminal: the verdict first, then what it rests on."""

from __future__ import annotations

import math
import textwrap

from gpudoctor.bench.result import BenchResult, Status

WIDTH = 80
_LABEL = 16
_BAR = 36

_VERSION_NAMES = {
    "gpudoctor": "gpudoctor",
    "python": "Python",
    "numpy": "NumPy",
    "cupy": "CuPy",
    "cuda_runtime": "CUDA of CuPy",
    "cuda_driver": "CUDA of the driver",
}


def as_text(result: BenchResult) -> str:
    """The report, without colour, no line longer than 80 columns (but for a word that is), a newline at the end."""
    lines = [*_folded(f"{result.status.name}  ", result.reason)]
    if result.status is Status.SKIPPED:
        lines += _folded(" " * 9, "Nothing was shown, so this is not a pass.")
    lines.append("")
    if result.device:
        lines += _row("Device", result.device)
    lines += _gradients(result)
    lines += _learning(result)
    if result.images_per_second is not None:
        speed = f"{result.images_per_second:,.0f} images a second, forward and backward"
        lines += _row("Speed", f"{speed}; a small net, so no measure of the device")
    lines += _row("Time", f"{result.seconds:.1f} s in all, seed {result.seed}")
    known = [f"{name} {result.versions[key]}" for key, name in _VERSION_NAMES.items() if result.versions.get(key)]
    lines += _row("Versions", ", ".join(known))
    if result.versions.get("os"):
        lines += _row("System", str(result.versions["os"]))
    return "\n".join(lines) + "\n"


def _gradients(result: BenchResult) -> list[str]:
    if result.gradient_error is None:
        return []
    limit = f" (limit {result.gradient_limit:.0e})" if result.gradient_limit is not None else ""
    return _row("Gradient check", f"worst relative error {result.gradient_error:.1e}{limit}")


def _learning(result: BenchResult) -> list[str]:
    """A line for each epoch, the loss drawn as a bar."""
    if result.untrained_loss is None or result.untrained_accuracy is None:
        return []
    needed = f", needed {result.accuracy_needed:.0%}" if result.accuracy_needed is not None else ""
    lines = _row("Training", f"{result.training_images} images; tested on {result.test_images} others{needed}")
    lines += ["", "  epoch     loss   test"]
    rows = [("before", result.untrained_loss, result.untrained_accuracy)]
    for number, (loss, accuracy) in enumerate(zip(result.losses, result.accuracies, strict=True), start=1):
        rows.append((str(number), loss, accuracy))
    for name, loss, accuracy in rows:
        lines.append(f"  {name:>6} {loss:8.3f} {accuracy:6.1%}  {_bar(loss, rows[0][1])}".rstrip())
    return [*lines, ""]


def _bar(loss: float, longest: float) -> str:
    if not (math.isfinite(loss) and math.isfinite(longest) and longest > 0):
        return ""
    return "#" * min(_BAR, max(1, round(_BAR * loss / longest)))


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
