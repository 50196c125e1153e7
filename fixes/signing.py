"""Modules that the firmware's Secure Boot refuses: have the key enrolled that signs them. It is never switched off."""

from collections.abc import Iterator

from gpudoctor import Effort, Manual, Phase, Risk, Run, Step, Unavailable, fix
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.kernels import ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.package_manager import package_name, package_version
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions

from ._modules import load, name_to_be, source_to_build
from ._proofs import gone, module_for, there
from ._scope import by_hand_if_unsafe, file_path, kernel_release, own_driver

AT_THE_CONSOLE = (
    "be at the machine's own screen and keyboard (or its remote console), restart, and in the blue MokManager screen, "
    "which waits ten seconds, choose Enroll MOK, Continue, Yes, and type the password"
)


# Less than packages in place of the built module: the owner has chosen this way, and a restart ends it.
@fix("confirm-key", cures=["kernel.mok-enrolment-pending"], effort=Effort.REBOOT)
@by_hand_if_unsafe
def confirm_key(confinement: Confinement, secure_boot: SecureBoot) -> Iterator[Step]:
    """Confirm the key that waits to be enrolled, at the machine's console."""
    waiting = [file_path(key.path) for key in secure_boot.keys if key.pending]
    if own_driver(confinement) and waiting:
        yield Step(
            Manual(
                f"For the key {waiting[0]}: {AT_THE_CONSOLE} that was chosen when it was imported. If nobody knows "
                f"it: `mokutil --revoke-import`, then `mokutil --import {waiting[0]}` with a new one."
            ),
            "The key was handed in, and the firmware takes it only from somebody who sits at the console.",
            Phase.AFTERWARDS,
            Risk.MEDIUM,
        )


@fix("sign-module-again", cures=["kernel.secure-boot-blocks-module"], effort=Effort.BUILD_MODULE)
@by_hand_if_unsafe
def sign_module_again(
    confinement: Confinement,
    secure_boot: SecureBoot,
    kernel: Kernel,
    files: ModuleFiles,
    dkms: Dkms,
    versions: DriverVersions,
    driver: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
) -> Iterator[Step]:
    """Build the module anew, so that it is signed with the key that the firmware knows already."""
    known = any(key.enrolled for key in secure_boot.keys)
    if own_driver(confinement) and secure_boot.enabled and known:
        steps = tuple(_build_again(kernel, files, dkms, versions))
        yield from steps
        if steps:
            yield from load(kernel, driver, modules)


@fix("enrol-key", cures=["kernel.secure-boot-blocks-module"], effort=Effort.KEY_ENROLMENT)
@by_hand_if_unsafe
def enrol_key(
    confinement: Confinement,
    system: OperatingSystem,
    secure_boot: SecureBoot,
    kernel: Kernel,
    files: ModuleFiles,
    dkms: Dkms,
    versions: DriverVersions,
) -> Iterator[Step]:
    """Have the key enrolled that signs the modules which are built here."""
    if not own_driver(confinement) or not secure_boot.enabled or any(key.enrolled for key in secure_boot.keys):
        return
    path = next((file_path(key.path) for key in secure_boot.keys), "")
    if not path:
        path, argv = _key_to_be(system)
        if argv:
            yield Step(
                Run(argv),
                "There is no key on this machine yet with which modules could be signed.",
                Phase.CONFIGURE,
                Risk.MEDIUM,
                verify=there(path),
                undo=Manual("The key may stay: as long as it is not enrolled it opens nothing."),
            )
    if any(not file.signer for file in files.of(kernel.release)):
        yield from _build_again(kernel, files, dkms, versions)
    yield Step(
        Manual(f"Run `mokutil --import {path}` as root and choose a password for one use; then {AT_THE_CONSOLE}."),
        "The firmware loads only modules that are signed with a key it knows, and it takes a new key only from "
        "somebody at the console. Secure Boot stays on.",
        Phase.AFTERWARDS,
        Risk.MEDIUM,
    )


def _key_to_be(system: OperatingSystem) -> tuple[str, tuple[str, ...]]:
    """Where the distribution's tools put the key that they make, and the command that makes one."""
    match system.family:
        case "fedora":
            return "/etc/pki/akmods/certs/public_key.der", ("kmodgenca", "-a")
        case "debian" if system.id != "debian":
            return "/var/lib/shim-signed/mok/MOK.der", ("update-secureboot-policy", "--new-key")
        case "suse":
            # Their module packages bring a key of their own.
            return "/usr/share/nvidia-pubkeys/NAME.der", ()
        case _:
            # DKMS makes this one itself with its next build.
            return "/var/lib/dkms/mok.pub", ()


def _build_again(kernel: Kernel, files: ModuleFiles, dkms: Dkms, versions: DriverVersions) -> Iterator[Step]:
    source, release = source_to_build(dkms, versions.user_space), kernel_release(kernel.release)
    if source is None:
        return
    name = f"{package_name(source.module)}/{package_version(source.version)}"
    install = Run(("dkms", "install", "--force", name, "-k", release))
    yield Step(
        Run(("dkms", "remove", name, "-k", release)),
        "The module that was built without a valid signature would only be copied again.",
        Phase.REMOVE,
        Risk.MEDIUM,
        verify=gone(f"/var/lib/dkms/{name}/{release}"),
        undo=install,
    )
    yield Step(
        install,
        "DKMS signs a module as it builds it, with the key that it finds on this machine.",
        Phase.BUILD,
        Risk.MEDIUM,
        verify=module_for(release, name_to_be(files, dkms)),
        undo=Run(("dkms", "uninstall", name, "-k", release)),
    )
