"""Whether what a probe printed is an answer at all.

A child whose memory a sick library has spoilt can print anything. A value of the wrong kind must not be taken for
zero, which is success, nor for nothing, which is `[N/A]`.
"""

from collections.abc import Callable, Mapping

from gpudoctor.host import ProbeAnswer

_Kind = Callable[[object], bool]


def checked(name: str, probed: ProbeAnswer) -> ProbeAnswer:
    """The answer of the probe `name`, or a failure that says what is wrong with it."""
    if probed.answer is None:
        return probed
    wrong = _wrong(probed.answer, *_PROBES[name])
    if not wrong and name == "cuda" and probed.answer.get("return_code") is None and not probed.answer.get("error"):
        wrong = "neither return_code nor error"
    return ProbeAnswer(None, f"no usable answer ({wrong})") if wrong else probed


def checked_trial(probed: ProbeAnswer) -> ProbeAnswer:
    """As `checked`, for the trial of a framework."""
    if probed.answer is None:
        return probed
    wrong = _wrong(probed.answer, {"failure": _text, "failed_at": _text}, _TRIAL)
    return ProbeAnswer(None, f"no usable answer ({wrong})") if wrong else probed


def _wrong(answer: Mapping[str, object], needed: Mapping[str, _Kind], others: Mapping[str, _Kind]) -> str:
    """The first field that cannot be, "" if there is none. Those that an older probe did not know may be missing."""
    for field, kind in needed.items():
        if not kind(answer.get(field)):
            return _words(field, answer.get(field))
    for field, kind in others.items():
        value = answer.get(field)
        if value is not None and not kind(value):
            return _words(field, value)
    return ""


def _words(field: str, value: object) -> str:
    return f"{field} is {value!r:.60}"


def _whole(value: object) -> bool:
    return type(value) is int  # True is one, too


def _code(value: object) -> bool:
    return type(value) is int and value >= 0


def _number(value: object) -> bool:
    return type(value) in (int, float)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _list_of(kind: _Kind) -> _Kind:
    return lambda value: isinstance(value, list) and all(kind(item) for item in value)


def _object_of(needed: Mapping[str, _Kind], others: Mapping[str, _Kind]) -> _Kind:
    return lambda value: isinstance(value, dict) and not _wrong(value, needed, others)


def _by_name(kind: _Kind) -> _Kind:
    return lambda value: isinstance(value, dict) and all(kind(item) for item in value.values())


def _either(*kinds: _Kind) -> _Kind:
    return lambda value: any(kind(value) for kind in kinds)


def _pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_code(item) for item in value)


_ERRORS = _by_name(_object_of({"return_code": _code}, {"return_name": _text}))
_GPU = _object_of(
    {"index": _code, "return_code": _code},
    {
        **dict.fromkeys(("return_name", "message", "name", "uuid", "serial", "pci_address", "pci_device_id"), _text),
        **dict.fromkeys(("fabric_state", "virtualization_mode", "license_state", "license_product"), _text),
        **dict.fromkeys(("memory_total_bytes", "memory_reserved_bytes", "memory_used_bytes"), _code),
        **dict.fromkeys(("memory_free_bytes", "minor_number", "clocks_event_reasons", "performance_state"), _code),
        **dict.fromkeys(("pcie_link_generation", "pcie_link_generation_max", "pcie_link_width"), _code),
        **dict.fromkeys(("pcie_link_width_max", "ecc_uncorrected_volatile", "ecc_uncorrected_aggregate"), _code),
        **dict.fromkeys(("power_w", "power_limit_w", "power_limit_default_w", "utilization_percent"), _number),
        **dict.fromkeys(("persistence_mode", "mig_mode", "mig_mode_pending", "ecc_mode", "ecc_mode_pending"), _flag),
        **dict.fromkeys(("retired_pages_pending", "display_active"), _flag),
        **dict.fromkeys(("compute_mode", "recovery_action"), _either(_text, _whole)),
        "temperature_c": _number,
        "compute_capability": _pair,
        "remapped_rows": _object_of(
            {"correctable": _code, "uncorrectable": _code, "pending": _flag, "failed": _flag}, {}
        ),
        "clocks_event_reason_names": _list_of(_text),
        "mig_devices": _list_of(_text),
        "pci_peers": _list_of(_code),
        "processes": _list_of(_object_of({"pid": _code, "kind": _text}, {"memory_bytes": _code})),
        "field_errors": _ERRORS,
    },
)
_IDENTITY: Mapping[str, _Kind] = {"pid": _code, "user_id": _code, "command": _text}
_DEVICE: Mapping[str, _Kind] = {
    **{"ordinal": _code, "return_code": _code, "name": _text, "uuid": _text, "memory_total_bytes": _code},
    **{"compute_capability": _pair, "field_errors": _ERRORS},
}
_NVML: Mapping[str, _Kind] = {
    **dict.fromkeys(("return_name", "message", "error", "library_path", "nvml_version", "driver_version"), _text),
    **{"cuda_driver_version": _code, "field_errors": _ERRORS, "node_refusals": _by_name(_text)},
}
_CUDA: Mapping[str, _Kind] = {
    **{"return_code": _code, "device_count": _code, "driver_version": _code},
    **dict.fromkeys(("return_name", "message", "error", "library_path"), _text),
    "devices": _list_of(_object_of({}, _DEVICE)),
}
_PROCESSES: Mapping[str, _Kind] = {
    "holders": _list_of(_object_of({**_IDENTITY, "devices": _list_of(_text)}, {"python": _text})),
    "deleted_libraries": _list_of(_object_of({**_IDENTITY, "paths": _list_of(_text)}, {})),
}
# By probe: the fields that must be there, and those that may be null or missing.
_PROBES: Mapping[str, tuple[Mapping[str, _Kind], Mapping[str, _Kind]]] = {
    "nvml": ({"return_code": _code, "gpus": _list_of(_GPU)}, _NVML),
    "cuda": ({}, _CUDA),
    "processes": (_PROCESSES, {"unreadable": _code, "others_hidden": _flag}),
}
_TRIAL: Mapping[str, _Kind] = {
    **{"version": _text, "devices": _code, "libraries": _list_of(_text), "user": _code},
}
