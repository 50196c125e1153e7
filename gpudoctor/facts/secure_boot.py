"""Secure Boot, and whether the key that signs locally built modules is enrolled."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class SigningKey(NamedTuple):
    """A machine owner key on disk, with which DKMS or akmods sign modules."""

    path: str  # "/var/lib/shim-signed/mok/MOK.der"
    enrolled: bool | None  # in a list of the firmware (MokListRT, db); None: that list, or the key, could not be read
    pending: bool  # waiting in MokNew for the next boot's MokManager


class SecureBoot(NamedTuple):
    """State of the firmware and of the kernel's lockdown."""

    enabled: bool  # False also on machines without UEFI, and where shim was told not to verify
    lockdown: str  # "none", "integrity", "confidentiality", "" where the kernel does not say
    keys: tuple[SigningKey, ...]  # of machines with UEFI


_VARIABLES = "/sys/firmware/efi/efivars"
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"  # EFI_GLOBAL_VARIABLE of the UEFI specification
_IMAGES = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"  # EFI_IMAGE_SECURITY_DATABASE_GUID
_SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"  # shim's own variables
_ATTRIBUTES = 4  # bytes before the value
_LIST_LIMIT = 1024 * 1024  # bytes

_KEYS = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub", "/etc/pki/akmods/certs/public_key.der")
_KEY_FOLDER = "/usr/share/nvidia-pubkeys"  # openSUSE's packages of prebuilt modules
_KEY_LIMIT = 64 * 1024  # bytes


@fact
def secure_boot(host: Host) -> SecureBoot:
    """From the firmware's variables, as the kernel itself reads them at boot."""
    lockdown = (host.read("/sys/kernel/security/lockdown") or "").partition("[")[2].partition("]")[0]
    if host.list("/sys/firmware/efi") is None:
        return SecureBoot(False, lockdown, ())
    enabled = _is_set(host, f"SecureBoot-{_GLOBAL}")
    if enabled is None and not host.list(_VARIABLES):
        raise Unavailable(f"{_VARIABLES} is not mounted, so the state of Secure Boot cannot be told")
    # `mokutil --disable-validation` sets this; the kernel then takes Secure Boot for disabled.
    if enabled and _is_set(host, f"MokSBStateRT-{_SHIM}"):
        enabled = False
    return SecureBoot(bool(enabled), lockdown, tuple(_keys(host)))


def _is_set(host: Host, variable: str) -> bool | None:
    data = host.read_bytes(f"{_VARIABLES}/{variable}", _ATTRIBUTES + 1)
    return data[_ATTRIBUTES:] == b"\1" if data is not None else None


def _keys(host: Host) -> Iterator[SigningKey]:
    paths = [*_KEYS, *(f"{_KEY_FOLDER}/{name}" for name in host.list(_KEY_FOLDER) or () if name.endswith(".der"))]
    lists: tuple[bytes | None, bytes] | None = None
    for path in paths:
        try:
            key = host.read_bytes(path, _KEY_LIMIT)
        except Unavailable:  # DKMS keeps its folder for root alone; that the key is there is known all the same
            yield SigningKey(path, None, False)
            continue
        if not key:
            continue
        lists = lists or (_enrolled(host), _variable(host, f"MokNew-{_SHIM}") or b"")
        enrolled, pending = lists
        # Both are EFI signature lists, which hold certificates as they are.
        yield SigningKey(path, None if enrolled is None else key in enrolled, key in pending)


def _enrolled(host: Host) -> bytes | None:
    """What the kernel trusts: the firmware's own keys (the distributions' kernels do), and shim's, which splits a long
    list over MokListRT, MokListRT1, ... None if shim's cannot be read.
    """
    found = [_variable(host, f"db-{_IMAGES}") or b"", _variable(host, f"MokListRT-{_SHIM}")]
    while found[-1]:
        found.append(_variable(host, f"MokListRT{len(found) - 1}-{_SHIM}") or b"")
    return b"".join(part for part in found if part is not None) if found[1] is not None else None


def _variable(host: Host, name: str) -> bytes | None:
    """Empty if there is none, None if it cannot be read."""
    try:
        return host.read_bytes(f"{_VARIABLES}/{name}", _LIST_LIMIT) or b""
    except Unavailable:
        return None
