"""Ubuntu's ready-made NVIDIA modules: is there one for each kernel that matters?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, likely
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.driver_packages import READY_MODULES, ubuntu_modules
from gpudoctor.facts.kernel_headers import flavour_to_follow
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.versions import DriverVersions

from ._kernels import KernelsWithoutModule
from ._known import known
from ._scope import own_driver
from ._surroundings import NO_MODULE


@check(
    "kernel.prebuilt-module-missing",
    severity=Severity.ERROR,
    symptoms=[
        r"(Unable to locate package|E: Package '?)linux-modules-nvidia-",
        likely(r"\bkmod-nvidia\b", beside=rf"module (has )?failed to load|{NO_MODULE}", without=r"akmod|dkms status"),
        likely(r"\blinux-modules-nvidia-\d+\S*", beside=NO_MODULE, without=r"dkms|SecureBoot enabled"),
    ],
)
def prebuilt_module_missing(
    confinement: Confinement,
    without: KernelsWithoutModule,
    versions: DriverVersions,
    dkms: Dkms,
    known_packages: Packages | Unavailable,
) -> Iterator[Finding]:
    """Ubuntu's ready-made NVIDIA modules are installed for other kernels, not for this one.

    What: Ubuntu brings signed modules in packages named after one kernel each
    (linux-modules-nvidia-580-KERNEL). Only the package named after a kernel flavour
    (linux-modules-nvidia-580-generic) pulls the next one in with every new kernel. Without it, or
    when a kernel of another flavour is booted, the new kernel has no module.

    Proof: linux-modules-nvidia-* packages are installed for other kernels only, no NVIDIA module
    lies under /lib/modules/KERNEL, and no DKMS source is there that could have built one.

    Repair: install the package of the same branch for the kernel's flavour, and reboot if the
    kernel changes with it. Do not add nvidia-dkms besides: two sources of one module drift apart
    at the next kernel.

    Reference: Ubuntu kernel team,
    https://lists.ubuntu.com/archives/kernel-team/2021-March/117894.html
    """
    own_driver(confinement)
    if dkms.sources or not without.kernels:
        return
    packages = known(known_packages)
    installed = tuple(ubuntu_modules(packages))
    if not installed:
        return
    branch = versions.user_space.partition(".")[0]
    series = min((package.series for package in installed), key=lambda series: not series.startswith(branch))
    elsewhere = ", ".join(package.kernel for package in installed if package.kernel)
    for bare in without.kernels:
        if any(package.kernel == bare.release for package in installed):
            continue  # the package is there and its module is not: kernel.module-missing tells that
        exact = f"{READY_MODULES}{series}-{bare.release}"
        follow = f"{READY_MODULES}{series}-{flavour_to_follow(bare.release, packages)}"
        state = "is" if packages.get(follow) else "is not"
        yield Finding(
            f"Ubuntu's ready-made NVIDIA modules are installed for {elsewhere or 'no kernel'}, not for {bare.words}: "
            f"{bare.consequence}.",
            bare.release,
            (
                Evidence("packages", ", ".join(package.name for package in installed)),
                Evidence("package that brings modules with every kernel", f"{follow} {state} installed"),
                *bare.evidence,
            ),
            f"Install the modules of this kernel, and the package that brings them with every later one "
            f"(`apt install {exact} {follow}`){bare.load}. Do not add nvidia-dkms besides.{bare.fallback}",
            bare.severity,
        )
