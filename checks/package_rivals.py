"""Two of what there must be one of: two installations, two branches, two origins, two modules."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.driver_packages import READY_MODULES, DriverPackage, Part, driver_packages
from gpudoctor.facts.driver_sets import BRINGS_FILES, branch_sets, makers, set_to_keep
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._gpus import gpu_works
from ._package_words import install, manager_of, reinstall, remove, some, states_of, trial, verify
from ._scope import own_driver
from ._surroundings import DEPENDS, ORIGINS, RUNFILE


@check(
    "packages.runfile-and-packages",
    severity=Severity.ERROR,
    symptoms=[
        sure(r"An alternate method of installing the NVIDIA driver was detected"),
        sure(r"The NVIDIA driver appears to have been installed previously using a different installer"),
        likely(r"Driver/library version mismatch|API mismatch: the client", beside=RUNFILE),
        hint(
            r"\.run\b.{0,60}\b(later|then|afterwards|before|also)\b.{0,60}\b(apt|dnf|yum|pacman|zypper)\b",
            beside=r"nvidia",
        ),
        r"availability or presence of an alternate driver installation",
        r"installation has been altered since it was originally installed",
        r"The installed (file|symbolic link) '\S+' (no longer exists|has (a different checksum|target))",
        r"The symbolic link '\S+' does not (exist|point to)\b.{0,120}necessary for correct operation",
        r"DKMS kernel modules with version \S+ are already installed for",
    ],
)
def runfile_and_packages(
    confinement: Confinement,
    runfile: RunfileTraces,
    packages: Packages,
    system: OperatingSystem,
    libraries: DriverLibraries | Unavailable,
    versions: DriverVersions | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """A driver from NVIDIA's .run file lies over the packaged one, or under it.

    What: the .run installer writes libraries, programs and modules beside and over those of the
    packages, and the package manager does not know of it. Each upgrade of the packages then
    overwrites one half: the mismatch comes back after every upgrade, whatever is repaired.

    Proof: the installer's own traces (/var/lib/nvidia, nvidia-uninstall), installed driver
    packages, and libraries or modules in versions that no package brings.

    Repair: keep the packaged driver. Run the installer's own uninstaller; it also deletes files
    that packages own, so reinstall the driver's packages right after it, compare their files with
    what they brought, and reboot. Do not delete libraries by hand, and do not purge by a pattern:
    that takes the container toolkit and CUDA along.

    Reference: nvidia-uninstall in the NVIDIA driver README, chapter "Installing the NVIDIA Driver";
    https://github.com/NVIDIA/ubuntu-packaging-nvidia-driver/issues/3
    """
    own_driver(confinement)
    members = [member for member in driver_packages(packages) if member.part in BRINGS_FILES]
    if not runfile.paths or not members:
        return
    packaged = sorted({member.version for member in members if member.version})
    strange = [
        library
        for library in (libraries.libraries if isinstance(libraries, DriverLibraries) else ())
        if packaged and library.version and library.version not in packaged
    ]
    others = {runfile.version, *(library.version for library in strange)}
    if isinstance(versions, DriverVersions):
        others.update((versions.loaded, versions.on_disk, versions.user_space))
    others -= {"", *packaged}
    by_hand = runfile.version or some(sorted(others)) or "of a version that it did not note"
    manager = manager_of(packages, system)
    names = [member.name for member in members if member.part is not Part.READY_MODULE]
    if runfile.uninstaller:
        first = f"Run the installer's own uninstaller, `{runfile.uninstaller}`"
    else:
        first = f"Its uninstaller is gone: run the .run file of the same version ({by_hand}) with `--uninstall`"
    yield Finding(
        f"Two drivers are installed over each other: {by_hand} from NVIDIA's .run file, and "
        f"{' and '.join(packaged) or some(member.name for member in members)} from packages"
        + (f"; {strange[0].soname} leads to {strange[0].real_path}, which no package brings." if strange else "."),
        runfile.paths[0],
        (
            Evidence(", ".join(runfile.paths), "left by NVIDIA's installer"),
            *((Evidence(runfile.log, f"version {runfile.version}"),) if runfile.log and runfile.version else ()),
            states_of(packages, [member.package for member in members]),
            *(Evidence(library.path, f"-> {library.real_path}") for library in strange[:2]),
        ),
        f"{first}; it deletes files of packages too, so reinstall the driver's packages right after it: "
        f"{reinstall(manager, names)}. Then {verify(manager, names)} must name no missing file; reboot.",
        Severity.WARNING if not others or gpu_works(nvml, cuda) else Severity.ERROR,
    )


@check(
    "packages.two-branches",
    severity=Severity.ERROR,
    after=["packages.runfile-and-packages"],
    no_symptom="users see the message of driver.library-mismatch; only the packages tell this cause",
)
def two_branches(
    confinement: Confinement, packages: Packages, system: OperatingSystem, versions: DriverVersions | Unavailable
) -> Iterator[Finding]:
    """Libraries of two driver branches are installed.

    What: the libraries of a driver are a set: those of another branch, or of Ubuntu's server set
    beside the desktop set, do not work with the same module. Which file is taken depends on the
    order of installation and can change with each upgrade. Settings of removed packages do no harm.

    Proof: library packages of two branches in the package manager's database.

    Repair: decide for one branch, mostly the one of the module that is loaded, and remove the
    other's packages by name, in one transaction with whatever the first still lacks. Never by a
    pattern such as `*nvidia*`.

    Reference: https://lists.ubuntu.com/archives/kernel-team/2021-March/117894.html;
    https://wiki.debian.org/NvidiaGraphicsDrivers
    """
    own_driver(confinement)
    sets = branch_sets([member for member in driver_packages(packages) if member.part is Part.LIBRARY])
    if len(sets) < 2:
        return
    known = versions if isinstance(versions, DriverVersions) else DriverVersions("", "", "", "", "", "", "")
    module = known.loaded or known.on_disk
    keep = set_to_keep(sets, (known.loaded, known.on_disk, known.user_space))
    going = [member.name for name, found in sets.items() if name != keep for member in found]
    manager = manager_of(packages, system)
    why = " as the module is of it" if module and module.partition(".")[0] in keep else ""
    disagree = any(
        version and known.user_space and version != known.user_space for version in (known.loaded, known.on_disk)
    )
    choice = ""
    if any(found[0].family for found in sets.values()) and system.of_debian:
        choice = " To keep both, choose with `update-alternatives --config nvidia`, then reboot."
    yield Finding(
        f"Libraries of {len(sets)} driver branches are installed: "
        + "; ".join(f"{name}: {some([member.name for member in found], 3)}" for name, found in sets.items())
        + ".",
        going[0],
        (
            *(states_of(packages, [member.package for member in found]) for found in sets.values()),
            *((Evidence(known.on_disk_path or "loaded module", module),) if module else ()),
            *((Evidence(known.user_space_path, known.user_space),) if known.user_space else ()),
        ),
        f"Keep one, {keep}{why}, and remove the other's packages by name: {remove(manager, going)}{trial(manager)}."
        f"{choice}",
        Severity.ERROR if disagree else Severity.WARNING,
    )


@check(
    "packages.mixed-origins",
    severity=Severity.WARNING,
    after=["packages.two-branches"],
    symptoms=[
        likely(DEPENDS, beside=ORIGINS),
        likely(r"package \S*nvidia\S* from \S+ (requires|conflicts|obsoletes) ", beside=r"rpmfusion|negativo17|cuda-"),
        r"cannot install both \S*nvidia\S* and \S*nvidia",
        r"filtered out by (modular|exclude) filtering",
        hint(DEPENDS),
        hint(r"you have held broken packages"),
    ],
)
def mixed_origins(confinement: Confinement, packages: Packages, system: OperatingSystem) -> Iterator[Finding]:
    """Parts of the driver come from two makers of packages.

    What: NVIDIA and the distributions (Debian, Ubuntu, RPM Fusion) pack the same driver under the
    same or similar names, divided differently, and publish at different times. Packages of both
    work until one of them publishes first; then upgrades stop with unmet dependencies, or a part is
    upgraded without the rest.

    Proof: who maintains each installed package of the driver. On SUSE the signed module of SUSE
    beside NVIDIA's libraries is the documented way, and is not counted.

    Repair: decide for one origin, disable or pin the driver's packages of the other, and install
    the set from the one that stays. CUDA itself may go on coming from NVIDIA's repository.

    Reference: https://github.com/NVIDIA/cuda-repo-management/issues/19;
    https://github.com/NVIDIA/ansible-role-nvidia-driver/issues/11
    """
    own_driver(confinement)
    origins = makers(packages)
    if len(origins) < 2:
        return
    # Ready-made modules come from the distribution alone, and fit its libraries only.
    ready = {maker for maker, found in origins.items() if any(member.part is Part.READY_MODULE for member in found)}
    stays, *others = sorted(origins, key=lambda maker: (maker not in ready, -len(origins[maker])))
    replaced = [member.name for maker in others for member in origins[maker]]
    manager = manager_of(packages, system)
    match manager:
        case "apt-get":
            how = (
                f"`apt-cache policy {replaced[0]}` names the repositories; disable the one of {' and '.join(others)} "
                f"in /etc/apt/sources.list.d, or pin its nvidia-* and libnvidia-* below 0 in /etc/apt/preferences.d"
            )
        case "dnf":
            how = "`dnf repolist` names the repositories; disable the other one for the driver (excludepkgs=nvidia*)"
        case _:
            how = "Disable the other repository for the driver's packages"
    yield Finding(
        "The driver's packages come from "
        + " and ".join(f"{maker} ({some([member.name for member in origins[maker]], 3)})" for maker in (stays, *others))
        + ".",
        replaced[0],
        tuple(
            Evidence(origins[maker][0].package.vendor, some((_told(member) for member in origins[maker]), 4))
            for maker in (stays, *others)
        ),
        f"Decide for one origin. To stay with {stays}: {how}; then {install(manager, replaced)}{trial(manager)}; where "
        f"the other's version is higher, name the version too.",
    )


def _told(member: DriverPackage) -> str:
    return f"{member.name} {member.package.version}"


@check(
    "packages.dkms-and-prebuilt",
    severity=Severity.WARNING,
    no_symptom="both modules work until they drift apart; then users see the message of driver.library-mismatch",
)
def dkms_and_prebuilt(
    confinement: Confinement, packages: Packages, kernel: Kernel, versions: DriverVersions | Unavailable
) -> Iterator[Finding]:
    """The driver's module comes twice: built here by DKMS, and ready-made from Ubuntu.

    What: Ubuntu has the module ready-made and signed (linux-modules-nvidia-*), and as source for
    DKMS (nvidia-dkms-*). With both, each kernel has two modules, and the one in updates/dkms wins.
    They are upgraded apart from each other, so one day the wrong version is loaded.

    Proof: packages of both kinds are installed; the path of the module that modprobe would load.

    Repair: keep one. The ready-made one where Secure Boot is on or many machines are alike; DKMS
    where a kernel is not Ubuntu's own. Remove the other kind only, nothing else of the driver.

    Reference: Ubuntu kernel team, https://lists.ubuntu.com/archives/kernel-team/2021-March/117894.html
    """
    own_driver(confinement)
    members = driver_packages(packages)
    ready = [member for member in members if member.name.startswith(READY_MODULES)]
    dkms = [member for member in members if member.part is Part.MODULE and "dkms" in member.name.split("-")]
    if not ready or not dkms:
        return
    covered = any(member.name.endswith(f"-{kernel.release}") for member in ready)
    going = [member.name for member in (dkms if covered else ready)]
    path = versions.on_disk_path if isinstance(versions, DriverVersions) else ""
    yield Finding(
        f"The driver's module is installed twice: as source for DKMS ({some(member.name for member in dkms)}) and "
        f"ready-made ({some(member.name for member in ready)}).",
        dkms[0].name,
        (
            states_of(packages, [member.package for member in dkms]),
            states_of(packages, [member.package for member in ready]),
            *([Evidence(f"module for {kernel.release}", path)] if path else ()),
        ),
        f"Keep one kind. {'The ready-made one covers' if covered else 'Only DKMS covers'} kernel {kernel.release}, so "
        f"remove the other: {remove('apt-get', going)}{trial('apt-get')}; the rest of the driver must stay.",
    )
