"""Builds of the NVIDIA module that failed: by the compiler, by a kernel newer than the driver, or by neither."""

import enum
import re
from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.dkms import Dkms, DkmsBuild
from gpudoctor.facts.package_names import concerns_gpu
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._kernels import KernelsWithoutModule, KernelWithoutModule, failed_builds
from ._scope import own_driver
from ._surroundings import OTHER_BUILD_FAULTS


class Culprit(enum.Enum):
    """What the error lines of a make.log blame."""

    COMPILER = "the compiler is not the one that the kernel was built with"
    KERNEL = "the kernel has not, or no longer, what the driver's source uses"
    UNKNOWN = "something else"


# "note: unrecognized command-line option" only accompanies other errors and is none, hence "error: " in front.
COMPILER_WORDS = (
    "error: unrecognized command-line option",
    "error: unrecognized command line option",
    "error: unknown argument",
    "Compiler version check failed",
    "Failed CC version check",
    "cc_version_check] Error",
)

KERNEL_WORDS = (
    "error: implicit declaration of function",
    "has no member named",
    "incompatible pointer type",
    "error: too few arguments to",
    "error: too many arguments to",
    "undeclared (first use",
    "has incomplete type",
    "invalid use of undefined type",
    "error: unknown type name",
    "error: conflicting types for",
    "error: assignment of read-only member",
    "integer from pointer without a cast",
    "pointer from integer without a cast",
    "fatal error: drm/",
    "fatal error: linux/",
    "conftest failed",
    "uses GPL-only symbol",
)


# As the shells of Debian and of all others say it.
_NO_COMPILER = re.compile(r"\b(?:gcc|cc|clang)(?:-\d+)?: (?:command )?not found")


def culprit_of(errors: Sequence[str]) -> tuple[Culprit, str]:
    """Whom the lines blame, and the first line that does."""
    for line in errors:
        if _NO_COMPILER.search(line):
            return Culprit.COMPILER, line.strip()
    for culprit, words in ((Culprit.COMPILER, COMPILER_WORDS), (Culprit.KERNEL, KERNEL_WORDS)):
        for line in errors:
            if any(word in line for word in words):
                return culprit, line.strip()
    # The build says so for a mere difference in name too ("gcc-12" and "cc"); only another major version matters.
    built = next((line for line in errors if "The kernel was built by:" in line), "")
    using = next((line for line in errors if "You are using:" in line), "")
    majors = [re.search(r"cc\D*(\d+)", line) for line in (built, using)]
    if len({found.group(1) for found in majors if found}) == 2:
        return Culprit.COMPILER, f"{built.strip()} {using.strip()}"
    return Culprit.UNKNOWN, errors[0].strip() if errors else "ends without an error line"


def _log_evidence(build: DkmsBuild, line: str) -> Evidence:
    return Evidence(build.log, line if len(line) <= 240 else line[:239] + "…")


@check(
    "kernel.compiler-mismatch",
    severity=Severity.ERROR,
    symptoms=[
        sure(
            r"unrecognized command.line option .-(ftrivial-auto-var-init|fzero-call-used-regs|fmin-function-alignment|"
            r"mharden-sls|mindirect-branch-cs-prefix|mretpoline-external-thunk|mllvm|fsplit-lto-unit)"
        ),
        sure(r"cc_version_check"),
        sure(r"Compiler version check failed"),
        sure(r"Failed CC version check"),
        sure(r"does not match the compiler used here"),
        r"The kernel was built by:\s+\S*cc\D*(\d+)\b[^\n]*\s+You are using:\s+\S*cc\D*(?!\1\b)\d+",
        r"Unable to find the development tool .(cc|gcc)\b",
        hint(r"\b(gcc|cc|clang)(-\d+)?: (command )?not found", beside=r"dkms|nvidia"),
        sure(r"CC version check failed"),
    ],
)
def compiler_mismatch(
    confinement: Confinement,
    kernel: Kernel,
    without: KernelsWithoutModule,
    dkms: Dkms,
    compilers: HostCompilers | Unavailable,
    system: OperatingSystem | Unavailable,
) -> Iterator[Finding]:
    """The NVIDIA module cannot be built: the compiler is not the one that built the kernel.

    What: a module has to be compiled with the compiler of its kernel. An older one does not know
    the options with which that kernel is built, and the build stops at its first file. Mostly the
    kernel was built with a newer gcc than the distribution's plain gcc, or `update-alternatives`
    was used to switch gcc to another version.

    Proof: the make.log of the failed build names an unknown option or a failed compiler check; or
    nothing was built yet, /proc/version (on a disk: the kernel's config) names a gcc version, and
    that version is not in /usr/bin.

    Repair: install the gcc version of the kernel, or switch plain gcc back, and build again. Do
    not set IGNORE_CC_MISMATCH: it silences the check, and a module of another compiler may
    corrupt memory.

    Reference: https://bugs.launchpad.net/ubuntu/+source/dkms/+bug/1991664
    """
    own_driver(confinement)
    failed = tuple(failed_builds(dkms, without))
    for bare, source, build in failed:
        culprit, line = culprit_of(build.errors)
        if culprit is Culprit.COMPILER:
            gone = _NO_COMPILER.search(line) is not None
            why = "of this kernel is not installed" if gone else "is not the one that built this kernel"
            yield Finding(
                f"The NVIDIA module {source.version} was not built for {bare.words}, because the compiler {why}: "
                f"{bare.consequence}.",
                bare.release,
                (_log_evidence(build, line), *_compilers(bare, kernel, compilers), *bare.evidence),
                _use_compiler(bare, kernel, system),
                bare.severity,
            )
    for bare in without.kernels:
        tried = any(other.release == bare.release for other, _, _ in failed)
        if tried or not dkms.sources or not (bare.installed and bare.installed.headers):
            continue
        if _lacks_compiler(bare, kernel, compilers):
            yield Finding(
                f"The NVIDIA module {dkms.sources[0].version} cannot be built for {bare.words}: the compiler of this "
                f"kernel is not installed; {bare.consequence}.",
                bare.release,
                (*_compilers(bare, kernel, compilers), *bare.evidence),
                _use_compiler(bare, kernel, system),
                bare.severity,
            )


def _lacks_compiler(bare: KernelWithoutModule, kernel: Kernel, compilers: HostCompilers | Unavailable) -> bool:
    if bare.release != kernel.release or kernel.compiler is None or kernel.compiler.name != "gcc":
        return False
    # Where plain gcc is no link to a version (Fedora), files do not tell it.
    if isinstance(compilers, Unavailable) or not compilers.versions:
        return False
    return kernel.compiler.major not in (compilers.default, *compilers.versions)


def _compilers(bare: KernelWithoutModule, kernel: Kernel, compilers: HostCompilers | Unavailable) -> Iterator[Evidence]:
    if bare.release == kernel.release and kernel.compiler:
        yield Evidence("/proc/version" if kernel.running else f"/boot/config-{kernel.release}", kernel.compiler.text)
    if isinstance(compilers, HostCompilers) and compilers.versions:
        default = f"; plain gcc is {compilers.default}" if compilers.default else ""
        yield Evidence("/usr/bin", ", ".join(f"gcc-{major}" for major in compilers.versions) + default)


def _use_compiler(bare: KernelWithoutModule, kernel: Kernel, system: OperatingSystem | Unavailable) -> str:
    known = bare.release == kernel.release and kernel.compiler
    name = f"{known.name}-{known.major}" if known else "the gcc version that this kernel was built with"
    if known and isinstance(system, OperatingSystem) and system.family == "debian":
        name += f" (`apt install {name}`)"
    return (
        f"Install {name}, or switch plain gcc back to it if `update-alternatives --display gcc` shows another one; "
        f"then run `dkms autoinstall -k {bare.release}`{bare.load}.{bare.fallback}"
    )


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
        r"modpost: \"\w+\" \[\S*nvidia\S*\] undefined",
        r"BUILD_EXCLUSIVE directive which does not match this kernel",
        likely(r"Bad return status for module build on kernel", without=OTHER_BUILD_FAULTS),
        likely(r"\(bad exit status: \d+\)", beside=r"nvidia", without=OTHER_BUILD_FAULTS),
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
                (_log_evidence(build, line), *bare.evidence),
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
        hint(r"Bad return status for module build on kernel"),
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
                    (_log_evidence(build, line), *bare.evidence),
                    f"Build it again: `dkms autoinstall -k {bare.release}`{bare.load}.{bare.fallback}",
                    bare.severity,
                )
        elif culprit is Culprit.UNKNOWN:
            yield Finding(
                f"DKMS could not build the NVIDIA module {source.version} for {bare.words}: {bare.consequence}.",
                bare.release,
                (_log_evidence(build, line), *bare.evidence),
                f"Read the first error in {build.log}, remove its cause, and build again with `dkms build --force "
                f"{source.module}/{source.version} -k {bare.release}` and `dkms autoinstall -k {bare.release}`"
                f"{bare.load}.{bare.fallback}",
                bare.severity,
            )
