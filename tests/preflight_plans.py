"""Upgrades as package managers announce them, and what gpudoctor foresees of them on a whole machine."""

from collections.abc import Iterable, Mapping, Sequence

from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import InstalledKernels, ModuleFiles
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.findings import Status
from gpudoctor.host import Host
from gpudoctor.preflight.foresee import Foresight, foresee
from gpudoctor.preflight.simulation import read_simulation
from gpudoctor.registry import Facts
from gpudoctor.reports.preflight import as_text

UBUNTU_ARCHIVE = "Ubuntu:24.04/noble-updates"


def inst(
    name: str, new: str, old: str = "", origin: str = "Debian:12.15/oldstable", architecture: str = "amd64"
) -> str:
    was = f" [{old}]" if old else ""
    return f"Inst {name}{was} ({new} {origin} [{architecture}])"


def remv(name: str, old: str) -> str:
    return f"Remv {name} [{old}]"


def apt_plan(*lines: str, kept: Sequence[str] = ()) -> str:
    """What `apt-get -s dist-upgrade` prints."""
    upgraded = sum(line.startswith("Inst ") and line.split(" ", 2)[2].startswith("[") for line in lines)
    new = sum(line.startswith("Inst ") for line in lines) - upgraded
    removed = sum(line.startswith("Remv ") for line in lines)
    head = ["Reading package lists...", "Building dependency tree...", "Calculating upgrade..."]
    head += ["The following packages have been kept back:", f"  {' '.join(kept)}"] if kept else []
    counts = f"{upgraded} upgraded, {new} newly installed, {removed} to remove and {len(kept)} not upgraded."
    return "\n".join([*head, counts, *lines]) + "\n"


def moved(packages: Iterable[Package], old: str, new: str, origin: str = UBUNTU_ARCHIVE) -> list[str]:
    """The lines that bring these packages from one version to another."""
    return [inst(one.name, new, old, origin, one.architecture) for one in packages if one.version == old]


def state(facts: Facts) -> dict[str, object]:
    """What a transaction changes of a machine, without times."""
    kernels = facts.get(InstalledKernels)
    return {
        "packages": sorted((one.name, one.version, one.state) for one in facts.get(Packages).installed()),
        "kernels": [(one.release, one.image, one.headers, one.initramfs) for one in kernels.kernels],
        "next boot": kernels.next_boot,
        "modules": [
            (one.kernel, one.path, one.origin, one.version, one.flavour, one.signer)
            for one in facts.get(ModuleFiles).files
        ],
        "dkms": [
            (source.module, source.version, sorted((build.kernel, build.state) for build in source.builds))
            for source in facts.get(Dkms).sources
        ],
        "libraries": [(one.soname, one.real_path, one.version) for one in facts.get(DriverLibraries).libraries],
    }


def foreseen(host: Host, plan: str) -> Foresight:
    """Nothing stumbles over the machine that is to be, and each finding comes with proof and advice."""
    facts = Facts(host)
    foresight = foresee(facts, read_simulation(plan, "the plan"))
    for report in (foresight.now, foresight.then, *filter(None, (foresight.restarted,))):
        crashed = {one.check.id: one.reason for one in report.outcomes if one.status is Status.CRASHED}
        assert crashed == {}, "\n".join(crashed.values())
    for ranked in foresight.worse:
        assert ranked.finding.summary.endswith("."), ranked.finding.summary
        assert ranked.finding.evidence
        assert all(evidence.value for evidence in ranked.finding.evidence)
        assert ranked.finding.remedy.endswith("."), ranked.finding.remedy
    assert as_text(foresight, facts, 1, colour=False)
    return foresight


def told(foresight: Foresight) -> Mapping[str, str]:
    """Ids of what becomes worse, in order, and when."""
    return {one.ranked.check.id: one.when.name for one in foresight.foreseen}


def advice(foresight: Foresight) -> str:
    return foresight.worse[0].finding.remedy


def proof(foresight: Foresight) -> str:
    return "\n".join(f"{one.source}: {one.value}" for one in foresight.worse[0].finding.evidence)
