"""Secure Boot as the firmware's variables tell it, and the keys of locally built modules."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk, facts_on

from gpudoctor.facts.secure_boot import SecureBoot, SigningKey
from gpudoctor.host import NotRunning, Unavailable
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree

VARIABLES = "/sys/firmware/efi/efivars"
STATE = f"{VARIABLES}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
UBUNTU_KEY, DEBIAN_KEY = "/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub"
LOCKDOWN = {"/sys/kernel/security/lockdown": "none [integrity] confidentiality\n"}

ON, OFF = b"\x06\0\0\0\x01", b"\x06\0\0\0\0"
CERTIFICATE, OTHER = b"0\x82\x03\x01" + random.Random(1).randbytes(700), random.Random(2).randbytes(900)


def _list(*certificates: bytes) -> bytes:
    """An EFI signature list behind the variable's attributes."""
    return b"\x06\0\0\0" + b"".join(b"\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a" + data for data in certificates)


def _facts(folder: Path, files: Mapping[str, str | bytes]) -> Facts:
    load_plugins()
    disk(folder, files)
    return Facts(MachineTree(str(folder)))


def _keys(folder: Path, files: Mapping[str, str | bytes]) -> tuple[SigningKey, ...]:
    return _facts(folder, {STATE: ON, **files}).get(SecureBoot).keys


def test_no_uefi(tmp_path: Path) -> None:
    files = {"/sys/firmware/acpi/": "", "/var/lib/dkms/mok.pub": CERTIFICATE}
    assert _facts(tmp_path, files).get(SecureBoot) == SecureBoot(False, "", ())


@pytest.mark.parametrize(("state", "enabled"), [(ON, True), (OFF, False), (b"", False), (b"\x06\0\0\0", False)])
def test_state_and_lockdown(tmp_path: Path, state: bytes, enabled: bool) -> None:
    assert _facts(tmp_path, {STATE: state, **LOCKDOWN}).get(SecureBoot) == SecureBoot(enabled, "integrity", ())


def test_firmware_that_knows_no_secure_boot(tmp_path: Path) -> None:
    files = {f"{VARIABLES}/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x07\0\0\0\0\0"}
    assert not _facts(tmp_path, files).get(SecureBoot).enabled


@pytest.mark.parametrize("folder", ["/sys/firmware/efi/efivars/", "/sys/firmware/efi/runtime/"])
def test_variables_that_are_not_mounted_leave_it_unknown(tmp_path: Path, folder: str) -> None:
    with pytest.raises(Unavailable, match="not mounted"):
        _facts(tmp_path, {folder: ""}).get(SecureBoot)


def test_shim_that_was_told_not_to_verify(tmp_path: Path) -> None:
    files = {STATE: ON, f"{VARIABLES}/MokSBStateRT-{SHIM}": ON}
    assert not _facts(tmp_path, files).get(SecureBoot).enabled


def test_enrolled_key(tmp_path: Path) -> None:
    files = {UBUNTU_KEY: CERTIFICATE, f"{VARIABLES}/MokListRT-{SHIM}": _list(OTHER, CERTIFICATE)}
    assert _keys(tmp_path, files) == (SigningKey(UBUNTU_KEY, True, False),)


def test_key_that_nobody_enrolled(tmp_path: Path) -> None:
    files = {DEBIAN_KEY: CERTIFICATE, f"{VARIABLES}/MokListRT-{SHIM}": _list(OTHER)}
    assert _keys(tmp_path / "list", files) == (SigningKey(DEBIAN_KEY, False, False),)
    assert _keys(tmp_path / "no list", {DEBIAN_KEY: CERTIFICATE}) == (SigningKey(DEBIAN_KEY, False, False),)


def test_key_that_waits(tmp_path: Path) -> None:
    files = {DEBIAN_KEY: CERTIFICATE, f"{VARIABLES}/MokNew-{SHIM}": _list(CERTIFICATE)}
    assert _keys(tmp_path, files) == (SigningKey(DEBIAN_KEY, False, True),)


def test_a_long_list_goes_on_in_further_variables(tmp_path: Path) -> None:
    lists = {f"{VARIABLES}/MokListRT-{SHIM}": _list(OTHER), f"{VARIABLES}/MokListRT1-{SHIM}": _list(OTHER)}
    lists[f"{VARIABLES}/MokListRT2-{SHIM}"] = _list(CERTIFICATE)
    assert _keys(tmp_path, {DEBIAN_KEY: CERTIFICATE, **lists}) == (SigningKey(DEBIAN_KEY, True, False),)


def test_key_in_the_firmwares_own_list(tmp_path: Path) -> None:
    files = {f"{VARIABLES}/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f": _list(OTHER, CERTIFICATE)}
    assert _keys(tmp_path, {DEBIAN_KEY: CERTIFICATE, **files}) == (SigningKey(DEBIAN_KEY, True, False),)


def test_keys_of_other_distributions_and_empty_ones(tmp_path: Path) -> None:
    akmods, suse = "/etc/pki/akmods/certs/public_key.der", "/usr/share/nvidia-pubkeys/MOK-nvidia-580.der"
    files: dict[str, str | bytes] = {
        akmods: "-> fedora_123.der",
        "/etc/pki/akmods/certs/fedora_123.der": CERTIFICATE,
        suse: OTHER,
        "/usr/share/nvidia-pubkeys/README": "x",
        DEBIAN_KEY: b"",
        f"{VARIABLES}/MokListRT-{SHIM}": _list(OTHER),
    }
    assert _keys(tmp_path, files) == (SigningKey(akmods, False, False), SigningKey(suse, True, False))


class _Guarded(MachineTree):
    """Some files are for root alone."""

    guarded: tuple[str, ...] = ()

    def read_bytes(self, path: str, limit: int, *, offset: int = 0) -> bytes | None:
        if path.startswith(self.guarded):
            raise Unavailable(f"{path}: {os.strerror(13)}")
        return super().read_bytes(path, limit, offset=offset)


@pytest.mark.parametrize("guarded", [DEBIAN_KEY, f"{VARIABLES}/MokListRT"])
def test_what_only_root_may_read_is_unknown(tmp_path: Path, guarded: str) -> None:
    load_plugins()
    disk(tmp_path, {STATE: ON, DEBIAN_KEY: CERTIFICATE, f"{VARIABLES}/MokListRT-{SHIM}": _list(CERTIFICATE)})
    host = _Guarded(str(tmp_path))
    host.guarded = (guarded,)
    found = Facts(host).get(SecureBoot)
    assert (found.enabled, found.keys) == (True, (SigningKey(DEBIAN_KEY, None, False),))


def test_a_disk_does_not_tell(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        facts_on(tmp_path, {DEBIAN_KEY: CERTIFICATE}).get(SecureBoot)
