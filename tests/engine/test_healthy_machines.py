"""A false alarm is as bad as a miss: machines of every kind on which all is well, as root and as everybody else."""

from pathlib import Path

import healthy_kinds as kinds
import healthy_places as places
import pytest
from diagnoses import diagnosed
from healthy_kinds import Kind

HEALTHY: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(kinds.ubuntu_laptop, kinds.ubuntu_server_mok, kinds.ubuntu_nvidia_repository, kinds.fedora_akmods),
        *(kinds.rocky_dkms, kinds.rocky_precompiled, kinds.opensuse_leap, kinds.opensuse_tumbleweed),
        *(kinds.arch, kinds.arch_lts_dkms, kinds.debian_open, kinds.debian_older_kernel_bare),
        *(kinds.runfile_plain, kinds.runfile_dkms, places.h200_container, places.h200_pod),
        *(places.h200_unmarked_container, places.gvisor_container, places.wsl, places.passthrough_host),
        *(places.libvirt_host, places.hypervisor, places.guest, places.amd_display, places.jetpack_6),
        *(places.jetpack_5, places.nixos),
    )
}
USERS = {"root": 0, "ada": 1000}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", HEALTHY)
def test_all_is_well(tmp_path: Path, kind: str, user: str) -> None:
    seen = diagnosed(HEALTHY[kind](tmp_path, USERS[user]))
    assert seen.found == [], seen.text
    unknown = {o.check.id: o.reason for o in seen.report.outcomes if o.matters}
    assert unknown == {}
    assert seen.report.exit_code == 0
    assert seen.plan.chosen == ()
