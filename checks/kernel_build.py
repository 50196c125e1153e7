"""Builds of the NVIDIA module that failed: by a kernel newer than the driver, or by neither that nor the compiler."""

from collections.abc import Iterator

from gpudoctor import Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.package_names import concerns_gpu
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement

from ._build_logs import Culprit, culprit_of, log_evidence
from ._kernels import KernelsWithoutModule, failed_builds
from ._scope import own_driver
from ._surroundings import OTHER_BUILD_FAULTS

# A line of gcc's about the module's source, in some of the languages that gcc speaks.
_SOURCE = r"\b(nvidia-(uvm|drm|modeset|peermem)/\S+|nv[-\w]*\.[ch]:\S+|os-\w+\.c:\S+|NVIDIA-Linux\S+|dkms/nvidia\S+)"
_ERRORS = r"(fatal )?error|错误|錯誤|エラー|오류|erreur|Fehler|ошибка|errore|erro|błąd"


@check(
    "kernel.driver-too-old-for-kernel",
    severity=Severity.ERROR,
    after=["kernel.compiler-mismatch"],
    symptoms=[
        sure(r"__vm_flags"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*|\bos-\w+\.c\S*): (fatal )?error: implicit declaration of function"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*): (fatal )?error: .* has no member named"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*): (fatal )?error: too (few|many) arguments to function"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*): (fatal )?error: .*incompatible pointer type"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*): (fatal )?error: .*undeclared"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*): (fatal )?error: unknown type name"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*): (fatal )?error: conflicting types for"),
        sure(r"(nvidia\S*|\bnv[-\w]*\.[ch]\S*): (fatal )?error: .*(read-only member|incomplete type|undefined type)"),
        sure(r"nvidia\S*: fatal error: (drm|asm|linux)/\S+: No such file"),
        sure(r"GPL-incompatible module nvidia\S* uses GPL-only symbol"),
        likely(rf"{_SOURCE}: ({_ERRORS}) ?[:\uff1a]", without=OTHER_BUILD_FAULTS),
        r"modpost: \"\w+\" \[\S*nvidia\S*\] undefined",
        r"BUILD_EXCLUSIVE directive which does not match this kernel",
        likely(r"Bad return status for module build on kernel", without=OTHER_BUILD_FAULTS),
        likely(r"\(bad exit status: \d+\)", beside=r"nvidia", without=OTHER_BUILD_FAULTS),
        r"\bautoinstall (on|of) \S+ was skipped for( module\(s\))? nvidia",
    ],
)
def driver_too_old_for_kernel(confinement: Confinement, without: KernelsWithoutModule, dkms: Dkms) -> Iterator[Finding]:
    """The NVIDIA module does not compile, because the kernel is newer than the driver.

    What: the kernel changes its inner interfaces from release to release. The source of this
    driver uses one that the new kernel no longer has, so the compiler stops, and the new kernel
    has no NVIDIA module. The packages may be left half configured, and the new kernel even
    without an initramfs.

    Proof: the make.log of the build under /var/lib/dkms names functions, members or types of the
    kernel that are missing or have changed; no NVIDIA module lies under /lib/modules/KERNEL.

    Repair: boot the previous kernel, for which the module is there; that is safe and immediate.
    Then install a newer release of the same driver branch, or, where there is none, remove the
    new kernel's packages. Do not patch the driver's source: the next upgrade undoes it.

    Reference: Debian bug 1130057 (https://bugs.debian.org/1130057), driver 550 against kernel
    6.19.
    """
    own_driver(confinement)
    for bare, source, build in failed_builds(dkms, without):
        culprit, line = culprit_of(build.errors)
        if culprit is Culprit.KERNEL:
            branch = source.version.partition(".")[0]
            yield Finding(
                f"NVIDIA driver {source.version} is too old for {bare.words}: its source does not compile there; "
                f"{bare.consequence}.",
                bare.release,
                (log_evidence(build, line), *bare.evidence),
                f"Install a newer release of driver branch {branch}; where there is none, keep to an older kernel and "
                f"remove the packages of {bare.release}.{bare.fallback}",
                bare.severity,
            )


@check(
    "kernel.module-build-failed",
    severity=Severity.ERROR,
    after=["kernel.compiler-mismatch", "kernel.driver-too-old-for-kernel", "packages.disk-full"],
    symptoms=[
        r"Building (DKMS|kernel) module.*FAILED",
        r"DKMS module '?nvidia\S* failed to build",
        r"failed for nvidia\S*\(\d+\)",
        likely(r"Building rpms failed; see", beside=r"nvidia"),
        likely(r"Failed build dependencies:", beside=r"nvidia"),
        likely(r"Bad exit status from /var/tmp/rpm-tmp", beside=r"nvidia"),
        r"Unable to build the NVIDIA kernel module",
        r"performing the step: .Building kernel modules",
        r"NVIDIA kernel module was not created",
        r"Failed to run \S*dkms (build|install) -m nvidia",
        r"Failed to install the kernel module through DKMS",
        likely(r"Missing the (module )?source directory or the symbolic link pointing to it", beside=r"nvidia"),
        likely(r"Could not locate dkms\.conf file", beside=r"nvidia"),
        hint(r"Bad return status for module build"),
        hint(r"/dkms/nvidia\S*/[\d.]+/build\S*\] \S{3,9} [12]\b"),  # make's word for an error, in any language
        hint(
            r"\bdkms (fails?|failed|cannot|can't|could not|couldn't|is unable) (to )?(build|compile)", beside=r"nvidia"
        ),
        r"failed for module\(s\) .{0,60}\bnvidia",
        r"\bBuild of nvidia\S* failed for",
        likely(r"Could not find module source directory", beside=r"nvidia"),
        r"The module/version combo: nvidia\S* is not located in the DKMS tree",
        likely(r"Install Failed \(depmod problems\)", beside=r"nvidia"),
        r"Aborting build of module nvidia|\bnvidia\S* autoinstall failed due to missing dependencies",
        r"\bnvidia\S* kernel module failed to build",
        r"Failed to register the NVIDIA kernel modules with DKMS",
        r"Failed (Xen|PREEMPT_RT|DOM0|vGPU on KVM) sanity check",
        r"NVIDIA driver does not (currently )?support (real-time|Xen) kernels",
        r"driver does not support kernels older than Linux",
        r"You do not appear to have libc header files installed",
        r"Unable to find the development tool .(?!cc|gcc)\w",
        likely(r"Unable to link kernel module", beside=r"nvidia"),
        r"/etc/kernel/\w+\.d/dkms exited with return code",
        likely(r"Some kmods were ignored or failed to build or install", beside=r"nvidia"),
        hint(r"Some kmods were ignored or failed to build or install"),
        hint(r"One or more modules failed to install during autoinstall"),
    ],
)
def module_build_failed(
    confinement: Confinement, without: KernelsWithoutModule, dkms: Dkms, packages: Packages | Unavailable
) -> Iterator[Finding]:
    """Building the NVIDIA module for this kernel failed.

    What: DKMS tried to compile the driver's module for this kernel and stopped with an error that
    is neither about the compiler nor about the kernel's interfaces, or was interrupted. Without
    the module nothing can talk to the GPU on this kernel.

    Proof: a make.log under /var/lib/dkms for this kernel, and no NVIDIA module under
    /lib/modules/KERNEL; the first error line is shown. A log without one ends where the build was
    interrupted.

    Repair: read the first error in the log, remove its cause (a full disk, a missing tool, an
    interrupted run), and build again with `dkms autoinstall`. Meanwhile boot a kernel that has
    its module.

    Reference: dkms(8).
    """
    own_driver(confinement)
    unfinished = packages.unfinished() if isinstance(packages, Packages) else ()
    stopped = any(concerns_gpu(package.name) for package in unfinished)
    for bare, source, build in failed_builds(dkms, without):
        culprit, line = culprit_of(build.errors)
        if not build.errors:
            # With the package manager that ran it: packages.half-configured tells that, and more.
            if not stopped:
                yield Finding(
                    f"DKMS was interrupted as it built the NVIDIA module {source.version} for {bare.words}: "
                    f"{bare.consequence}.",
                    bare.release,
                    (log_evidence(build, line), *bare.evidence),
                    f"Build it again: `dkms autoinstall -k {bare.release}`{bare.load}.{bare.fallback}",
                    bare.severity,
                )
        elif culprit is Culprit.UNKNOWN:
            yield Finding(
                f"DKMS could not build the NVIDIA module {source.version} for {bare.words}: {bare.consequence}.",
                bare.release,
                (log_evidence(build, line), *bare.evidence),
                f"Read the first error in {build.log}, remove its cause, and build again with `dkms build --force "
                f"{source.module}/{source.version} -k {bare.release}` and `dkms autoinstall -k {bare.release}`"
                f"{bare.load}.{bare.fallback}",
                bare.severity,
            )
