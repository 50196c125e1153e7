"""Texts that describe imaginary GPU machines to the stub driver libraries; see tests/native/machine.h."""

from collections.abc import Callable, Iterable

VERSION = "535.261.03"

# Words that nvmlInit and cuInit can be set to instead of a return code, for the doctor's own deadlines:
# the library hangs; so that SIGTERM does not end it; having left a process that holds standard output open.
HANGS = ("hang", "hang-ignoring-sigterm", "hang-with-grandchild")
# The library answers, and leaves a process that holds standard output open.
LEAVES_GRANDCHILD = "leave-grandchild"

Settings = dict[str, object]

# The fixture `environment` of native_libraries.py: from a machine's text to the variables of a child that runs on it.
Environment = Callable[..., dict[str, str]]


def a100(index: int, **changes: object) -> Settings:
    """The settings of a healthy A100 in a machine of eight. A change to None takes a setting away."""
    settings: Settings = {
        "name": "NVIDIA A100-SXM4-80GB",
        "uuid": f"GPU-11111111-2222-3333-4444-55555555555{index}",
        "serial": f"132000000000{index}",
        "pci": f"0000:{7 + index:02x}:00 20b2",
        "compute_capability": "8.0",
        "memory": "81920 640 1024",  # MiB: total, reserved, used
        "persistence_mode": 1,
        "compute_mode": 0,
        "mig_mode": "0 0",  # current, pending
        "ecc_mode": "1 1",
        "ecc_uncorrected_volatile": 0,
        "ecc_uncorrected_aggregate": 3,
        "remapped_rows": "0 1 0 0",  # correctable, uncorrectable, pending, failed
        "temperature": 34,
        "power": 62500,  # milliwatts
        "power_limit": 400000,
        "power_limit_default": 400000,
        "utilisation": 0,
        "retired_pages_pending": "!3",  # newer GPUs remap rows
        "clocks_event_reasons": 1,
        "pcie_generation": 4,
        "pcie_generation_max": 4,
        "pcie_width": 16,
        "pcie_width_max": 16,
        "performance_state": 0,
        "display_active": 0,
        "minor": index,
        "processes": 0,
        "graphics_processes": 0,
        "mps_processes": 0,
        "recovery_action": 0,
    }
    settings.update(changes)
    return {key: value for key, value in settings.items() if value is not None}


def machine(gpus: Iterable[Settings], **settings: object) -> str:
    """The text of a machine with these GPUs. Settings: driver_version, nvmlInit=18, cuInit="hang" and the like."""
    whole: Settings = {
        "driver_version": VERSION,
        "nvml_version": f"12.{VERSION}",
        "cuda_version": 12020,
        **settings,
    }
    lines = [f"{key}={value}" for key, value in whole.items()]
    for gpu in gpus:
        lines += ["gpu", *(f"{key}={value}" for key, value in gpu.items())]
    return "\n".join(lines) + "\n"


def eight_gpus(**settings: object) -> str:
    return machine([a100(index) for index in range(8)], **settings)
