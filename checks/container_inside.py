"""Seen from inside a container: was it given a GPU, with the libraries it takes, and may it still use it?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.container_words import of_images, set_variable, start_with_gpu
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.container import ContainerMounts, NodeRefusals
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.expected import ExpectedGpus
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement

from ._container import (
    CAPABILITIES,
    VISIBLE,
    as_set,
    gpu_nodes,
    has_libcuda,
    has_nvml,
    hides_gpus,
    host_has_driver,
    in_dev,
    inside,
    variable,
    works,
)
from ._surroundings import CONTAINER, GPU_ASKED, LATER, NO_GPU, RESTART_HELPS, STARTED


@check(
    "container.no-gpu-requested",
    symptoms=[
        sure(r"WARNING: The NVIDIA Driver was not detected\."),
        sure(r"Use the NVIDIA Container Toolkit to start this container with GPU support"),
        sure(r"Use 'nvidia-docker run' to start this container"),
        likely(NO_GPU, beside=STARTED, without=rf"{GPU_ASKED}|NVIDIA_VISIBLE_DEVICES|CUDA_VISIBLE_DEVICES"),
        likely(
            r"\b(forg[eo]t|without|missing|omitted) (the |to (pass|add|give) )?`?--gpus\b",
            beside=rf"{CONTAINER}|{NO_GPU}",
        ),
        hint(NO_GPU, beside=CONTAINER),
    ],
)
def no_gpu_requested(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    nodes: DeviceNodes | Unavailable,
    environment: Environment | Unavailable,
    libraries: DriverLibraries | Unavailable,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
    expected: ExpectedGpus,
) -> Iterator[Finding]:
    """The host has a GPU and a running driver, but this container was started without asking for a GPU.

    What: A container sees the host's devices and driver libraries only if it asks for them when it is started.
    The image alone does not do it, nor does a driver installed in the image. --privileged shows the devices,
    but not the libraries.

    Proof: The host's driver is loaded, and /dev has no /dev/nvidia0; or it has, and neither libcuda nor
    libnvidia-ml is anywhere to be found.

    Repair: On the host, start the container anew with its GPU: docker run --gpus all, podman run --device
    nvidia.com/gpu=all, in Kubernetes a limit on nvidia.com/gpu, apptainer exec --nv. Install nothing in it.

    Reference: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
    """
    inside(confinement)
    if isinstance(nodes, Unavailable):
        raise nodes
    if expected.number == 0 or not host_has_driver(loaded) or works(nvml, cuda):
        return
    given, asked = gpu_nodes(nodes), variable(environment, VISIBLE)
    if given:
        # Privileged containers, and all of apptainer's, see the devices without having asked.
        if isinstance(libraries, Unavailable) or not of_images(confinement.container):
            return
        if isinstance(nvml, Unavailable) or has_libcuda(libraries, cuda) or has_nvml(libraries, nvml):
            return
        summary = (
            f"This {confinement.container} container sees the host's GPU devices, but got none of the driver's "
            "libraries: it was started without asking for a GPU."
        )
    elif hides_gpus(asked) and of_images(confinement.container):
        return  # container.visible-devices-void tells it
    else:
        summary = (
            f"This {confinement.container} container was started without a GPU, while the host's driver runs and has "
            "its own."
        )
    assert isinstance(loaded, LoadedDriver)
    yield Finding(
        summary,
        "" if given else "/dev/nvidia0",
        (
            in_dev(nodes.nodes),
            Evidence(loaded.source, loaded.version),
            *([as_set(VISIBLE, asked)] if isinstance(environment, Environment) else []),
            *([Evidence("ld.so.cache, default folders", "no libcuda.so.1, no libnvidia-ml.so.1")] if given else []),
        ),
        f"On the host, start the container with its GPU: {start_with_gpu(confinement.container)}.",
    )


@check(
    "container.visible-devices-void",
    symptoms=[
        sure(r"NVIDIA_VISIBLE_DEVICES ?[=:] ?['\"]?(void|none)\b", beside=NO_GPU),
        r"nvidia-container-cli: device error: \S+ unknown device",
        hint(r"Found no NVIDIA driver on your system", beside=r"NVIDIA_VISIBLE_DEVICES"),
        r"nvidia-container-cli: device error: .{0,20}unknown device",
        r"Ignoring (devices requested|request) by environment variable\(s\) in unprivileged container",
        r"NVIDIA_VISIBLE_DEVICES must be set or no GPUs will be available",
    ],
)
def visible_devices_void(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    nodes: DeviceNodes | Unavailable,
    environment: Environment | Unavailable,
    expected: ExpectedGpus,
) -> Iterator[Finding | Undecided]:
    """NVIDIA_VISIBLE_DEVICES asks for no GPU, and so this container got none.

    What: NVIDIA's container runtime reads this variable. "all", numbers or UUIDs ask for GPUs; "none" for the
    driver's libraries alone; "void" and an empty value for nothing at all. CDI sets it to void as well, beside
    the GPUs that it hands in: then there is nothing wrong with it.

    Proof: The variable in this process, and no /dev/nvidia0 while the host's driver is loaded.

    Repair: On the host, start the container anew with NVIDIA_VISIBLE_DEVICES=all (or some GPUs) and NVIDIA's
    runtime, or with --gpus. Setting the variable inside changes nothing. In Kubernetes ask for nvidia.com/gpu.

    Reference: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
    """
    inside(confinement)
    if isinstance(nodes, Unavailable):
        raise nodes
    if expected.number == 0 or not host_has_driver(loaded) or gpu_nodes(nodes):
        return
    if isinstance(environment, Unavailable) or environment.unknown:
        yield Undecided("the variables of this process could not be read", matters=False)
        return
    value = variable(environment, VISIBLE)
    if not hides_gpus(value) or not of_images(confinement.container):
        return
    assert isinstance(loaded, LoadedDriver)
    yield Finding(
        f"{VISIBLE} is {value!r}, which asks for no GPU: this {confinement.container} container got none.",
        VISIBLE,
        (as_set(VISIBLE, value), in_dev(nodes.nodes), Evidence(loaded.source, loaded.version)),
        f"On the host, start the container with its GPU: {start_with_gpu(confinement.container)}; and take "
        f"{VISIBLE}={value} out of what starts it. To set it in the running container changes nothing.",
    )


@check(
    "container.driver-capabilities",
    after=["container.no-gpu-requested"],
    symptoms=[
        r"NVIDIA_DRIVER_CAPABILITIES=(?!\S*(?:compute|all))\w[\w,]*",
        sure(r"unsupported capabilities found in '"),
        sure(NO_GPU, beside=r"CUDA Version: N/A"),
        likely(r"CUDA Version: N/A", beside=CONTAINER),
        likely(
            r"Found no NVIDIA driver on your system|libcuda\.so(\.1)?: cannot open shared object file",
            beside=r"nvidia-smi\W{1,20}(works|fine|is fine|runs|shows|OK)\b|--runtime[= ]nvidia",
        ),
        sure(r"Cannot load lib(nvidia-encode|nvcuvid)\.so", beside=CONTAINER),
        sure(r"lib(nvidia-encode|nvcuvid)\.so\.1: cannot open", beside=CONTAINER),
        r"(unsupported|unknown NVIDIA) driver capability",
    ],
)
def driver_capabilities(
    confinement: Confinement,
    nodes: DeviceNodes | Unavailable,
    environment: Environment | Unavailable,
    libraries: DriverLibraries,
    mounts: ContainerMounts,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding]:
    """The container got its GPU, but not the driver libraries for computing, because they were not asked for.

    What: NVIDIA_DRIVER_CAPABILITIES names the parts of the driver that are handed into a container: "compute"
    brings libcuda, "utility" nvidia-smi and NVML. With "utility" alone (old toolkits take that where the
    variable is not set) nvidia-smi works, and no program computes.

    Proof: /dev/nvidia0 is there, libcuda.so.1 is not, and the variable does not name compute; or libnvidia-ml was
    mounted from the host, and libcuda was not.

    Repair: On the host, start the container anew with NVIDIA_DRIVER_CAPABILITIES=compute,utility. Install no
    libcuda in the image: it would have to be of the host's version, always.

    Reference: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
    """
    inside(confinement)
    if isinstance(nodes, Unavailable):
        raise nodes
    if not gpu_nodes(nodes):
        return
    value = variable(environment, CAPABILITIES)
    named = {word.strip() for word in (value or "").split(",")}
    libcuda, utility = has_libcuda(libraries, cuda), has_nvml(libraries, nvml)
    if libcuda and utility:
        return
    if not libcuda and not {"compute", "all"} & named and (value or _only_utility(mounts)):
        summary = "This container got the GPU without libcuda, so that no program computes on it: "
        missing, severity = "compute", None
    elif libcuda and value and not {"utility", "all"} & named:
        summary = "This container got the GPU without NVML, so that nvidia-smi and monitoring do not work: "
        missing, severity = "utility", Severity.WARNING
    else:
        return  # driver.library-missing tells it
    how = f"{CAPABILITIES} is {value!r}" if value else f"{CAPABILITIES} is not set, which old toolkits take for utility"
    yield Finding(
        f"{summary}{how}.",
        CAPABILITIES,
        (
            as_set(CAPABILITIES, value),
            in_dev(nodes.nodes),
            *(Evidence("/proc/self/mountinfo", f"mounted: {path}") for path in mounts.driver_files[:2]),
            Evidence("ld.so.cache, default folders", f"no {'libnvidia-ml.so.1' if libcuda else 'libcuda.so.1'}"),
        ),
        f"On the host, start the container anew with {missing}: "
        f"{set_variable(confinement.container, f'{CAPABILITIES}=compute,utility')}.",
        severity,
    )


def _only_utility(mounts: ContainerMounts) -> bool:
    """Was NVML handed in from the host, and libcuda not?"""
    names = {path.rpartition("/")[2].partition(".so")[0] for path in mounts.driver_files}
    return mounts.told and "libnvidia-ml" in names and "libcuda" not in names


_UNKNOWN, _OPERATING_SYSTEM = 999, 17  # of nvmlReturn_t


@check(
    "container.cgroup-access-lost",
    after=["container.no-gpu-requested"],
    symptoms=[
        likely(r"Failed to initialize NVML: Unknown Error", without=r"no-cgroups ?= ?true"),
        r"open(?:ing)? \"?/dev/nvidia(?:ctl|\d+)\"?: operation not permitted",
        hint(r"Failed to initialize NVML: Unknown Error"),
        hint(NO_GPU, beside=LATER),
        likely(RESTART_HELPS, beside=r"\b[GC]PU|cuda|nvidia"),
        r"Failed to create symlinks under /dev/char",
    ],
)
def cgroup_access_lost(
    confinement: Confinement,
    nodes: DeviceNodes | Unavailable,
    mounts: ContainerMounts,
    nvml: Nvml | Unavailable,
    refusals: NodeRefusals | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The container has its GPU's device files, but the host's kernel does not let it open them.

    What: A control group of the host lists the devices that a container may open. NVIDIA's older way of handing
    GPUs in writes that list behind the back of systemd; at the next `systemctl daemon-reload`, or when the
    container's limits are changed, systemd writes its own again, without the GPU. Running programs go on, new
    ones get "Unknown Error". The host itself is fine.

    Proof: NVML cannot start (999), /dev/nvidiactl is there with a mode that allows it, and opening it gives EPERM:
    "Operation not permitted".

    Repair: On the host, restart the container. So that it does not come back, hand the GPU in as a CDI device
    (nvidia.com/gpu=all), which the container toolkit does by itself from 1.18 on, or with --device for each of
    /dev/nvidia*. If it never worked, look for
    no-cgroups = true in /etc/nvidia-container-runtime/config.toml. Never open the devices to everybody by chmod.

    Reference: https://github.com/NVIDIA/nvidia-container-toolkit/issues/48;
    https://github.com/NVIDIA/nvidia-container-toolkit/issues/251
    """
    inside(confinement)
    if isinstance(nodes, Unavailable):
        raise nodes
    if not nodes.nodes:
        return
    if isinstance(nvml, Unavailable):
        yield Undecided("whether the GPU may be used shows when NVML is asked, and it was not answering", matters=False)
        return
    if nvml.return_code not in (_UNKNOWN, _OPERATING_SYSTEM):
        return
    if isinstance(refusals, Unavailable):
        yield Undecided(f"NVML fails, but {refusals}", matters=False)
        return
    refused = [path for path, name in refusals.refusals.items() if name == "EPERM"]
    if not refused:
        return
    yield Finding(
        f"The host's device rules for this {confinement.container} container leave the GPU out: {refused[0]} is there, "
        "and may not be opened.",
        refused[0],
        (
            Evidence(refused[0], "Operation not permitted (EPERM)"),
            Evidence("nvmlInit", f"{nvml.return_code} {nvml.return_name}"),
            in_dev(nodes.nodes),
            *([Evidence("control groups", f"version {mounts.cgroups.version}")] if mounts.cgroups.version else []),
        ),
        "On the host, restart the container: its control group then lists the GPU again. To keep it, give the GPU as a "
        "CDI device (nvidia.com/gpu=all), which survives `systemctl daemon-reload`.",
    )
