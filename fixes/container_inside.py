"""What is wrong with a container, seen from inside: what a person does on the host, step by step.

Nothing is changed from here: how a container is started, and what is in its image, is decided outside of it.
"""

from collections.abc import Iterator

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Step, fix
from gpudoctor.container_words import larger_shared_memory, more_locked_memory, set_variable, start_with_gpu
from gpudoctor.facts.system import Confinement

from ._scope import by_hand_if_unsafe


@fix(
    "start-container-with-gpu",
    cures=["container.no-gpu-requested", "container.visible-devices-void", "container.driver-capabilities"],
    effort=Effort.EXPLAIN,
)
@by_hand_if_unsafe
def start_container_with_gpu(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Start the container anew, with its GPU and the driver's libraries."""
    ids = _asked(confinement, findings)
    engine = confinement.container
    if {"container.no-gpu-requested", "container.visible-devices-void"} & ids:
        yield _by_hand(
            f"On the host: start the container with its GPU: {start_with_gpu(engine)}. Install no driver in its image.",
            "A container gets devices and driver libraries when it is started, and only if it asks for them.",
        )
    if "container.visible-devices-void" in ids:
        yield _by_hand(
            "On the host: take NVIDIA_VISIBLE_DEVICES out of what starts the container (the command, the compose file, "
            "the pod, the ENV lines of the Dockerfile), or set it to all.",
            "NVIDIA's runtime reads the variable when the container starts, and its value asks for no GPU.",
        )
    if "container.driver-capabilities" in ids:
        yield _by_hand(
            f"On the host: {set_variable(engine, 'NVIDIA_DRIVER_CAPABILITIES=compute,utility')}.",
            "The variable names the parts of the driver that are handed in; libcuda comes with compute.",
        )


@fix("restart-container", cures=["container.cgroup-access-lost"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def restart_container(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Restart the container, and hand the GPU in so that it stays."""
    if not _asked(confinement, findings):
        return
    how = {
        "docker": "`docker restart NAME`",
        "podman": "`podman restart NAME`",
        "kubernetes": "`kubectl delete pod NAME`, for its controller to start another",
    }.get(confinement.container, "restart this container")
    yield _by_hand(
        f"On the host: {how}, when its programs can be stopped. If it never worked in this container, look first for "
        "`no-cgroups = true` in /etc/nvidia-container-runtime/config.toml, which is for rootless engines alone.",
        "Its control group gets the GPU back only when it is made anew.",
        Risk.MEDIUM,
    )
    yield _by_hand(
        "On the host, so that it does not come back: give the GPU as a CDI device (`--device nvidia.com/gpu=all`; "
        "NVIDIA's container toolkit does so by itself from 1.18 on; in Kubernetes switch CDI on in the GPU operator). "
        "Without CDI: `nvidia-ctk system create-dev-char-symlinks --create-all`, and each of /dev/nvidia* passed with "
        "--device.",
        "`systemctl daemon-reload` writes the device rules anew, and keeps only devices that the engine knows of.",
    )


@fix("rebuild-image", cures=["container.driver-baked-in"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def rebuild_image(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Rebuild the image without a driver of its own."""
    if _asked(confinement, findings):
        yield _by_hand(
            "Where the image is built: take driver packages out of the Dockerfile (nvidia-utils-*, nvidia-driver-*, "
            "libnvidia-*, libcuda1; see what pulls them in, and install that without recommended packages), build it "
            f"anew, and on the host start the container with its GPU: {start_with_gpu(confinement.container)}.",
            "The libraries must be of the version of the host's module, and so they come from the host.",
        )


@fix("fit-image-to-driver", cures=["container.requires-newer-driver"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def fit_image_to_driver(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Take an image that the host's driver serves, or update that driver."""
    if _asked(confinement, findings):
        remedies = " ".join(dict.fromkeys(finding.remedy for _, finding in findings.items))
        yield _by_hand(
            f"{remedies} gpudoctor on the host says which driver fits its GPUs.",
            "The image names the CUDA that its programs were built with, and the host's driver is older than that.",
        )


@fix(
    "raise-container-limits",
    cures=["container.shared-memory-small", "container.memlock-small"],
    effort=Effort.EXPLAIN,
)
@by_hand_if_unsafe
def raise_container_limits(confinement: Confinement, findings: Findings) -> Iterator[Step]:
    """Start the container anew with more shared or locked memory."""
    ids = _asked(confinement, findings)
    if "container.shared-memory-small" in ids:
        yield _by_hand(
            f"On the host: {_lower(larger_shared_memory(confinement.container))}",
            "The size of /dev/shm is set when the container starts.",
        )
    if "container.memlock-small" in ids:
        yield _by_hand(
            f"On the host: {_lower(more_locked_memory(confinement.container))}",
            "The limit is inherited from whoever starts the container, and cannot be raised inside.",
        )


def _asked(confinement: Confinement, findings: Findings) -> set[str]:
    """Ids of the findings to cure; none outside of containers."""
    return {id for id, _ in findings.items} if confinement.container else set()


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _by_hand(instruction: str, why: str, risk: Risk = Risk.LOW) -> Step:
    return Step(Manual(instruction), why, Phase.AFTERWARDS, risk, root=False)
