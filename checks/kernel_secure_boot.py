"""Secure Boot lets only modules into the kernel that are signed with a key it knows; is the NVIDIA module?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.driver_packages import READY_MODULES
from gpudoctor.facts.kernel_headers import flavour_of
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.kernels import ModuleFile, ModuleFiles
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._known import known
from ._scope import own_driver
from ._surroundings import CONTAINER, NEW_KERNEL, NO_MODULE, SECURE_BOOT_OFF

_FALLING_BACK = r"NVIDIA kernel module (missing|not found)\. Falling back to nouveau"

SYMPTOMS = (
    sure(r"could not (insert|load)( module)? '?\S*nvidia\S*: (Key was rejected by service|Required key not available)"),
    sure(r"Secure boot is enabled on this system, so this is likely because it was not signed"),
    sure(r"failed to load\b.{0,40} because it was not signed by a key that is trusted by the kernel"),
    r"Key was rejected by service",
    r"Required key not available",
    r"Loading of (unsigned module|module with \S+( \S+)?) is rejected",
    r"unsigned module loading is restricted",
    likely(r"could not insert '?nvidia\S*: Operation not permitted", without=CONTAINER),
    # Fedora, where akmods builds it for each kernel, and signs it with a key that the owner must enrol.
    likely(_FALLING_BACK, without=rf"{SECURE_BOOT_OFF}|akmods?\b.{{0,60}}fail|{NEW_KERNEL}"),
    hint(_FALLING_BACK),
    likely(r"SecureBoot enabled", beside=rf"{NO_MODULE}|could not insert '?nvidia"),
    likely(
        r"\bsecure[ -]boot:? (is |was )?(still )?(enabled|turned on|active)\b", beside=rf"{NO_MODULE}|{_FALLING_BACK}"
    ),
    likely(
        r"\bsecure ?boot\b.{0,60}\b(reject|refus|block|prevent)\w*|disabl\w+ secure ?boot (fixe|solve|help)[ds]",
        beside=r"nvidia",
    ),
    likely(
        r"\b(driver|module)s? (can ?not|can't|won't|will not|do(es)?( not|n't)|fails? to) (be )?load\w*"
        r".{0,30}\bsecure ?boot",
        beside=r"nvidia",
    ),
    sure(r"kernel does not trust any key which is capable of verifying the module signature"),
    r"Failed to sign (precompiled )?kernel module|Failed to sign module '\S*nvidia",
    r"nvidia-installer cannot sign \S+ without",
    r"Unable to generate key pair: openssl not found|Failed to link a kernel module for signing",
    hint(r"target kernel has CONFIG_MODULE_SIG_FORCE set"),
    hint(r"PKCS#7 signature not signed with a trusted key"),
    hint(r"could(n't| not) communicate with the NVIDIA driver", beside=r"secure ?boot"),
)
# The same messages; most who see them never asked for a key to be enrolled.
ENROLMENT_SYMPTOMS = (
    hint(r"Key was rejected by service"),
    hint(r"Required key not available"),
    hint(r"Loading of (unsigned module|module with \S+( \S+)?) is rejected"),
    hint(r"PKCS#7 signature not signed with a trusted key"),
    hint(r"unsigned module loading is restricted"),
    likely(r"\.(der|pub) is not enrolled", beside=r"nvidia"),
    r"certificate must be added to a key database which is trusted by your kernel",
    r"is already in the enrollment request",
    hint(r"\bMOK\S*\.(der|pub) is not enrolled"),
    likely(
        r"(skipp|missed|ignor|cancel)\w* .{0,25}\bMOK\b|\bMOK\b.{0,25}(skipp|missed|ignor|cancel)",
        beside=r"driver|nvidia",
    ),
    likely(r"\bmokutil --list-new\b", beside=r"\[key 1\]"),
)

REJECTIONS = (
    "Key was rejected by service",
    "Required key not available",
    "is rejected",
    "signature not signed with a trusted key",
    "unsigned module loading is restricted",
)


@check(
    "kernel.secure-boot-blocks-module",
    severity=Severity.ERROR,
    after=["kernel.mok-enrolment-pending"],
    symptoms=SYMPTOMS,
)
def secure_boot_blocks_module(
    confinement: Confinement,
    kernel: Kernel,
    secure_boot: SecureBoot | Unavailable,
    versions: DriverVersions,
    files: ModuleFiles,
    system: OperatingSystem,
    gpus: PciGpus | Unavailable,
    log: KernelLog | Unavailable,
) -> Iterator[Finding]:
    """Secure Boot refuses the NVIDIA module, because it is not signed with a key that this machine trusts.

    What: with Secure Boot on, the kernel only loads modules signed with a key that the firmware
    knows. A module that was built here by DKMS or akmods carries a signature of a local key, or
    none; until the owner enrols that key at the console, the kernel refuses the module.

    Proof: Secure Boot is on (the firmware's variable SecureBoot), the NVIDIA module is not
    loaded, and it has no signature, or its key is not in the firmware's list (`mokutil
    --list-enrolled`), or the kernel's log says that it was rejected.

    Repair: on Ubuntu, install the ready-made modules that Canonical has signed. Elsewhere enrol
    the local key: `mokutil --import`, reboot, and confirm on the blue screen, which needs a
    person at the console. Secure Boot can stay on.

    Reference: https://unix.stackexchange.com/q/535434; NVIDIA driver README, chapter "Common
    Problems".
    """
    own_driver(confinement)
    module = next(iter(files.of(kernel.release)), None)
    nothing_to_load = isinstance(gpus, PciGpus) and not gpus.gpus
    if versions.loaded or module is None or nothing_to_load:
        return
    secure = known(secure_boot)
    if not _enforced(secure):
        return
    rejected = _rejections(module, secure, log)
    missing = [key for key in secure.keys if key.enrolled is False]
    if not module.signer and (rejected or secure.lockdown != "none"):
        reason = "it has no signature"
    elif module.signer and missing and (rejected or (_local(module) and len(missing) == len(secure.keys))):
        reason = f"the key that signs modules here ({missing[0].path}) is not enrolled"
    elif rejected:
        reason = "the kernel has rejected its signature"
    elif _local(module) and any(key.enrolled is None for key in secure.keys):
        raise Unavailable(f"{secure.keys[0].path}: whether that key is enrolled could not be read")
    else:
        return
    state = "Secure Boot is on" if secure.enabled else f"The kernel is locked down ({secure.lockdown})"
    yield Finding(
        f"{state} and keeps the NVIDIA module {module.version} from being loaded: {reason}.",
        module.path,
        (
            Evidence("Secure Boot", f"{'on' if secure.enabled else 'off'}, lockdown {secure.lockdown or 'not told'}"),
            Evidence(f"signature of {module.path}", module.signer or "none"),
            *(Evidence(key.path, "not enrolled") for key in missing[:2]),
            *(Evidence(log.source, line) for line in rejected[-1:] if isinstance(log, KernelLog)),
        ),
        _remedy(kernel, module, secure, system),
    )


@check("kernel.mok-enrolment-pending", severity=Severity.ERROR, symptoms=ENROLMENT_SYMPTOMS)
def mok_enrolment_pending(
    confinement: Confinement,
    kernel: Kernel,
    secure_boot: SecureBoot | Unavailable,
    versions: DriverVersions,
    files: ModuleFiles,
) -> Iterator[Finding]:
    """The key that signs the NVIDIA module waits to be confirmed at the console.

    What: Secure Boot is on. The local key was handed to the firmware (`mokutil --import`, or a
    question during the installation), and nobody has confirmed it yet on the blue MokManager
    screen that comes up once at the next boot. Until then the kernel refuses the module.

    Proof: the key is in the list of new ones (`mokutil --list-new`) and not among the enrolled
    ones; no nvidia module is loaded.

    Repair: reboot with a person at the console (or a remote console), choose "Enroll MOK" and
    type the password that was given. If the screen was missed, run `mokutil --import` for that
    key once more.

    Reference: https://unix.stackexchange.com/q/535434; https://askubuntu.com/q/755238;
    mokutil(1).
    """
    own_driver(confinement)
    if versions.loaded or not files.of(kernel.release):
        return
    secure = known(secure_boot)
    if not _enforced(secure):
        return
    for key in secure.keys:
        if key.pending and not key.enrolled:
            yield Finding(
                f"Secure Boot is on, and the key {key.path} that signs the NVIDIA module waits to be confirmed at the "
                f"next boot.",
                key.path,
                (
                    Evidence(key.path, "in MokNew: waits for the next boot"),
                    Evidence("/proc/modules", "no nvidia"),
                    Evidence(versions.on_disk_path, versions.on_disk or "on the disk"),
                ),
                'Reboot with somebody at the console, choose "Enroll MOK" on the blue screen, and type the password '
                "that was given when the key was imported.",
            )


def _enforced(secure: SecureBoot) -> bool:
    return secure.enabled or secure.lockdown in ("integrity", "confidentiality")


def _local(module: ModuleFile) -> bool:
    """Was it built, and so signed, on this machine?"""
    return module.origin in ("dkms", "extra", "updates")


def _rejections(module: ModuleFile, secure: SecureBoot, log: KernelLog | Unavailable) -> tuple[str, ...]:
    """The log's lines on refused modules, as far as this one is meant: most of them name no module."""
    if isinstance(log, Unavailable):
        return ()
    lines = log.matching(*REJECTIONS)
    trusted = module.signer and (not _local(module) or (secure.keys and all(key.enrolled for key in secure.keys)))
    return tuple(line for line in lines if "nvidia" in line) if trusted else lines


def _remedy(kernel: Kernel, module: ModuleFile, secure: SecureBoot, system: OperatingSystem) -> str:
    key = next((key.path for key in secure.keys if not key.enrolled), "")
    enrol = f"{'Enrol' if module.signer else 'Build it again, so that it is signed, and enrol'} its key with "
    enrol += f"`mokutil --import{f' {key}' if key else ''}`, reboot, and confirm it on the blue screen at the console"
    if system.id == "ubuntu" and _local(module):
        series = module.version.partition(".")[0] + ("-open" if module.flavour == "open" else "")
        package = f"{READY_MODULES}{series}-{flavour_of(kernel.release) or kernel.release}"
        built = f"nvidia-dkms-{series}"
        enrol = (
            f"Take the module that Canonical has signed in place of the one built here: `apt install {package}`, then "
            f"`apt remove {built}` (look first with `-s`: the rest of the driver must stay). Or: {enrol}"
        )
    return f"{enrol}. Secure Boot can stay on."
