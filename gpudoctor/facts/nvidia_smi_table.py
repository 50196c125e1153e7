"""The two outputs of nvidia-smi for people: the table, and the list of `-L`."""

import re
from collections.abc import Sequence

from gpudoctor.facts.nvidia_smi_cells import (
    Listed,
    Listing,
    address_in,
    count_in,
    cuda_version_in,
    error_in,
    value_of,
    version_in,
)

# Driver 610 calls them by other names.
_HEADER = re.compile(r"NVIDIA-SMI \S+ +(?:Driver|KMD) Version: (\S+) +(?:CUDA (?:UMD )?Version: ([^|]*)\|)?")
_LISTED = re.compile(r"GPU ([0-9]{1,3}): (.+?)(?: \(UUID: ([^()]+)\))?")
_PERSISTENCE = ("On", "Off", "N/A", "ERR!")
# The columns of the second line of a GPU's row, as they are filed.
_READINGS = ("fan", "temperature_c", "performance_state", "power_w", "power_limit_w")


def table(lines: Sequence[str]) -> Listing | None:
    """The table that nvidia-smi prints without options, None if there is none."""
    header: re.Match[str] | None = None
    gpus: list[Listed] = []
    cells: dict[str, str] | None = None
    row = 0
    complete = False
    for number, line in enumerate(lines):
        text = line.strip()
        # A line without its right border was cut: a version or a number in it may be another one.
        whole = text.startswith("|") and text.endswith("|")
        found = _HEADER.search(text) if whole else None
        if header is None:
            header = found
        elif "Processes:" in text:
            return _listing(header, gpus, complete=True)
        elif text.startswith(("+", "|=", "|-")):
            cells, row = None, 0
        elif not whole:
            # What follows the last line end is no line that ends the table.
            complete = bool(gpus) and not text.startswith("|") and number + 1 < len(lines)
        elif len(columns := text[1:-1].split("|")) == 3:
            if row == 0 and re.match(r" *(\d|ERR!)", columns[0]):
                complete = False
                cells = {}
                gpus.append(Listed(number, _first_line(cells, columns), cells))
            elif cells is not None and row == 1:
                _second_line(cells, columns)
            elif cells is not None and row == 2:
                reason = cells["memory_total_bytes"]
                cells["mig_mode"] = columns[2] if error_in(reason) is None else reason
            row += 1
    return None if header is None else _listing(header, gpus, complete)


def gpu_list(lines: Sequence[str]) -> Listing | None:
    """The output of `nvidia-smi -L`, None if there is none."""
    gpus = []
    complete = True
    for number, line in enumerate(lines):
        found = _LISTED.fullmatch(line.strip())
        if found:
            name, uuid = (found[2], found[3]) if found[3] else ("", "")  # without its end the name may be cut, too
            complete = complete and bool(found[3])
            gpus.append(Listed(number, int(found[1]), {"name": name, "uuid": uuid}))
        elif number + 1 == len(lines) and line.strip():  # no line end: half a line
            complete = False
    return Listing("", None, None, tuple(gpus), complete) if gpus else None


def _listing(header: re.Match[str], gpus: Sequence[Listed], complete: bool) -> Listing:
    return Listing(version_in(header[1]), cuda_version_in(header[2] or ""), None, tuple(gpus), complete)


def _first_line(cells: dict[str, str], columns: Sequence[str]) -> int | None:
    """`  0  NVIDIA H200   On | 00000000:07:00.0 Off | 0`; the GPU's number, None if the GPU does not even tell that."""
    number, _, rest = columns[0].strip().partition(" ")
    name, _, last = rest.strip().rpartition(" ")
    cells["name"], cells["persistence_mode"] = (name.strip(), last) if last in _PERSISTENCE else (rest.strip(), "")
    # Off: the GPU does not count errors. On is said of the display.
    address = next(iter(columns[1].split()), "")
    cells["pci_address"] = address_in(address) or address
    cells["ecc_uncorrected_volatile"] = columns[2].replace("Off", "").strip()
    return count_in(number)


def _second_line(cells: dict[str, str], columns: Sequence[str]) -> None:
    """`N/A   34C    P0    62W / 400W | 512MiB / 81920MiB | 0%  Default`; a sick GPU has its error in the middle."""
    cells.update(zip(_READINGS, (word for word in columns[0].split() if word != "/"), strict=False))
    used, _, total = columns[1].partition(" / ")
    cells["memory_used_bytes"], cells["memory_total_bytes"] = used.strip(), total.strip()
    cells["utilization"], _, mode = columns[2].strip().partition(" ")
    cells["compute_mode"] = mode.strip()
    if error_in(columns[1]) is not None:
        # ERR! alone says nothing; here is what it stands for.
        spoilt = {field: columns[1].strip() for field, cell in cells.items() if error_in(cell) is not None}
        cells.update(spoilt, memory_used_bytes=columns[1].strip(), memory_total_bytes=columns[1].strip())
    elif not value_of(columns[1]):
        cells["memory_used_bytes"] = cells["memory_total_bytes"] = ""
