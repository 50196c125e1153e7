"""`gpudoctor bench curve`: how accuracy grows with the number of training images, as a table and a plot."""

import os
import re
import sys
from pathlib import Path

from gpudoctor.cli import BadUsage
from gpudoctor.cli.check import deliver

BACKENDS = ("auto", "cupy", "numpy")


def bench_curve(
    *,
    data: str = "digits",
    net: str | None = None,
    sizes: str | None = None,
    backend: str = "auto",
    seed: int = 0,
    plot: str | None = None,
    format: str = "text",
    output: str | None = None,
) -> int:
    """Measure and print a learning curve. Raises BadUsage, with one sentence, for what cannot be measured.

    data: "digits", which come with gpudoctor, or the folder cifar-10-batches-py. net: a preset or a net's text, else
    one that fits the pictures. sizes: numbers of training images, "50,100,1000". backend: numpy, cupy, or auto: the
    GPU if there is one that CuPy can use, else the CPU. plot: also write the picture to this .png or .svg file.
    Returns 0; 2 if the device does not train; 3 if there was nothing to run on.
    """
    if backend not in BACKENDS:
        raise BadUsage(f"--backend {backend}: a curve is measured with {', '.join(BACKENDS)}")
    if seed < 0:
        raise BadUsage(f"--seed {seed}: must be 0 or more")
    try:
        from gpudoctor.bench.curves.curve import DIGITS, read_data
        from gpudoctor.bench.curves.report import as_json, as_picture, as_text
        from gpudoctor.bench.curves.run import Task, run_curve
        from gpudoctor.bench.datasets.cifar import DamagedData
        from gpudoctor.bench.planning.layers import BadArchitecture
    except ImportError as error:  # a numpy that is broken is a fault of this environment, not a crash of ours
        raise BadUsage(f"bench cannot run in this Python environment ({sys.prefix}): {error}") from error
    kind = _picture_kind(plot) if plot is not None else ""
    if data != DIGITS and not Path(data).is_dir():
        raise BadUsage(f"--data {data}: neither `{DIGITS}` nor a folder with the Python batches of CIFAR-10")
    data = data if data == DIGITS else str(Path(data).absolute())  # a child may start elsewhere
    try:
        split = read_data(data, seed)
        wanted = _read_sizes(sizes, len(split.training.labels)) if sizes is not None else ()
        curve = run_curve(Task(data, net, wanted, seed), split, backend, lambda line: print(line, file=sys.stderr))
    except (DamagedData, BadArchitecture) as error:
        raise BadUsage(str(error)) from error
    match format:
        case "json":
            text = as_json(curve)
        case "html":
            from gpudoctor.reports.html.learning_curve import as_html

            text = as_html(curve)
        case _:
            text = as_text(curve)
    deliver(text, output)
    if plot is not None and curve.points:
        try:
            Path(plot).write_bytes(as_picture(curve, kind))
        except OSError as error:
            raise BadUsage(f"cannot write {plot}: {error.strerror}") from error
    return curve.exit_code


def _picture_kind(plot: str) -> str:
    """Its ending, when such a picture can be drawn and written: to find out after minutes of training is too late."""
    from gpudoctor.bench.curves.report import PICTURES, require_matplotlib
    from gpudoctor.bench.devices.device import CannotRun

    kind = Path(plot).suffix.lower().removeprefix(".")
    if kind not in PICTURES:
        raise BadUsage(f"--plot {plot}: a picture ends in {' or '.join(f'.{name}' for name in PICTURES)}")
    folder = Path(plot).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadUsage(f"--plot {plot}: {folder} is no folder that can be written to")
    try:
        require_matplotlib()
    except CannotRun as error:
        raise BadUsage(f"--plot {plot}: {error}") from error
    return kind


def _read_sizes(text: str, available: int) -> tuple[int, ...]:
    """Of "50,100,1000", the smallest first, each once."""
    sizes = set()
    for word in text.split(","):
        if not re.fullmatch(r"[0-9]{1,9}", word.strip(), re.ASCII) or int(word) < 1:
            raise BadUsage(f"--sizes {text[:60]}: {word.strip()[:20]!r} is no number of images; 50,100,1000 would be")
        if int(word) > available:
            raise BadUsage(f"--sizes {text[:60]}: there are only {available:,} images to learn from, not {int(word):,}")
        sizes.add(int(word))
    return tuple(sorted(sizes))
