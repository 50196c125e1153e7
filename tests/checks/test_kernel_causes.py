"""One broken machine gives one finding: the cause, with what it explains."""

import pytest
from kernel_machines import (
    AFTER,
    BEFORE,
    NEW,
    OLD,
    UBUNTU,
    blacklist,
    built,
    dkms,
    failed,
    gpu,
    installed,
    kernel,
    machine,
    nvml,
    packages,
    versions,
)

from gpudoctor.diagnose import diagnose
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.secure_boot import SecureBoot, SigningKey
from gpudoctor.registry import registry
from gpudoctor.testing import facts_of

BUILD_ERROR = "nvidia/os-mlock.c:23:12: error: implicit declaration of function 'follow_pfn'"
NO_DRIVER = (
    nvml(9),
    versions("", "", BEFORE),
    PciGpus((gpu(""),)),
    LoadedDriver("", "", "", "", {}),
    LoadedModules({}),
)
NEW_KERNEL = (*NO_DRIVER, kernel(NEW))
REFUSED = KernelLog(("Loading of module with unavailable key is rejected",), "dmesg")
MACHINES = {
    "nothing": (),
    "kernel.headers-missing": (*NEW_KERNEL, installed(NEW, OLD, headers=(OLD,))),
    "kernel.driver-too-old-for-kernel": (*NEW_KERNEL, installed(NEW, OLD), dkms(built(OLD), failed(NEW, BUILD_ERROR))),
    "kernel.prebuilt-module-missing": (
        *(*NEW_KERNEL, UBUNTU, installed(NEW, OLD, headers=()), Dkms(False, ())),
        packages("libnvidia-compute-535", f"linux-modules-nvidia-535-{OLD}"),
    ),
    "kernel.module-missing": (*NEW_KERNEL, installed(NEW, OLD)),
    "kernel.next-boot-module-missing": (installed(NEW, OLD),),
    "kernel.module-stale": (versions(BEFORE, BEFORE, AFTER), nvml(18)),
    "kernel.secure-boot-blocks-module": (
        *(*NO_DRIVER, versions("", BEFORE, BEFORE), REFUSED),
        SecureBoot(True, "integrity", (SigningKey("/var/lib/dkms/mok.pub", False, False),)),
    ),
    "kernel.mok-enrolment-pending": (
        *(*NO_DRIVER, versions("", BEFORE, BEFORE), REFUSED),
        SecureBoot(True, "integrity", (SigningKey("/var/lib/dkms/mok.pub", False, True),)),
    ),
    "kernel.module-blacklisted": (
        *(*NO_DRIVER, versions("", BEFORE, BEFORE)),
        ModprobeConfig((blacklist("nvidia"),), ""),
    ),
    "kernel.module-not-loaded": (*NO_DRIVER, versions("", BEFORE, BEFORE)),
}


@pytest.mark.parametrize("cause", MACHINES)
def test_one_finding_and_it_is_the_cause(cause: str) -> None:
    facts = facts_of(*machine(*MACHINES[cause]))
    report = diagnose(facts, [check for id, check in registry.checks.items() if id.startswith("kernel.")])
    found = [ranked.check.id for ranked in report.findings]
    assert found == ([] if cause == "nothing" else [cause])
    assert not [outcome for outcome in report.outcomes if outcome.status.value == "crashed"]
