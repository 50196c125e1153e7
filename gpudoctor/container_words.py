"""What each container engine calls the things that a GPU needs of a container: the words of remedies and steps."""

# Engines whose containers come from images, into which the host's driver libraries are handed. In the others (LXC,
# systemd-nspawn) a whole system is installed, with driver libraries of its own.
OF_IMAGES = ("docker", "podman", "kubernetes", "containerd", "crio", "enroot", "apptainer", "oci")


def of_images(engine: str) -> bool:
    """Are the driver libraries handed into this engine's containers?"""
    return engine in OF_IMAGES


def start_with_gpu(engine: str) -> str:
    """A clause that follows "start the container with its GPU"."""
    match engine:
        case "docker":
            return "`docker run --gpus all`, or in compose a reservation of devices with capabilities [gpu]"
        case "podman":
            return "`podman run --device nvidia.com/gpu=all`, a CDI device"
        case "kubernetes":
            return "a limit of `nvidia.com/gpu: 1` in the pod's resources, which NVIDIA's device plugin serves"
        case "containerd":
            return "`nerdctl run --gpus all`, or `ctr run --gpus 0`"
        case "apptainer":
            return "`apptainer exec --nv`"
        case "enroot":
            return "NVIDIA_VISIBLE_DEVICES=all and enroot's hook 98-nvidia.sh, in Slurm also `--gres=gpu:1`"
        case "lxc" | "incus" | "systemd-nspawn":
            return "the device files /dev/nvidia* passed in, and driver libraries of the host's version"
        case _:
            return (
                "`docker run --gpus all`, or the CDI device nvidia.com/gpu=all (podman: `--device nvidia.com/gpu=all`)"
            )


def set_variable(engine: str, setting: str) -> str:
    """A clause: how a container is started with a variable."""
    match engine:
        case "kubernetes":
            return f"set {setting} under `env` of the pod's container"
        case "apptainer":
            return f"start it with `--env {setting}`"
        case _:
            return f"start it with `-e {setting}`"


def larger_shared_memory(engine: str) -> str:
    """A sentence."""
    match engine:
        case "kubernetes":
            return "Mount an emptyDir with `medium: Memory` at /dev/shm in the pod."
        case "containerd":
            return "Start the container anew with a larger /dev/shm (`nerdctl run --shm-size=1g`)."
        case "docker" | "podman":
            return (
                f"Start the container anew with `{engine} run --shm-size=1g` or more (compose: `shm_size: 1gb`), or "
                "with `--ipc=host`, which shares the host's."
            )
        case _:
            return "Start the container anew with a larger /dev/shm (docker and podman: `--shm-size=1g`)."


def more_locked_memory(engine: str) -> str:
    """A sentence."""
    match engine:
        case "kubernetes":
            return (
                "Give the pod's container the capability IPC_LOCK (`securityContext.capabilities.add`), or raise "
                "LimitMEMLOCK of the container runtime's unit on the node; a pod has no setting for it."
            )
        case "docker" | "podman":
            return f"Start the container anew with `{engine} run --ulimit memlock=-1`."
        case _:
            return "Start the container anew with no limit on locked memory (docker and podman: `--ulimit memlock=-1`)."
