"""The NVIDIA module cannot be built, because the compiler is not the one that built the kernel."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, sure
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.dkms import Dkms
from gpudoctor.facts.system import Confinement, Kernel, OperatingSystem

from ._build_logs import NO_COMPILER, Culprit, culprit_of, log_evidence
from ._kernels import KernelsWithoutModule, KernelWithoutModule, failed_builds
from ._scope import own_driver


@check(
    "kernel.compiler-mismatch",
    severity=Severity.ERROR,
    symptoms=[
        sure(
            r"unrecognized (command.line option|argument in option) .-(ftrivial-auto-var-init|fzero-call-used-regs|"
            r"fmin-function-alignment|mharden-sls|mindirect-branch-cs-prefix|mretpoline-external-thunk|mfunction-return|mllvm|fsplit-lto-unit)"
        ),
        sure(r"cc_version_check"),
        sure(r"Compiler version check failed"),
        sure(r"Failed CC version check"),
        sure(r"does not match the compiler used here"),
        r"The kernel was built by:\s+\S*cc\D*(\d+)\b[^\n]*\s+You are using:\s+\S*cc\D*(?!\1\b)\d+",
        r"Unable to find the development tool .(cc|gcc)\b",
        hint(r"\b(gcc|cc|clang)(-\d+)?: (command )?not found", beside=r"dkms|nvidia"),
        sure(r"CC version check failed"),
        sure(r"kernel was built with .{1,150}, but the current compiler version is"),
        r"Failed CC sanity check|does not appear to be able to create (object files|executables)",
        hint(r"the compiler differs from the one used to build the kernel", beside=r"\berror\b|fail"),
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
            gone = NO_COMPILER.search(line) is not None
            why = "of this kernel is not installed" if gone else "is not the one that built this kernel"
            yield Finding(
                f"The NVIDIA module {source.version} was not built for {bare.words}, because the compiler {why}: "
                f"{bare.consequence}.",
                bare.release,
                (log_evidence(build, line), *_compilers(bare, kernel, compilers), *bare.evidence),
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
