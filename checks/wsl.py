"""WSL: the driver is the one of Windows. Does Windows hand it in, and does a Linux driver stand in its way?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.packages import Package, Packages
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.wsl import LIBRARIES, STORE, WslHost

from ._gpus import gpu_works
from ._surroundings import LINUX_DRIVER_IN_WSL, SMI_TABLE, WSL

_OF_WINDOWS = "/usr/lib/wsl/"
_UPDATE = (
    "On Windows: install the newest NVIDIA driver for this GPU, run `wsl --update` and then `wsl --shutdown`. Install "
    "no Linux driver in WSL."
)


@check(
    "wsl.linux-driver-installed",
    symptoms=[
        likely(r"GPU access blocked by the operating system", beside=LINUX_DRIVER_IN_WSL),
        likely(r"no CUDA-capable device is detected|No CUDA GPUs are available|CUDA_ERROR_NO_DEVICE", beside=WSL),
        likely(r"could(n't| not) communicate with the NVIDIA driver|Driver/library version mismatch", beside=WSL),
        likely(
            r"install\w* .{0,20}nvidia[- ](linux[- ])?driver\S* (in|inside|into|within) (my |the )?(WSL|Ubuntu)",
            beside=WSL,
        ),
        hint(r"GPU access blocked by the operating system"),
        likely(r"libcuda\.so\.1 is not a symbolic link", beside=LINUX_DRIVER_IN_WSL),
        hint(r"/usr/lib/wsl/lib/libcuda\.so\.1 is not a symbolic link", beside=r"CUDA_ERROR|No CUDA|Segmentation"),
    ],
)
def linux_driver_installed(
    confinement: Confinement,
    libraries: DriverLibraries,
    packages: Packages | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """A Linux driver is installed in WSL, where the driver of Windows is the only one that can work.

    What: In WSL the GPU is reached through the driver of Windows, and Windows hands in the libraries that fit it
    (/usr/lib/wsl/lib). A driver for Linux brings libcuda and nvidia-smi of another version, which know
    nothing of that way. Where the loader finds them first, CUDA does not start or crashes. They mostly
    come along with `cuda`, `cuda-drivers`, `nvidia-cuda-toolkit` or a .run file.

    Proof: The first libcuda.so.1 of the loader is not one of Windows, or packages of a Linux driver are
    installed, and the kernel's name shows WSL.

    Repair: Remove the packages of the Linux driver, and nothing else of CUDA; then `ldconfig`, and
    `wsl --shutdown` on Windows. Install the toolkit as `cuda-toolkit-X-Y`, which brings no driver.

    Reference: https://docs.nvidia.com/cuda/wsl-user-guide/;
    https://github.com/microsoft/WSL/issues/9099 and 40680
    """
    _in_wsl(confinement)
    shadow = _in_the_way(libraries)
    if isinstance(packages, Unavailable) and not shadow:
        raise packages
    members = driver_packages(packages) if isinstance(packages, Packages) else ()
    foreign = [member.package for member in members]
    if not shadow and not foreign:
        return
    evidence = [Evidence("packages", _listing(foreign))] if foreign else []
    if shadow:
        evidence.append(Evidence(f"the loader's {shadow.soname}", f"{shadow.real_path} (from {shadow.source})"))
    evidence += _answers(nvml, cuda)
    what = f"{shadow.real_path} stands before the library of Windows" if shadow else f"{len(foreign)} of its packages"
    remedy = "Remove these packages and nothing else, then run `ldconfig`, and `wsl --shutdown` on Windows."
    if not foreign:
        remedy = (
            "No package brought it: `sudo nvidia-uninstall` if a .run file did, otherwise move the copied file away; "
            "then run `ldconfig`, and `wsl --shutdown` on Windows."
        )
    yield Finding(
        f"A Linux driver is installed in WSL, which works only with the driver of Windows: {what}.",
        shadow.path if shadow else foreign[0].name,
        tuple(evidence),
        f"{remedy} For the toolkit install cuda-toolkit-X-Y, never cuda, cuda-drivers or nvidia-driver-*.",
        # What was seen to work is only going to break: with the next update, or for programs that look elsewhere.
        Severity.WARNING if gpu_works(nvml, cuda) or not (shadow or _fails(nvml, cuda)) else Severity.ERROR,
    )


def _in_wsl(confinement: Confinement) -> None:
    if not confinement.wsl:
        raise NotApplicable("this is not WSL")
    if confinement.container:
        raise NotApplicable(f"{confinement.container} container: ask in the WSL distribution itself")


def _in_the_way(libraries: DriverLibraries) -> DriverLibrary | None:
    """The first of libcuda and libnvidia-ml that the loader takes from elsewhere than from Windows."""
    first = [libraries.get(soname) for soname in ("libcuda.so.1", "libnvidia-ml.so.1")]
    return next((library for library in first if library and not _is_of_windows(library)), None)


def _is_of_windows(library: DriverLibrary) -> bool:
    """A link to it counts: people make one for programs that look in the usual folder."""
    forward_compatibility = "/compat/" in library.real_path  # of a toolkit: cuda.forward-compat-* speak of it
    return library.real_path.startswith(_OF_WINDOWS) or forward_compatibility


def _listing(packages: list[Package]) -> str:
    named = [f"{package.name} {package.version}" for package in packages]
    return ", ".join(named[:6]) + (f" and {len(named) - 6} more" if len(named) > 6 else "")


def _answers(nvml: Nvml | Unavailable, cuda: Cuda | Unavailable) -> Iterator[Evidence]:
    for name, answer in (("cuInit", cuda), ("nvmlInit", nvml)):
        if isinstance(answer, Unavailable):
            yield Evidence(name, str(answer))
        else:
            yield Evidence(name, f"{answer.return_code} {answer.return_name} {answer.library_path}".strip())


def _fails(nvml: Nvml | Unavailable, cuda: Cuda | Unavailable) -> bool:
    """Has one of the two libraries been seen to fail? No answer counts: here they crash."""
    return not (isinstance(nvml, Nvml) and nvml.return_code == 0) or not (
        isinstance(cuda, Cuda) and cuda.return_code == 0
    )


@check(
    "wsl.host-too-old",
    after=["wsl.linux-driver-installed"],
    symptoms=[
        likely(r"GPU access blocked by the operating system", without=LINUX_DRIVER_IN_WSL),
        likely(r"Failed to properly shut down NVML: Driver Not Loaded"),
        # Of drivers 551 to 560 for Windows.
        likely(r"\bnvidia-smi\b.{0,80}segmentation fault|segmentation fault\W+(core dumped\W+)?nvidia-smi", beside=WSL),
        sure(r"nvidia-container-cli: .{0,80}WSL environment detected but no adapters were found"),
        sure(r"WSL2? .{0,60}requires an update to its kernel component"),
        likely(r"dxgk: dxgkio_\w+: Ioctl failed: -(?!22?(?!\d))\d", without=SMI_TABLE),
        likely(r"\bno /dev/dxg\b|/dev/dxg\b.{0,20}(No such file|missing|not found|n't exist|not exist)"),
        hint(r"dxgkio_query_adapter_info: Ioctl failed: -2\b(?!2)", without=SMI_TABLE),
        hint(r"libcuda\.so(\.1)?: cannot open shared object file|nvidia-smi: command not found", beside=WSL),
        r"at WSL driver store paths|failed to find NVIDIA driver store path",
    ],
)
def host_too_old(
    confinement: Confinement,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
    windows: WslHost | Unavailable,
    log: KernelLog | Unavailable,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """Windows hands no usable NVIDIA driver into WSL: its driver, or WSL itself, is too old or not switched on.

    What: Windows shows its GPU to WSL 2 as /dev/dxg, and mounts the libraries of its driver at
    /usr/lib/wsl/lib. A driver from before 2021 has no such libraries, WSL 1 has no GPU at all, and an old
    kernel of WSL does not speak the language of a new driver.

    Proof: The kernel is that of WSL 1, or /dev/dxg or libcuda is missing although Windows has an NVIDIA driver;
    or CUDA does not start, and the kernel's log has "dxgkio_query_adapter_info: Ioctl failed: -2". The
    same lines on a machine whose CUDA starts, and those with -22 alone, are noise.

    Repair: On Windows install the newest NVIDIA driver, run `wsl --update`, then `wsl --shutdown`. A
    distribution under WSL 1 is converted with `wsl --set-version NAME 2`. Install nothing in WSL.

    Reference: https://docs.nvidia.com/cuda/wsl-user-guide/;
    https://github.com/microsoft/WSL/issues/9099, 11293 and 40715
    """
    _in_wsl(confinement)
    if gpu_works(nvml, cuda) or expected.number == 0:
        return
    if isinstance(windows, Unavailable):
        raise windows
    wanted = windows.has_cuda or bool(windows.store) or bool(expected.number)
    kernel = Evidence("/proc/sys/kernel/osrelease", windows.release)
    if windows.generation == 1:
        if not expected.number:
            raise NotApplicable("WSL 1 has no GPU; WSL 2 has")
        yield Finding(
            "This distribution runs under WSL 1, which has no GPU.",
            windows.release,
            (kernel,),
            "On Windows: `wsl --list --verbose` names it, `wsl --set-version NAME 2` converts it.",
        )
        return
    if not wanted:
        raise NotApplicable("Windows hands no NVIDIA driver into WSL, and no GPU was asked for")
    if not windows.device:
        yield Finding(
            "WSL does not see the GPU: /dev/dxg is missing.",
            "/dev/dxg",
            (Evidence("/dev/dxg", "not there"), kernel),
            f"{_UPDATE} If it stays missing, look for gpuSupport=false in .wslconfig.",
        )
    elif not windows.has_cuda:
        drivers = ", ".join(windows.store[:2]) or "no NVIDIA driver"
        yield Finding(
            "The NVIDIA driver of Windows hands no libcuda into WSL.",
            LIBRARIES,
            (Evidence(LIBRARIES, ", ".join(windows.libraries[:6]) or "empty"), Evidence(STORE, drivers), kernel),
            _UPDATE,
        )
    elif isinstance(log, KernelLog):
        refused = [line for line in log.lines if _is_refusal(line)]
        if refused and _fails(nvml, cuda):
            lines = Evidence(log.source, f"{refused[-1]} (such lines: {len(refused)})")
            yield Finding(
                "Windows refuses what the GPU's libraries ask of it from within WSL, and CUDA does not start.",
                "/dev/dxg",
                (lines, *_answers(nvml, cuda), kernel),
                _UPDATE,
            )


def _is_refusal(line: str) -> bool:
    """-2: what was asked for is not there. -22 comes on healthy machines: a newer question than Windows knows."""
    return "dxgk" in line and "Ioctl failed: -" in line and line.rpartition("-")[2].strip() not in ("22", "")
