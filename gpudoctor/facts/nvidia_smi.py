"""nvidia-smi's answer as the NVML fact: what its texts say, before its exit code.

The exit code alone misleads: it is 0 for rows full of `[GPU is lost]`, and for one error 18 in one release, 255 in
another.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.nvidia_smi_cells import MOST_GPUS, UNKNOWN, Listed, Listing, address_in, code_in, gpu_of
from gpudoctor.facts.nvidia_smi_query import csv, report, xml_report
from gpudoctor.facts.nvidia_smi_table import gpu_list, table
from gpudoctor.host import Unavailable
from gpudoctor.knowledge import nvml_codes

# "... for GPU 0: reason", "... for GPU0000:0B:00.0: reason", "... for GPU1: 0000:26:00.0: reason".
_GPU_FAILED = re.compile(
    r"Unable to determine the [^:]{1,80}? for "
    r"(?:the target device|gpu ?([0-9]{1,3})??(?:: )?([0-9a-f]{1,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])?): *(.+)",
    re.IGNORECASE,
)
_INFOROM = "WARNING: infoROM is corrupted at gpu "
_NO_START = ("Failed to initialize NVML:", "NVIDIA-SMI has failed because", "NVIDIA-SMI couldn't find")
_NO_DEVICES = ("No devices were found", "No devices found")
_LIBRARY = "NVML library version:"
# It says so of the question, and nothing of the driver.
_REFUSALS = ("is not a valid field to query", "is not recognized. Please run", "Invalid combination of input arguments")


class _Failure(NamedTuple):
    """nvidia-smi could not ask one GPU."""

    line: int
    number: int | None
    address: str
    code: int


def read_nvidia_smi(text: str, exit_code: int | None) -> Nvml:
    """What the table, `-L`, `-q`, `-q -x`, `--query-gpu=... --format=csv` or a failure of nvidia-smi says.

    `text`: standard output and error, other programs' lines around it do no harm; `exit_code`: None if not known.
    `complete` is False if the text was cut, or may leave out GPUs. Of -L, and of rows without a header, only a few
    fields are known. Raises Unavailable if the text is not nvidia-smi's, or only says that it was asked wrongly.
    """
    names = nvml_codes()
    lines = [line.rstrip("\r") for line in text.split("\n")]
    listed = _listed(text, lines)
    failures = [failure for number, line in enumerate(lines) if (failure := _failure(number, line)) is not None]
    failures = failures[:MOST_GPUS]
    said = [line.strip() for line in lines if line.strip()]
    library = next((line.removeprefix(_LIBRARY).strip() for line in said if line.startswith(_LIBRARY)), "")
    nobody = any(line.startswith(_NO_DEVICES) for line in said)
    if not listed.gpus and not failures:
        reason = next((line for line in said if line.startswith(_NO_START)), "")
        if reason:
            code = _start_code(reason, exit_code, names)
            return Nvml(code, names.get(code, ""), reason, "", library, "", None, ())
        if not nobody and not listed.driver_version:
            raise Unavailable(_why_not(said, exit_code))
    warned = {address_in(line) for line in said if line.startswith(_INFOROM)}
    gpus = tuple(_with_inforom(gpu, warned, names) for gpu in _merged(listed.gpus, failures, names))
    complete = nobody if not listed.gpus else listed.complete and not _stopped(listed.gpus, failures)
    if listed.attached is not None:
        complete = listed.complete and len(gpus) >= listed.attached
    sick = any(gpu.return_code or gpu.field_errors for gpu in gpus)
    if exit_code and not sick and not nobody:
        complete = False  # it failed at something that this text does not show
    return Nvml(0, names[0], "", "", library, listed.driver_version, listed.cuda_version, gpus, complete)


def _listed(text: str, lines: Sequence[str]) -> Listing:
    found = xml_report(text) or report(lines) or table(lines) or gpu_list(lines) or csv(lines)
    if found is None:
        return Listing("", None, None, (), complete=False)
    return found if len(found.gpus) <= MOST_GPUS else found._replace(gpus=found.gpus[:MOST_GPUS], complete=False)


def _failure(number: int, line: str) -> _Failure | None:
    found = _GPU_FAILED.search(line.removesuffix("</error_string>"))
    if found is None:
        return None
    gpu, address, reason = found.groups()
    code = code_in(reason)
    return _Failure(number, int(gpu) if gpu else None, address_in(address or ""), UNKNOWN if code is None else code)


def _stopped(gpus: Sequence[Listed], failures: Sequence[_Failure]) -> bool:
    """Is a GPU that failed the last thing it tells? Older releases stop there."""
    return bool(failures) and failures[-1].line > gpus[-1].line


def _merged(gpus: Sequence[Listed], failures: Sequence[_Failure], names: dict[int, str]) -> list[NvmlGpu]:
    """All GPUs by number. Those whose number is not told get the free ones, in the order of the text."""
    entries = [(gpu, 0) for gpu in gpus]
    for failure in failures:
        at = next((at for at, (gpu, _) in enumerate(entries) if _is_same(gpu, failure)), len(entries))
        listed = [gpu for gpu, _ in entries[at : at + 1]]
        gpu = listed[0] if listed else Listed(failure.line, failure.number, {"pci_address": failure.address})
        entries[at : at + 1] = [(gpu, failure.code)]
    entries.sort(key=lambda entry: entry[0].line)
    taken = {gpu.number for gpu, _ in entries}
    free = (number for number in range(2 * len(entries)) if number not in taken)
    numbered = [gpu_of(gpu, next(free) if gpu.number is None else gpu.number, code, names) for gpu, code in entries]
    return sorted(numbered, key=lambda gpu: gpu.number)


def _is_same(gpu: Listed, failure: _Failure) -> bool:
    if failure.number is not None:
        return gpu.number == failure.number
    return failure.address != "" and gpu.cells.get("pci_address") == failure.address


def _with_inforom(gpu: NvmlGpu, warned: set[str], names: dict[int, str]) -> NvmlGpu:
    """Of a damaged infoROM nvidia-smi warns in a line of its own, by address."""
    if not gpu.pci_address or gpu.pci_address not in warned:
        return gpu
    return gpu._replace(field_errors={**gpu.field_errors, "inforom": names[14]})


def _start_code(reason: str, exit_code: int | None, names: dict[int, str]) -> int:
    code = code_in(reason)
    if code is not None:
        return code
    return exit_code if exit_code in names and exit_code else UNKNOWN


def _why_not(said: Sequence[str], exit_code: int | None) -> str:
    ended = "" if exit_code is None else f" (exit code {exit_code})"
    if not said:
        return f"nvidia-smi printed nothing{ended}"
    refusal = next((line for line in said if any(words in line for words in _REFUSALS)), "")
    if refusal:
        return f"nvidia-smi did not accept the question{ended}: {refusal[:200]}"
    return f"this is not what nvidia-smi prints{ended}: {said[0][:120]!r}"
