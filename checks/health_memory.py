"""A GPU's memory: errors that could not be corrected, and rows that were, or must be, replaced by spare ones."""

from collections.abc import Iterator, Mapping, Sequence

from gpudoctor import (
    Evidence,
    Finding,
    NotApplicable,
    NotRunning,
    Severity,
    Unavailable,
    Undecided,
    check,
    hint,
    likely,
    sure,
)
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.xids import Xid, Xids

from ._health import (
    CONTAINED,
    MANY_CORRECTED,
    MEMORY,
    REMAP_FAILED,
    REMAPPED,
    RETIREMENT,
    Watched,
    lines_of,
    numbered,
    reported,
    watched,
)

_FOR_THE_VENDOR = "Its memory has no spare rows left there: it is a GPU for the vendor. Take it out of use."


@check(
    "health.ecc-uncorrectable",
    after=["health.fallen-off-bus"],
    symptoms=[
        sure(r"uncorrectable ECC error"),
        sure(r"CUDA_ERROR_ECC_UNCORRECTABLE|cudaErrorECCUncorrectable"),
        sure(r"uncorrectable double bit error"),
        sure(r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(48|94|95|140|171|172)\b"),
        sure(r"(Contained|Uncontained): .{1,60} RST: "),
        r"double.bit ECC error",
        likely(r"\b(error|code|returned)\W{1,3}214\b", beside=r"cuda"),
        r"nvidia-uvm: ECC error encountered|GPU had (a contained|an uncontained) error",
        r"SRAM Threshold (Count exceeded|Exceeded\s*: Yes)|uncorrectable SRAM error",
        r"\d faulty memory elements on GPU|memory mismatch was detected on GPU",
        r"\d NaN-value memory elements on GPU|miscompare failure in the L1 cache",
    ],
)
def ecc_uncorrectable(
    nvml: Nvml | Unavailable, xids: Xids | Unavailable, gpus: PciGpus | Unavailable, confinement: Confinement
) -> Iterator[Finding | Undecided]:
    """A GPU's memory had an error that could not be corrected.

    What: Memory with ECC corrects single wrong bits by itself. What it cannot correct ends the program that used it
    ("uncorrectable ECC error encountered"), so that nobody gets wrong results. On newer GPUs that is often contained
    in one program; if not, the GPU does nothing more until it is reset. The counter of the GPU's whole life
    (aggregate) is history, and no finding.

    Proof: NVML's count since the driver was loaded (volatile), or Xid 48, 94, 95, 140, 171 or 172 in the kernel's log.

    Repair: Start the program again where the error was contained (94), else reset the GPU, which also puts a spare row
    in place of the bad one. A GPU that does it again and again, or has no spare rows left, is one for the vendor.

    Reference: https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/; https://docs.nvidia.com/deploy/xid-errors/
    """
    own = watched(gpus, nvml, confinement)
    reports: Mapping[str, Sequence[Xid]] = reported(xids, MEMORY, own) if isinstance(xids, Xids) else {}
    counts = {address: own.value(address, "ecc_uncorrected_volatile") for address in own.answers}
    for address in sorted({*reports, *counts}):
        count, found = counts.get(address), reports.get(address, ())
        if not found and (not isinstance(count, int) or count <= 0):
            continue
        evidence = [Evidence(f"NVML, GPU {address}", f"uncorrected, volatile: {count}")] if count is not None else []
        if isinstance(xids, Xids):
            evidence += lines_of(xids, found)
        remap = own.value(address, "remapped_rows")
        if isinstance(remap, dict):
            words = [f"{name}: {remap.get(name)}" for name in ("uncorrectable", "pending", "failed")]
            evidence.append(Evidence("NVML, remapped rows", ", ".join(words)))
        yield _memory_finding(own, address, count, found, xids)._replace(evidence=tuple(evidence))
    if not own.answers and not reports:
        yield from _unless_told(nvml, xids)


def _memory_finding(
    own: Watched, address: str, count: object, found: Sequence[Xid], xids: Xids | Unavailable
) -> Finding:
    """Without its evidence. A count of none proves little: some GPUs that wait for a reset tell none."""
    counted = count if isinstance(count, int) else 0
    errors = f"{counted:,} memory errors" if counted > 1 else "a memory error"
    summary = f"{own.label(address)} had {errors} that could not be corrected"
    summary += f" ({numbered(found)})." if found else "."
    remap, reset = own.value(address, "remapped_rows"), own.reset(address, xids)
    if isinstance(remap, dict) and remap.get("failed"):
        return Finding(summary, address, (), own.on_the_host(_FOR_THE_VENDOR))
    if count == 0 and own.needs_nothing(address):
        remedy = "The driver says that nothing is to be done now. If it comes back, the GPU is one for the vendor."
        return Finding(summary, address, (), remedy, Severity.INFO)
    if count == 0 and own.is_well(address):
        remedy = f"{reset} If that was done since, all is well."
        return Finding(summary, address, (), remedy, Severity.WARNING)
    reset = f"{reset} If it counts more after that, it is a GPU for the vendor."
    numbers = {xid.number for xid in found}
    if CONTAINED in numbers and numbers <= {CONTAINED, 48} and own.is_well(address):
        remedy = f"It was contained in one program: start that again. The rest can wait for a pause. {reset}"
        return Finding(summary, address, (), remedy, Severity.WARNING)
    return Finding(summary, address, (), reset)


@check(
    "health.row-remap",
    severity=Severity.WARNING,
    after=["health.fallen-off-bus", "health.ecc-uncorrectable"],
    symptoms=[
        sure(r"Row Remapper: "),
        sure(r"Dynamic Page Retirement: "),
        sure(r"\bXid(?: \([^)]+\)| error| code)?[:=]? ?(63|64|92)\b"),
        sure(r"Remapping Failure Occurred\s*: Yes"),
        sure(r"^Pending\s*: Yes", beside=r"Remapped Rows"),
        sure(r"Pending Page Blacklist\s*: Yes"),
        r"ECC page retirement",
        r"\brow.remap\w*\b.{0,30}(fail|pending)",
        r"pending retired page has been detected|pending page retirements together with a DBE",
        r"uncorrectable memory errors and \d+ rows were remapped",
        r"\d or more retired pages have been detected|excess of \d+ retired pages",
        r"exceeded uncorrectable row remap limit",
        hint(r"More than \d+ single-bit ECC error"),
    ],
)
def row_remap(
    nvml: Nvml | Unavailable, xids: Xids | Unavailable, gpus: PciGpus | Unavailable, confinement: Confinement
) -> Iterator[Finding | Undecided]:
    """A part of a GPU's memory is worn out: a spare row is to take its place, or there is none left.

    What: GPUs with ECC replace rows of memory that went bad by spare ones (older ones leave the page out). It takes
    effect at the next reset, and is no reason for alarm. When the spare rows are used up, replacing fails, and the
    GPU is one for the vendor.

    Proof: NVML's pending and failure flags; Xid 63 (marked), 64 (failed) or 92 (many corrected errors) in the kernel's
    log. Rows replaced in the past are history, and no finding.

    Repair: Pending: reset the GPU when it is free, or restart the machine. Failed: have the GPU replaced.

    Reference: https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/;
    https://docs.nvidia.com/deploy/dynamic-page-retirement/
    """
    own = watched(gpus, nvml, confinement)
    reports: Mapping[str, Sequence[Xid]] = reported(xids, RETIREMENT, own) if isinstance(xids, Xids) else {}
    for address in sorted({*reports, *own.answers}):
        found = reports.get(address, ())
        numbers = {xid.number for xid in found}
        remap, pages = own.value(address, "remapped_rows"), own.value(address, "retired_pages_pending")
        flags = remap if isinstance(remap, dict) else {}
        told = bool(flags) or isinstance(pages, bool)
        pending = bool(flags.get("pending")) or pages is True or (REMAPPED in numbers and not told)
        label = own.label(address)
        if flags.get("failed") or (REMAP_FAILED in numbers):
            finding = Finding(
                f"{label} could not replace a bad row of its memory by a spare one.",
                address,
                remedy=own.on_the_host(_FOR_THE_VENDOR)
                if flags.get("failed") or not told
                else f"{own.reset(address, xids)} If it is told again after that, it is a GPU for the vendor.",
                severity=Severity.ERROR if flags.get("failed") or not told else Severity.WARNING,
            )
        elif pending:
            finding = Finding(
                f"{label} has a bad row of memory, which a spare one replaces at the next reset.",
                address,
                remedy=f"It can wait for a pause. {own.reset(address, xids)}",
            )
        elif MANY_CORRECTED in numbers:
            finding = Finding(
                f"{label} had to correct many memory errors in a short time.",
                address,
                remedy="Nothing was lost. If it comes again, the GPU is one for the vendor.",
                severity=Severity.INFO,
            )
        else:
            continue
        evidence = [Evidence("NVML, remapped rows", ", ".join(f"{k}: {v}" for k, v in flags.items()))] if flags else []
        evidence += [Evidence("NVML, retired pages", "pending")] if pages is True else []
        evidence += lines_of(xids, found) if isinstance(xids, Xids) else ()
        yield finding._replace(evidence=tuple(evidence))
    if not own.answers and not reports:
        yield from _unless_told(nvml, xids)


def _unless_told(nvml: Nvml | Unavailable, xids: Xids | Unavailable) -> Iterator[Undecided]:
    """NVML spoke of no GPU; why it is silent, others tell. A log without an Xid of memory is good news, too."""
    if isinstance(nvml, Nvml) and nvml.return_code == 0:
        raise NotApplicable("NVML lists no GPU here")
    if isinstance(xids, NotRunning):
        raise xids
    if isinstance(xids, Unavailable):
        yield Undecided(str(xids), matters=False)
