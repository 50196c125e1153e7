"""NVIDIA vGPU: licenses and matching drivers are in the hands of those who run the host and the license server."""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Step, fix

from ._scope import by_hand_if_unsafe


@fix("license-vgpu", cures=["driver.vgpu-unlicensed"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def license_vgpu(findings: Findings) -> Iterator[Step]:
    """Let the virtual GPU get its license."""
    for remedy in dict.fromkeys(finding.remedy for _, finding in findings.items):
        yield Step(
            Manual(remedy),
            "The license is given out by a server that is not part of this machine.",
            Phase.AFTERWARDS,
        )


@fix("match-vgpu-drivers", cures=["driver.vgpu-guest-host-mismatch"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def match_vgpu_drivers(findings: Findings) -> Iterator[Step]:
    """Bring the drivers of host and virtual machine to releases that fit."""
    for remedy in dict.fromkeys(finding.remedy for _, finding in findings.items):
        yield Step(
            Manual(remedy),
            "Guest drivers come with the host's vGPU release and are in no distribution's repository.",
            Phase.AFTERWARDS,
            Risk.HIGH,
        )
