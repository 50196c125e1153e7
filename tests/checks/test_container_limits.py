"""Shared memory and locked memory of a container with GPUs."""

import re

import pytest
from gpu_machines import DOCKER, WSL, evidence_of, finding, nodes, outcome, status

from gpudoctor import Severity
from gpudoctor.facts.container import Cgroups, ContainerLimits, ContainerMounts, Mount
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Status
from gpudoctor.registry import registry

SHARED, LOCKED = "container.shared-memory-small", "container.memlock-small"
TWO = nodes("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl")


def shared(size: str = "size=65536k") -> ContainerMounts:
    options = ("rw", size, "inode64") if size else ("rw", "inode64")
    shm = Mount("/", "/dev/shm", "tmpfs", options, f"tmpfs shm {','.join(options)}")
    return ContainerMounts(True, (), shm, Cgroups(2, True))


def locked(number: int | None, *devices: str) -> ContainerLimits:
    return ContainerLimits(number, f"Max locked memory {number} {number} bytes", devices)


RDMA = ("/dev/infiniband/uverbs0", "/dev/infiniband/uverbs1")
FINE = (shared("size=16777216k"), locked(None))


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("docker", "docker run --shm-size=1g"),
        ("podman", "podman run --shm-size=1g"),
        ("kubernetes", "emptyDir with `medium: Memory`"),
        ("containerd", "nerdctl run --shm-size=1g"),
        ("lxc", "a larger /dev/shm"),
    ],
)
def test_the_usual_size_is_too_small_for_several_gpus(engine: str, words: str) -> None:
    found = finding(SHARED, Confinement(engine, False), TWO, shared())
    assert found.summary.startswith(f"/dev/shm of this {engine} container has 64 MiB: NCCL between its 2 GPUs")
    assert words in found.remedy
    assert "/dev/shm: tmpfs shm rw,size=65536k" in evidence_of(found)
    assert found.severity is None
    assert registry.checks[SHARED].severity is Severity.WARNING


@pytest.mark.parametrize("size", ["size=65536k", "size=64000k"])
def test_with_one_gpu_what_every_container_gets_is_nothing_to_tell(size: str) -> None:
    assert status(SHARED, DOCKER, shared(size)) is Status.OK
    assert status(SHARED, Confinement("docker", True), nodes("none", wsl=True), shared(size)) is Status.OK
    assert status(SHARED, DOCKER, shared()._replace(shared_memory=None, told=False)) is Status.OK


@pytest.mark.parametrize("size", ["size=1048576k", "size=262144k", "size=8g", "", "size=50%"])
def test_large_enough_or_without_a_size_of_its_own(size: str) -> None:
    assert status(SHARED, DOCKER, TWO, shared(size)) is Status.OK


def test_no_file_system_of_its_own_at_all() -> None:
    assert status(SHARED, DOCKER, TWO, shared()._replace(shared_memory=None)) is Status.OK


def test_unknown_from_snapshots_of_older_versions() -> None:
    found = outcome(SHARED, DOCKER, TWO, shared()._replace(shared_memory=None, told=False))
    assert found.status is Status.UNKNOWN
    assert not found.matters


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("docker", "docker run --ulimit memlock=-1"),
        ("podman", "podman run --ulimit memlock=-1"),
        ("kubernetes", "the capability IPC_LOCK"),
        ("containerd", "no limit on locked memory"),
    ],
)
def test_too_little_memory_to_lock_for_the_network(engine: str, words: str) -> None:
    found = finding(LOCKED, Confinement(engine, False), locked(8 << 20, *RDMA))
    assert found.summary.startswith(f"This {engine} container may lock 8 MiB of memory")
    assert words in found.remedy
    assert "uverbs0" in evidence_of(found)


def test_small_limits_are_told_in_kibibytes() -> None:
    assert "64 KiB" in finding(LOCKED, DOCKER, locked(65536, *RDMA)).summary


@pytest.mark.parametrize("limits", [locked(None, *RDMA), locked(65536), locked(1 << 30, *RDMA)])
def test_enough_or_nothing_that_needs_it(limits: ContainerLimits) -> None:
    assert status(LOCKED, DOCKER, limits) is Status.OK


def test_limits_that_could_not_be_read_matter_little() -> None:
    found = outcome(LOCKED, DOCKER)
    assert found.status is Status.UNKNOWN
    assert not found.matters


@pytest.mark.parametrize("check", [SHARED, LOCKED])
def test_not_applicable_outside_of_containers_and_without_a_gpu(check: str) -> None:
    assert status(check, *FINE, without=(DeviceNodes,)) is Status.SKIPPED
    assert status(check, WSL, *FINE) is Status.SKIPPED
    assert status(check, DOCKER, shared(), locked(65536, *RDMA), nodes("none")) is Status.SKIPPED


@pytest.mark.parametrize("check", [SHARED, LOCKED])
def test_needs_the_nodes(check: str) -> None:
    assert status(check, DOCKER, *FINE, without=(DeviceNodes,)) is Status.UNKNOWN


def test_containers_in_wsl_have_limits_too() -> None:
    assert finding(LOCKED, Confinement("docker", True), nodes("none", wsl=True), locked(65536, *RDMA))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (SHARED, "RuntimeError: DataLoader worker (pid 1234) is killed by signal: Bus error. It is possible that"),
        (
            SHARED,
            "Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        ),
        (
            SHARED,
            "NOTE: The SHMEM allocation limit is set to the default of 64MB.  This may be insufficient for PyTorch.",
        ),
        (SHARED, "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-Fk3Lw2 (size 9637888)"),
        (SHARED, "posix_fallocate of /dev/shm/nccl-abc failed: No space left on device"),
        (SHARED, "RuntimeError: unable to write to file </torch_18_3404_0>: No space left on device (28)"),
        (SHARED, "/dev/shm has only 67108864 bytes available. This will harm performance!"),
        (LOCKED, "NCCL WARN Call to ibv_reg_mr failed with error Cannot allocate memory"),
        (LOCKED, "ibv_reg_mr(address=0x7f, length=8192) failed: Cannot allocate memory"),
        (LOCKED, "failed to register : Please set max locked memory (ulimit -l) to 'unlimited' (current: 64 kbytes)"),
        (LOCKED, "libibverbs: Warning: RLIMIT_MEMLOCK is 65536 bytes."),
    ],
)
def test_messages(check: str, message: str) -> None:
    assert any(re.search(pattern, message) for pattern in registry.checks[check].symptoms)
