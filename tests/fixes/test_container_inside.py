"""What a person does on the host about a container."""

import pytest

from gpudoctor import Evidence, Finding, Findings, Manual
from gpudoctor.facts.system import Confinement
from gpudoctor.testing import steps_of

FIXES = {
    "container.no-gpu-requested": "start-container-with-gpu",
    "container.visible-devices-void": "start-container-with-gpu",
    "container.driver-capabilities": "start-container-with-gpu",
    "container.cgroup-access-lost": "restart-container",
    "container.driver-baked-in": "rebuild-image",
    "container.requires-newer-driver": "fit-image-to-driver",
    "container.shared-memory-small": "raise-container-limits",
    "container.memlock-small": "raise-container-limits",
}


def instructions(check: str, engine: str = "docker") -> list[str]:
    found = Finding("wrong", "", (Evidence("x", "y"),), "Take an image for CUDA 12.4 or older.")
    steps = steps_of(FIXES[check], Confinement(engine, False), Findings(((check, found),)))
    assert all(isinstance(step.action, Manual) and not step.root for step in steps)
    return [str(step.action) for step in steps]


@pytest.mark.parametrize(
    ("check", "engine", "words"),
    [
        ("container.no-gpu-requested", "docker", ["docker run --gpus all"]),
        ("container.no-gpu-requested", "podman", ["--device nvidia.com/gpu=all"]),
        ("container.no-gpu-requested", "kubernetes", ["nvidia.com/gpu: 1"]),
        ("container.visible-devices-void", "docker", ["--gpus all", "take NVIDIA_VISIBLE_DEVICES out"]),
        ("container.driver-capabilities", "docker", ["NVIDIA_DRIVER_CAPABILITIES=compute,utility"]),
        ("container.cgroup-access-lost", "docker", ["docker restart NAME", "nvidia.com/gpu=all"]),
        ("container.cgroup-access-lost", "kubernetes", ["kubectl delete pod", "CDI"]),
        ("container.cgroup-access-lost", "enroot", ["restart this container", "CDI"]),
        ("container.driver-baked-in", "docker", ["out of the Dockerfile"]),
        ("container.requires-newer-driver", "docker", ["Take an image for CUDA 12.4 or older. gpudoctor on the host"]),
        ("container.shared-memory-small", "docker", ["--shm-size=1g"]),
        ("container.shared-memory-small", "kubernetes", ["emptyDir"]),
        ("container.memlock-small", "podman", ["--ulimit memlock=-1"]),
    ],
)
def test_said_in_the_words_of_the_engine(check: str, engine: str, words: list[str]) -> None:
    said = instructions(check, engine)
    assert len(said) == len(words)
    for instruction, word in zip(said, words, strict=True):
        assert word in instruction
        assert "the host" in instruction


@pytest.mark.parametrize("check", FIXES)
def test_nothing_outside_of_containers(check: str) -> None:
    assert instructions(check, "") == []


@pytest.mark.parametrize("fix", sorted(set(FIXES.values())))
def test_nothing_without_a_finding(fix: str) -> None:
    assert steps_of(fix, Confinement("docker", False), Findings(())) == ()


def test_never_by_opening_the_devices_to_everybody() -> None:
    assert not [text for check in FIXES for text in instructions(check) if "chmod" in text or "privileged" in text]
