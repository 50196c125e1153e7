"""A false alarm is as bad as a miss: machines of every kind on which all is well, as root and as everybody else."""

from collections.abc import Callable
from pathlib import Path

import healthy_containers as containers
import healthy_debian as debian
import healthy_places as places
import healthy_rolling as rolling
import healthy_rpm as rpm
import healthy_servers as servers
import healthy_upgrades as upgrades
import pytest
from diagnoses import diagnosed
from healthy_machines import Running

from gpudoctor.cli.check import diagnose_with
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.findings import Severity
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts

Kind = Callable[[Path, int], Running]

HEALTHY: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(debian.ubuntu_laptop, debian.ubuntu_server_mok, debian.ubuntu_nvidia_repository, debian.debian_open),
        *(debian.debian_older_kernel_bare, debian.runfile_plain, debian.runfile_dkms),
        *(rpm.fedora_akmods, rpm.silverblue, rpm.rocky_dkms, rpm.rocky_precompiled, rpm.opensuse_leap),
        *(rpm.opensuse_tumbleweed, rolling.arch, rolling.arch_lts_dkms, rolling.gentoo, rolling.nixos),
        *(containers.h200_container, containers.h200_pod, containers.h200_unmarked_container),
        *(containers.gvisor_container, containers.operator_node, containers.gke_node),
        *(servers.held_server, servers.slurm_job),
        *(servers.apptainer, servers.lxc_guest, servers.headless_cloud, servers.pascal, servers.kepler),
        *(places.wsl, places.wsl_container, places.passthrough_host, places.libvirt_host, places.hypervisor),
        *(places.vgpu_host, places.guest, places.amd_display, places.jetpack_6, places.jetpack_5),
    )
}
# Good to know, and no more: GPUs that are kept for virtual machines.
TOLD = {kind: {"kernel.other-driver-bound"} for kind in ("passthrough_host", "libvirt_host", "hypervisor")}
# Who may read the kernel's log learns of a program that failed, which says nothing of the machine.
OF_A_PROGRAM = {"health.application-xid"}

as_everybody = pytest.mark.parametrize("user", [0, 1000], ids=["root", "ada"])


@as_everybody
@pytest.mark.parametrize("kind", HEALTHY)
def test_all_is_well(tmp_path: Path, kind: str, user: int) -> None:
    seen = diagnosed(HEALTHY[kind](tmp_path, user))
    assert seen.found == [], seen.text
    assert {ranked.check.id for ranked in seen.report.findings} - OF_A_PROGRAM == TOLD.get(kind, set())
    assert {outcome.check.id: outcome.reason for outcome in seen.report.outcomes if outcome.matters} == {}
    assert seen.report.exit_code == 0
    assert seen.plan.chosen == ()


@as_everybody
def test_a_container_without_a_gpu_is_told_one_thing(tmp_path: Path, user: int) -> None:
    machine = containers.container_without_gpu(tmp_path, user)
    seen = diagnosed(machine)
    assert seen.found == ["container.no-gpu-requested"]
    assert "devices.nodes-missing" in seen.explained
    assert "start the container with its GPU" in seen.first.remedy
    assert all("host" in step for step in seen.steps)
    none_meant = diagnose_with(Facts(machine, {ExpectedGpus: ExpectedGpus(0)}))
    assert [ranked.check.id for ranked in none_meant.findings] == []
    assert none_meant.exit_code == 0


@as_everybody
def test_a_machine_without_a_gpu(tmp_path: Path, user: int) -> None:
    machine = places.intel_only(tmp_path, user)
    assert diagnosed(machine).found == ["pci.no-gpu"]
    report = diagnose_with(Facts(machine, {ExpectedGpus: ExpectedGpus(0)}))
    assert report.findings == ()
    assert report.exit_code == 0


@as_everybody
def test_a_restart_that_the_system_asks_for_is_no_error(tmp_path: Path, user: int) -> None:
    seen = diagnosed(upgrades.reboot_pending(tmp_path, user))
    assert seen.found == ["packages.reboot-required"]
    assert seen.severity is Severity.WARNING
    assert seen.report.exit_code == 1


@as_everybody
def test_an_upgrade_that_runs_is_waited_for(tmp_path: Path, user: int) -> None:
    """Half of the new driver is there: nobody must restart, nor finish what another is busy with."""
    seen = diagnosed(upgrades.upgrade_running(tmp_path, user))
    assert seen.found == ["packages.half-configured"]
    assert "unattended-upgrade (process 2811) is changing packages right now" in seen.first.summary
    assert {"driver.library-mismatch", "driver.nvml-failed", "driver.cuda-init-failed"} <= seen.explained
    assert seen.steps == ["Wait until unattended-upgrade (process 2811) has ended, then run gpudoctor again."]
    assert not seen.plan.reboots


@as_everybody
def test_the_same_state_without_anybody_at_work_is_an_interrupted_upgrade(tmp_path: Path, user: int) -> None:
    machine = upgrades.upgrade_running(tmp_path, user)
    (tmp_path / "proc/2811/comm").unlink()
    seen = diagnosed(machine)
    assert seen.found[0] == "packages.half-configured"
    assert "half installed" in seen.first.summary
    assert any("dpkg --configure -a" in step for step in seen.steps)


def test_of_the_mounts_a_snapshot_keeps_the_one_that_is_judged() -> None:
    root = "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
    text = f"{root}61 29 0:55 / /home/ada rw - nfs4 files.example.com:/export/ada rw\n"
    assert redacted({"read /proc/self/mountinfo": text}) == {"read /proc/self/mountinfo": root}
