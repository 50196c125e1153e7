"""Secure Boot, and whether the key that signs locally built modules is enrolled."""

from typing import NamedTuple


class SigningKey(NamedTuple):
    """A machine owner key on disk, with which DKMS or akmods sign modules."""

    path: str  # "/var/lib/shim-signed/mok/MOK.der"
    enrolled: bool | None  # in the firmware's list (MokListRT); None: that list could not be read
    pending: bool  # waiting in MokNew for the next boot's MokManager


class SecureBoot(NamedTuple):
    """State of the firmware and of the kernel's lockdown."""

    enabled: bool  # False also on machines without UEFI
    lockdown: str  # "none", "integrity", "confidentiality", "" where the kernel does not say
    keys: tuple[SigningKey, ...]
