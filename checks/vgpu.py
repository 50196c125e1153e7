"""NVIDIA vGPU: a virtual machine's share of a GPU needs a license, and drivers inside and outside that fit."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, sure
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.vgpu import INCOMPATIBLE, SETTINGS, TOKENS, VgpuGuests, VgpuLicensing, vgpus_of

from ._gpus import silent_gpus
from ._scope import own_driver


@check(
    "driver.vgpu-unlicensed",
    after=["driver.nvml-failed"],
    symptoms=[
        sure(r"nvidia-gridd(\[\d+\])?: .*(Failed to (acquire license|register client)|license not found)"),
        sure(r"Valid (GRID|vGPU|NVIDIA vGPU)? ?license not found"),
        sure(r"License Status\s*:\s*Unlicensed"),
        sure(r"<license_status>Unlicensed"),
        sure(r"CUDA_ERROR_DEVICE_NOT_LICENSED|cudaErrorDeviceNotLicensed|doesn't have (a )?valid Grid license"),
        r"License acquisition failed",
        r"nvidia-gridd(\[\d+\])?: (?!Failed to open file \S*gridd\.conf).{0,80}"
        r"(\bfail(ed|ure)\b|\berror\b|expired|not found|unlicensed|unable to|mismatch)",
        sure(r"does not currently have a valid (vGPU|GRID) license"),
    ],
)
def vgpu_unlicensed(
    nvml: Nvml, licensing: VgpuLicensing | Unavailable, confinement: Confinement
) -> Iterator[Finding | Undecided]:
    """A virtual GPU (vGPU) has no license: after a while it is slowed down, and CUDA is switched off.

    What: NVIDIA's vGPU software needs a license for each virtual machine, which the service nvidia-gridd fetches.
    Without one the vGPU works at first; about twenty minutes after the start it is slowed down, and later
    programs get no CUDA any more. GPUs that are passed through whole need none for CUDA.

    Proof: NVML names a vGPU and says that its feature is not licensed (`nvidia-smi -q`: License Status); the
    settings and the messages of nvidia-gridd say why.

    Repair: Put a client configuration token into /etc/nvidia/ClientConfigToken (or the server into gridd.conf),
    see that FeatureType fits, that the clock is right and the license server can be reached, and restart
    nvidia-gridd. It is no matter of the driver: do not reinstall it.

    Reference: NVIDIA Virtual GPU Client Licensing User Guide,
    https://docs.nvidia.com/vgpu/latest/grid-licensing-user-guide/;
    nvml.h, nvmlDeviceGetGridLicensableFeatures
    """
    numbers = vgpus_of(nvml)
    if not numbers:
        raise NotApplicable("NVML names no virtual GPU (vGPU) here")
    for gpu in nvml.gpus:
        state = gpu.values.get("license_state") if gpu.number in numbers else "licensed"
        if not isinstance(state, str):
            yield Undecided(f"NVML does not tell whether vGPU {gpu.number} is licensed")
        elif state.startswith("unlicensed"):
            yield _unlicensed(gpu, state, licensing, confinement)


def _unlicensed(gpu: NvmlGpu, state: str, licensing: VgpuLicensing | Unavailable, confinement: Confinement) -> Finding:
    product = gpu.values.get("license_product")
    evidence = [Evidence(f"NVML, GPU {gpu.number}", f"vGPU, {state}" + (f" ({product})" if product else ""))]
    evidence += list(_settings(licensing)) if isinstance(licensing, VgpuLicensing) else []
    remedy = "In the virtual machine itself: " if confinement.container else ""
    reason = _first_reason(licensing)
    remedy += reason[0].lower() + reason[1:] if remedy else reason
    return Finding(
        f"{gpu.name or f'GPU {gpu.number}'} is a virtual GPU without a license: it is slowed down, and CUDA ends.",
        gpu.pci_address,
        tuple(evidence),
        f"{remedy} Then `sudo systemctl restart nvidia-gridd`. Do not reinstall the driver.",
        # Nothing is held back in the first minutes.
        Severity.WARNING if "unrestricted" in state else None,
    )


def _settings(licensing: VgpuLicensing) -> Iterator[Evidence]:
    feature = f"FeatureType={licensing.feature_type or 'not set'}"
    named = "a server is named" if licensing.server else "no server is named"
    yield Evidence(SETTINGS, f"{feature}, {named}" if licensing.settings else "not there")
    if licensing.tokens is not None:
        yield Evidence(TOKENS, f"{len(licensing.tokens)} tokens" if licensing.tokens else "no token")
    if licensing.unit:
        yield Evidence("systemctl is-active nvidia-gridd", licensing.unit)
    for line in licensing.said[-2:]:
        yield Evidence("journalctl -u nvidia-gridd", line)


def _first_reason(licensing: VgpuLicensing | Unavailable) -> str:
    """What to look at, by what is known to be missing."""
    general = (
        f"Look into `journalctl -u nvidia-gridd`; see that {TOKENS} holds a valid token, that the clock is right "
        "(`timedatectl`), and that the license server can be reached."
    )
    if isinstance(licensing, Unavailable):
        return general
    if licensing.feature_type == "0":
        return f"Set FeatureType=1 in {SETTINGS}: 0 asks for no license at all."
    if licensing.tokens == () and not licensing.server:
        return f"Put a client configuration token of your license server into {TOKENS} (mode 0744), or name it."
    if licensing.unit in ("inactive", "failed"):
        return f"Enable the service that fetches the license: nvidia-gridd is {licensing.unit}."
    return general


@check(
    "driver.vgpu-guest-host-mismatch",
    symptoms=[
        sure(r"Incompatible Guest/Host drivers|guest driver is incompatible with (the )?host driver"),
        sure(r"Guest VGX version is (newer|older) than (the )?(maximum|minimum) version supported by the Host"),
        sure(r"Host VGX version is older than the minimum version supported by the Guest"),
        sure(r"SetGuestSystemInfo: (The host version|Minimum required host version)"),
    ],
)
def vgpu_guest_host_mismatch(
    confinement: Confinement,
    gpus: PciGpus,
    loaded: LoadedDriver,
    nvml: Nvml | Unavailable,
    log: KernelLog | Unavailable,
    guests: VgpuGuests | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The driver in a virtual machine does not fit the vGPU manager of its host.

    What: With NVIDIA vGPU two drivers work together: the manager on the host, and the guest's driver in the virtual
    machine. They must be of the same release, or the manager of a somewhat later branch. Otherwise the
    host switches the vGPU off, and nvidia-smi in the guest finds no devices.

    Proof: On the host the log of nvidia-vgpu-mgr ("Incompatible Guest/Host drivers"), in the guest that of the
    kernel ("SetGuestSystemInfo: The host version ... is too old").

    Repair: Install the guest driver of the vGPU release that the host runs, from NVIDIA's licensing portal or from
    whoever runs the host; or have the host upgraded. The distribution's driver is never the right one.

    Reference: https://docs.nvidia.com/vgpu/ (release notes, "Compatibility Requirements for the NVIDIA vGPU
    Manager and Guest VM Driver"); https://github.com/NVIDIA/open-gpu-kernel-modules (rpc.c)
    """
    own_driver(confinement)
    if isinstance(guests, Unavailable):
        yield Undecided(str(guests), matters=False)  # it would be a guest's fault, and the host is well
    elif guests.refusals:
        last = guests.refusals[-1]
        yield Finding(
            f"A virtual machine's driver does not fit this host's vGPU manager: {_reason_in(last)}",
            "nvidia-vgpu-mgr",
            (
                Evidence("journalctl -u nvidia-vgpu-mgr", f"{last} (such lines: {len(guests.refusals)})"),
                *([Evidence(loaded.source, loaded.version)] if loaded.loaded else []),
            ),
            "Install in that virtual machine the guest driver of the vGPU release that this host runs, or upgrade the "
            "manager here when no virtual machine runs.",
            Severity.WARNING,  # the host itself is well, and the guest may have been repaired since
        )
    if not loaded.loaded or not silent_gpus(gpus, nvml) or isinstance(log, Unavailable):
        return  # without the log driver.rm-init-failed tells that the cause is not known
    said = log.matching(INCOMPATIBLE, "SetGuestSystemInfo: The host version", "SetGuestSystemInfo: Minimum required")
    if said:
        yield Finding(
            f"Driver {loaded.version} in this virtual machine does not fit the vGPU manager of the host.",
            next(gpu.address for gpu in silent_gpus(gpus, nvml)),
            (*(Evidence(log.source, line) for line in said[-2:]), Evidence(loaded.source, loaded.text)),
            "Install the guest driver of the vGPU release that the host runs (whoever runs the host has it), or have "
            "the host upgraded. The distribution's driver does not serve a vGPU.",
        )


def _reason_in(line: str) -> str:
    reason = line.partition(INCOMPATIBLE)[2].lstrip(": ").partition(". ")[0].rstrip(".")
    return f"{reason}." if reason else "it was switched off."
