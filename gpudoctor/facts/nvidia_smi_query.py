"""The outputs of nvidia-smi for programs: `-q`, `-q -x` and `--query-gpu=... --format=csv`."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from gpudoctor.facts.nvidia_smi_cells import (
    MOST_GPUS,
    Listed,
    Listing,
    address_in,
    count_in,
    cuda_version_in,
    error_in,
    file_under,
    known_column,
    value_of,
    version_in,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# What these hold is of processes, settings and instances, not of the GPU.
_OTHER_PARTS = ("processes", "accounted_processes", "supported_clocks", "mig_devices")
_DEPTH = 8  # of elements; nvidia-smi has five levels

_COLUMN = re.compile(r"[a-z][a-z0-9_.]*( \[[A-Za-z/%]+\])?")
_UUID = re.compile(r"GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORDS = ("Enabled", "Disabled", "Default", "Exclusive_Process", "Prohibited", "Active", "Not Active", "Yes", "No")
_BRANDS = ("NVIDIA ", "Tesla ", "GeForce ", "Quadro ", "GRID ", "TITAN ")


def xml_report(text: str) -> Listing | None:
    """The output of `nvidia-smi -q -x`, None if there is none.

    Each GPU is parsed alone, so that junk in one does no harm to the others. What stands before the first element, and
    with it every document type and its entities, never reaches the parser.
    """
    start = text.find("<nvidia_smi_log")
    if start < 0:
        return None
    starts = [found.start() for found in islice(re.finditer(r"<gpu[ >]", text), MOST_GPUS)]
    bounds = [*starts, len(text)]
    header = _element(text[start : bounds[0]])
    said = {} if header is None else {child.tag: child.text or "" for child in header}
    gpus = []
    line = text.count("\n", 0, bounds[0])
    for begin, end in zip(starts, bounds[1:], strict=True):
        gpu, at = _element(text[begin:end]), line
        line += text.count("\n", begin, end)
        if gpu is None:
            continue
        cells = {"pci_address": address_in(gpu.get("id", "")) or gpu.get("id", "")}
        for part in gpu:
            if part.tag not in _OTHER_PARTS:
                _file_leaves(cells, part, part.tag, _DEPTH)
        gpus.append(Listed(at, None, cells))
    return _listing(said, gpus, complete="</nvidia_smi_log>" in text)


def report(lines: Sequence[str]) -> Listing | None:
    """The output of `nvidia-smi -q`, None if there is none."""
    if not any("NVSMI LOG" in line or line.startswith("Attached GPUs ") for line in lines):
        return None
    said: dict[str, str] = {}
    gpus: list[Listed] = []
    cells: dict[str, str] = {}
    sections: list[str] = []
    for number, line in enumerate(lines[:-1]):  # what follows the last line end may be half a line
        label, separator, value = line.partition(" : ")
        path = label.strip().lower().replace(" ", "_")
        depth = (len(label) - len(label.lstrip())) // 4
        heading = line.removeprefix("GPU ").strip() if line.startswith("GPU ") else ""
        if address_in(heading) or error_in(heading) is not None:
            cells = {"pci_address": address_in(heading) or heading}
            gpus.append(Listed(number, None, cells))
        elif depth == 0:
            said.setdefault(path, value)
        else:
            del sections[depth - 1 :]
            if not separator:
                sections.append(path)
            elif not {path, *sections[:1]} & {*_OTHER_PARTS}:
                file_under(cells, "/".join([*sections, path]), value)
    return _listing(said, gpus, complete=True)


def csv(lines: Sequence[str]) -> Listing | None:
    """The output of `nvidia-smi --query-gpu=... --format=csv`, None if there is none.

    Without a header only cells that cannot be mistaken are taken: identifiers, names, versions and errors.
    """
    rows = [(number, [cell.strip() for cell in line.split(", ")]) for number, line in enumerate(lines) if line.strip()]
    at = next((at for at, (_, cells) in enumerate(rows) if _is_header(cells)), None)
    if at is None:
        named = [(number, _by_looks(cells)) for number, cells in rows if _tells_a_gpu(cells)]
        width = max((len(pairs) for _, pairs in named), default=0)
    else:
        columns = [name.partition(" [")[0] for name in rows[at][1]]
        width = len(columns)
        named = [
            (number, list(zip(columns, cells, strict=False)))
            for number, cells in rows[at + 1 :]
            if (len(cells) == width and (width > 1 or _is_value(cells[0])))
            or (1 < len(cells) < width and number == rows[-1][0])
        ]
    if not named:
        return None
    said: dict[str, str] = {}
    gpus = []
    for number, pairs in named[: MOST_GPUS + 1]:
        cells: dict[str, str] = {}
        # A row that is too short was cut, and its last cell may have been cut, too.
        for column, cell in pairs if len(pairs) == width else pairs[:-1]:
            if column == "driver_version" and value_of(cell):
                said.setdefault(column, cell)
            file_under(cells, column, cell)
        gpus.append(Listed(number, count_in(cells.get("index", "")), cells))
    # What follows the last line end is half a row, if it is no whole one.
    complete = not lines[-1].strip() or (rows[-1][0] == named[-1][0] and len(named[-1][1]) == width)
    return _listing(said, gpus, complete)


def _listing(said: dict[str, str], gpus: Sequence[Listed], complete: bool) -> Listing:
    """`said`: what stands above the GPUs, by name; driver 610 has new names, and remarks behind the old ones."""
    return Listing(
        version_in(said.get("kmd_version") or said.get("driver_version", "")),
        cuda_version_in(said.get("cuda_umd_version") or said.get("cuda_version", "")),
        count_in(said.get("attached_gpus", "")),
        tuple(gpus),
        complete,
    )


def _element(text: str) -> "Element | None":
    """The element that a text begins with, as far as it can be read."""
    from xml.etree.ElementTree import ParseError, XMLPullParser  # here for start-up: one form of six needs it

    parser: XMLPullParser[Element] = XMLPullParser(("start",))
    parser.feed(text.encode("utf-8", "replace"))
    events: Iterator[Any] = parser.read_events()
    try:
        _, element = next(events)
    except (ParseError, StopIteration):  # not even a first element
        return None
    found: Element = element
    return found


def _file_leaves(cells: dict[str, str], element: "Element", path: str, depth: int) -> None:
    if len(element) == 0:
        file_under(cells, path, element.text or "")
    elif depth:
        for child in element:
            _file_leaves(cells, child, f"{path}/{child.tag}", depth - 1)


def _is_header(cells: Sequence[str]) -> bool:
    return all(_COLUMN.fullmatch(cell) for cell in cells) and any(known_column(cell) for cell in cells)


def _tells_a_gpu(cells: Sequence[str]) -> bool:
    """Can a row without a header be of nothing but nvidia-smi?"""
    if any(_UUID.fullmatch(cell) or (cell.startswith("[") and error_in(cell) is not None) for cell in cells):
        return True
    named = any(cell.startswith(_BRANDS) for cell in cells)
    return len(cells) > 1 and all(_is_value(cell) for cell in cells) and (named or any(map(address_in, cells)))


def _is_value(cell: str) -> bool:
    return (
        cell.startswith(("[", "N/A", *_BRANDS))
        or (cell[:1].isdigit() and len(cell) <= 20)
        or bool(_UUID.fullmatch(cell))
        or cell in _WORDS
    )


def _by_looks(cells: Sequence[str]) -> list[tuple[str, str]]:
    """The columns of a row without a header, named by what is in them."""
    pairs = []
    for number, cell in enumerate(cells):
        if _UUID.fullmatch(cell):
            column = "uuid"
        elif address_in(cell):
            column = "pci.bus_id"
        elif cell.startswith(_BRANDS):
            column = "name"
        elif number == 0 and cell.isdecimal() and len(cells) > 1:
            column = "index"
        elif cell.count(".") == 2 and version_in(cell):
            column = "driver_version"
        else:
            column = f"column {number + 1}"
        pairs.append((column, cell))
    return pairs
