"""What NVML and libcuda answer: the failures that remain when no check of files has found the cause."""

from collections.abc import Iterator, Sequence

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.system import Confinement, OperatingSystem

from ._causes import WHY_NVML_FAILS
from ._gpus import named, nvml_by_address, own_gpus
from ._return_codes import GPU_IS_LOST, LIBRARY_NOT_FOUND, RESET_REQUIRED, SEE_LOG, cuda_meaning, nvml_meaning
from ._scope import NO_CUDA_ON_VGPU_HOST, driver_for_programs_here, nothing_in_snaps

_IN_CONTAINER = (
    "Restart the container, with its GPU asked for (`docker run --gpus all`, or better the CDI device "
    "nvidia.com/gpu=all); if that does not help, run gpudoctor on the host."
)


@check(
    "driver.nvml-failed",
    after=WHY_NVML_FAILS,
    symptoms=[
        hint(r"Failed to initialize NVML: (Unknown Error|Timeout|GPU requires reset)"),
        hint(r"\bnvmlInit\w*(\(\))? (returns|returned|fails|failed)\b.{0,20}(999|Unknown)"),
        hint(r"GPU access blocked by the operating system"),
        hint(r"NVMLError_(Unknown|OperatingSystem|Timeout|IrqIssue|InsufficientPower)"),
        hint(r"nvml vram init failure"),
    ],
)
def nvml_failed(
    nvml: Nvml, gpus: PciGpus | Unavailable, confinement: Confinement, system: OperatingSystem
) -> Iterator[Finding]:
    """NVML, the library behind nvidia-smi, cannot start, and no other check has found why.

    What: NVML is NVIDIA's management library: nvidia-smi, monitoring and schedulers ask the driver
    through it. When it cannot start, its return code is the best description of what is left. In a
    container that worked before, "Unknown Error" mostly means that systemd on the host has rewritten
    the container's device rules and left the GPU out.

    Proof: The return code of nvmlInit, called in a child process.

    Repair: It depends on the code, and is said with the finding. For a container: restart it, and give it
    the GPU as a CDI device, which survives `systemctl daemon-reload` on the host.

    Reference: nvml.h, nvmlReturn_t, https://docs.nvidia.com/deploy/nvml-api/;
    https://github.com/NVIDIA/nvidia-container-toolkit/issues/251 (containers that lose their GPU)
    """
    if nvml.return_code in (0, RESET_REQUIRED):  # of a GPU that must be reset gpu.reset-required tells
        return
    if nvml.return_code == LIBRARY_NOT_FOUND:
        driver_for_programs_here(confinement)
        nothing_in_snaps(system)
    # No GPU for this system: pci.no-gpu tells it, or all are kept for virtual machines.
    if isinstance(gpus, PciGpus) and not own_gpus(gpus) and not confinement.wsl:
        return
    words, remedy = nvml_meaning(nvml.return_code)
    if confinement.wsl:
        remedy = "Update the NVIDIA driver of Windows, then `wsl --shutdown`; install no Linux driver in WSL."
    elif confinement.container:
        remedy = _IN_CONTAINER
    yield Finding(
        f"NVML cannot start: {words} ({nvml.return_name or 'return code'} {nvml.return_code}).",
        nvml.library_path,
        (
            Evidence("nvmlInit", f"{nvml.return_code} {nvml.return_name}: {nvml.message}"),
            *([Evidence("library", nvml.library_path)] if nvml.library_path else []),
            *(Evidence(f"/sys/bus/pci/devices/{gpu.address}", _held(gpu)) for gpu in _first(gpus)),
        ),
        remedy,
    )


@check(
    "driver.cuda-init-failed",
    after=(
        "driver.nvml-failed",
        *WHY_NVML_FAILS,
        "devices.uvm-node-missing",
        "kernel.uvm-not-loaded",
        "kernel.uvm-hmm",
        "kernel.uvm-wedged",
        "fabric.manager-not-ready",
        "fabric.nvlink5-modules-missing",
        "driver.vgpu-unlicensed",
        "gpu.reset-required",
        "gpu.mig-no-instances",
        "gpu.mps-stale",
    ),
    symptoms=[
        hint(r"no CUDA-capable device is detected"),
        hint(r"No CUDA GPUs are available"),
        hint(r"Error 803: system has unsupported display driver"),
        hint(r"Error 804: forward compatibility was attempted on non supported HW"),
        hint(r"failed call to cuInit"),
        hint(r"cuda driver library init failure"),
        hint(r"failed to initialize CUDA: \(null\)|no compatible GPUs were discovered|Must have at least one device"),
        hint(r"No CUDA runtime is found, using CUDA_HOME="),
        hint(r"CUDA error: initialization error", without=r"fork|multiprocessing|DataLoader"),
        hint(r"CUDA_ERROR_(NO_DEVICE|STUB_LIBRARY|SYSTEM_DRIVER_MISMATCH|COMPAT_NOT_SUPPORTED_ON_DEVICE|UNKNOWN)"),
        hint(r"all CUDA-capable devices are busy or unavailable"),
    ],
)
def cuda_init_failed(
    cuda: Cuda,
    gpus: PciGpus | Unavailable,
    loaded: LoadedDriver | Unavailable,
    modules: LoadedModules | Unavailable,
    confinement: Confinement,
    system: OperatingSystem,
) -> Iterator[Finding]:
    """CUDA cannot start, and no other check has found why.

    What: cuInit is the first call of every CUDA program. While it fails, frameworks say that there is
    no GPU and compute on the processor, or stop.

    Proof: The return code of cuInit, called in a child process, and the file that libcuda.so.1 leads to.

    Repair: It depends on the code, and is said with the finding: often a variable (CUDA_VISIBLE_DEVICES,
    LD_LIBRARY_PATH), a service (nvidia-fabricmanager) or the module nvidia_uvm; seldom the driver.

    Reference: CUDA Driver API, CUresult, https://docs.nvidia.com/cuda/cuda-driver-api/;
    https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html (803, 804)
    """
    if cuda.return_code == 0:
        return
    if cuda.return_code is None:
        driver_for_programs_here(confinement)
        if isinstance(modules, LoadedModules) and modules.of_vgpu_host:
            raise NotApplicable(NO_CUDA_ON_VGPU_HOST)
        nothing_in_snaps(system)
    tegra = isinstance(modules, LoadedModules) and modules.of_tegra
    # A container of a Jetson that was given no GPU has no library either.
    elsewhere = confinement.wsl or (tegra and (cuda.return_code is not None or not confinement.container))
    if isinstance(gpus, PciGpus) and not own_gpus(gpus) and not elsewhere:
        return
    evidence = [Evidence("cuInit", f"{cuda.return_code} {cuda.return_name}: {cuda.message}")]
    if cuda.return_code is None:
        evidence = [Evidence("loading libcuda.so.1", cuda.error)]
        summary = f"CUDA cannot start: libcuda.so.1 cannot be loaded ({cuda.error})."
        remedy = "Install the package that brings libcuda.so.1, at the version of the loaded driver."
    else:
        words, remedy = cuda_meaning(cuda.return_code)
        summary = f"CUDA cannot start: {words} ({cuda.return_name or 'return code'} {cuda.return_code})."
    if tegra:
        remedy = (
            "See that this user is in the groups video and render, that the packages nvidia-l4t-* (nvidia-l4t-cuda "
            "brings libcuda) are all of one release, and what `sudo dmesg | grep -iE 'nvgpu|nvmap'` says."
        )
    if cuda.library_path:
        evidence.append(Evidence("library", cuda.library_path))
    if isinstance(loaded, LoadedDriver) and loaded.loaded:
        evidence.append(Evidence(loaded.source, loaded.version))
    # These two come from the libraries in the image; the others mostly from what the container was not given.
    if confinement.container and cuda.return_code not in (803, 804):
        remedy = _IN_CONTAINER
    yield Finding(summary, cuda.library_path, tuple(evidence), remedy)


# A GPU that cannot tell these is of no use to a program.
_ESSENTIAL = frozenset(("name", "uuid", "pci_address", "compute_capability", "memory_total_bytes"))
_FEW = 2  # a sensor may fail alone; a GPU that fails at more is sick


@check(
    "driver.gpu-missing-in-nvml",
    after=(
        "driver.nvml-failed",
        "gpu.reset-required",
        "health.fallen-off-bus",
        "health.gsp-timeout",
        "health.ecc-uncorrectable",
        "health.nvlink-error",
        "health.other-xid",
        "driver.rm-init-failed",
        "driver.open-module-required",
        "driver.open-module-unsupported",
        "driver.gpu-needs-legacy-branch",
        "driver.gpu-newer-than-driver",
        "driver.gsp-firmware-missing",
        "pci.bar-unassigned",
        "devices.nodes-missing",
        "devices.permission-denied",
        "kernel.nouveau-bound",
        "kernel.other-driver-bound",
    ),
    symptoms=[
        r"Unable to determine the device handle for GPU ?\S+: (?!GPU is lost|Unknown Error)",
        r"\[Unknown Error\]",
        r"number of devices NVML returns is different than the number of devices in /dev",
        r"(?<!CUDA Version: )\bERR!",
        hint(r"device marked unhealthy|marking device as unhealthy|Marking device \S+ as unhealthy"),
        hint(r"cannot allocate unhealthy devices nvidia\.com/"),
        hint(r"gres/gpu.{0,40} lower than configured \([1-9]\d* <"),
    ],
)
def gpu_missing_in_nvml(
    nvml: Nvml, gpus: PciGpus | Unavailable, confinement: Confinement, expected: ExpectedGpus
) -> Iterator[Finding]:
    """A GPU does not answer the NVIDIA driver, or answers with errors, while others may be fine.

    What: The driver has taken the GPU, but NVML does not list it, or gives errors where the GPU's
    values should be. nvidia-smi shows them as ERR! or [Unknown Error] and still ends with success.
    A value that a GPU does not have is shown as [N/A]; that is no sickness. Or no driver has the GPU at
    all: the driver could not start it and let it go, or somebody took it away (`nvidia-smi drain`).

    Proof: /sys/bus/pci/devices against NVML's list, and NVML's return codes for each GPU and value.

    Repair: Read the kernel's log for NVRM and Xid lines of that GPU. Stop what uses it and reset it
    (`nvidia-smi -i N -r`); if that fails, reboot, then power off and on. Do not reinstall the driver:
    it serves the other GPUs.

    Reference: nvml.h, nvmlReturn_t, https://docs.nvidia.com/deploy/nvml-api/;
    https://docs.nvidia.com/deploy/xid-errors/
    """
    if nvml.return_code != 0:
        return  # driver.nvml-failed tells it
    bus = gpus if isinstance(gpus, PciGpus) else PciGpus(())
    answers = nvml_by_address(bus, nvml)
    addresses = {id(answer): address for address, answer in answers.items()}
    labels = {gpu.address: named(gpu) for gpu in bus.gpus}
    sick: list[Finding] = []
    for answer in nvml.gpus:
        address = addresses.get(id(answer), "")
        label = labels.get(address) or " ".join(
            ["GPU", address or str(answer.number), *([answer.name] if answer.name else [])]
        )
        sick += _sick(answer, address, label, confinement)
    yield from sick
    # A container, like a job of a batch system, is given some of the GPUs on purpose.
    if confinement.container or not nvml.complete:
        return
    if isinstance(gpus, Unavailable):
        if not sick:
            raise gpus
        return
    enough = expected.number is not None and sum(gpu.return_code == 0 for gpu in nvml.gpus) == expected.number
    for gpu in bus.gpus:
        if gpu.address in answers or _nameless(nvml):
            continue
        evidence = (
            Evidence(f"/sys/bus/pci/devices/{gpu.address}", _held(gpu)),
            Evidence("NVML", f"{len(nvml.gpus)} listed: {', '.join(sorted(answers)) or 'none'}"),
        )
        if gpu.driver == "nvidia":
            yield Finding(
                f"{named(gpu)} is held by the NVIDIA driver, but NVML does not list it.",
                gpu.address,
                evidence,
                f"{SEE_LOG} (look for {gpu.address}).",
            )
        elif not gpu.driver and answers:
            yield Finding(
                f"{named(gpu)} has no driver, while the NVIDIA driver serves others here.",
                gpu.address,
                evidence,
                f"Mostly the driver could not start it. {SEE_LOG} (look for {gpu.address}). If it was taken away on "
                f"purpose, `gpudoctor check --expect-gpus {len(answers)}` says so.",
                Severity.INFO if enough else None,
            )


def _sick(answer: NvmlGpu, address: str, label: str, confinement: Confinement) -> Iterator[Finding]:
    reset = f"Stop what uses it, then `sudo nvidia-smi -i {answer.number} -r`; if that fails, reboot the machine."
    if confinement.container:
        reset = f"On the host: {reset[0].lower()}{reset[1:]}"
    if answer.return_code == GPU_IS_LOST:
        return  # health.fallen-off-bus tells it
    if answer.return_code:
        meaning = nvml_meaning(answer.return_code).words
        yield Finding(
            f"{label} does not answer: {meaning} ({answer.return_name} {answer.return_code}).",
            address or f"GPU {answer.number}",
            (Evidence(f"NVML, GPU {answer.number}", f"{answer.return_code} {answer.return_name}"),),
            f"{SEE_LOG}. {reset}",
        )
    elif answer.field_errors:
        fields = ", ".join(sorted(answer.field_errors))
        harmless = len(answer.field_errors) <= _FEW and not _ESSENTIAL & set(answer.field_errors)
        yield Finding(
            f"{label} gives errors in place of values: {fields}.",
            address or f"GPU {answer.number}",
            tuple(
                Evidence(f"NVML, GPU {answer.number}, {field}", name or "an error without a name")
                for field, name in sorted(answer.field_errors.items())[:5]
            ),
            f"{SEE_LOG}. {reset}",
            Severity.WARNING if harmless else None,
        )


def _nameless(nvml: Nvml) -> bool:
    """Does NVML list GPUs that it cannot name? They are told one by one, and are among those not found."""
    return any(not gpu.pci_address for gpu in nvml.gpus)


def _held(gpu: PciGpu) -> str:
    return f"{gpu.label}, driver: {gpu.driver or 'none'}"


def _first(gpus: PciGpus | Unavailable) -> Sequence[PciGpu]:
    return own_gpus(gpus)[:3] if isinstance(gpus, PciGpus) else ()
