"""How a container was set up: its mounts, control groups and limits, and which engine made it."""

from pathlib import Path

import pytest
from container_texts import (
    CRIO,
    DOCKER,
    DOCKER_V1,
    FOLDER,
    HOSTS,
    ID,
    KUBERNETES_V1,
    LIBRARIES,
    POD,
    PODMAN,
    PRIVILEGED,
    USUAL_RIGHTS,
    handed_in,
    limits,
    status,
)
from disk_trees import disk

from gpudoctor.facts.answers import DriverAnswers, StateBefore
from gpudoctor.facts.container import Cgroups, ContainerLimits, ContainerMounts, NodeRefusals
from gpudoctor.facts.system import Confinement
from gpudoctor.host import ProbeAnswer, Unavailable
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import SnapshotHost
from gpudoctor.testing import MachineTree, facts_of

MOUNTS, GROUPS, LIMITS = "/proc/self/mountinfo", "/proc/self/cgroup", "/proc/self/limits"
Files = dict[str, str | bytes]


def facts_in(folder: Path, files: Files, engine: str = "docker") -> Facts:
    load_plugins()
    disk(folder, files)
    return Facts(MachineTree(str(folder)), {Confinement: Confinement(engine, False)})


def engine_of(folder: Path, files: Files) -> str:
    load_plugins()
    disk(folder, {"/proc/sys/kernel/osrelease": "6.8.0-90-generic\n", **files})
    return Facts(MachineTree(str(folder))).get(Confinement).container


@pytest.mark.parametrize(
    ("mounts", "groups", "expected", "size"),
    [
        (DOCKER, "0::/\n", Cgroups(2, True), 64 << 20),
        (DOCKER_V1, "4:devices:/docker/6d91f91404d6\n1:name=systemd:/docker/6d91\n0::/\n", Cgroups(1, False), 1 << 30),
        (PODMAN, f"0::/machine.slice/libpod-{ID}.scope/container\n", Cgroups(2, True), 64000 << 10),
        (PODMAN, "0::/\n", Cgroups(2, None), 64000 << 10),
        (
            KUBERNETES_V1,
            f"6:devices:/kubepods.slice/{POD}/cri-containerd-{ID}.scope\n",
            Cgroups(1, True),
            527950552 << 10,
        ),
        (CRIO, f"0::/kubepods/burstable/pod123/crio-{ID}\n", Cgroups(2, False), 64 << 20),
        ("", "", Cgroups(0, None), None),
    ],
)
def test_control_groups_and_shared_memory(
    tmp_path: Path, mounts: str, groups: str, expected: Cgroups, size: int | None
) -> None:
    found = facts_in(tmp_path, {MOUNTS: mounts, GROUPS: groups}).get(ContainerMounts)
    assert found.cgroups == expected
    assert found.shared_memory_bytes == size
    assert found.told is bool(mounts)


def test_what_was_handed_in(tmp_path: Path) -> None:
    found = facts_in(tmp_path, {MOUNTS: DOCKER + handed_in(), GROUPS: "0::/\n"}).get(ContainerMounts)
    assert found.driver_files == (f"{LIBRARIES}/libcuda.so.580.95.05", f"{LIBRARIES}/libnvidia-ml.so.580.95.05")
    assert found.brought(f"{LIBRARIES}/libcuda.so.1", f"{LIBRARIES}/libcuda.so.580.95.05")
    assert not found.brought(f"{LIBRARIES}/libcuda.so.535.309.01")


def test_a_folder_of_the_driver_was_handed_in(tmp_path: Path) -> None:
    found = facts_in(tmp_path, {MOUNTS: CRIO + FOLDER}, "kubernetes").get(ContainerMounts)
    assert found.brought("/usr/local/nvidia/lib64/libcuda.so.580.95.05")


def test_shared_memory_without_a_size_has_no_limit_of_its_own(tmp_path: Path) -> None:
    shared = "30 25 0:27 / /dev/shm rw,nosuid,nodev - tmpfs tmpfs rw,inode64\n"
    found = facts_in(tmp_path, {MOUNTS: DOCKER_V1 + shared}).get(ContainerMounts)
    assert found.shared_memory is not None
    assert found.shared_memory_bytes is None


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    text = "\n- -\n1 2 - x\n400 365 0:90 /\n" + DOCKER + "7 8 0:9 / /dev/shm rw - tmpfs shm size=manyk\n"
    text += f"9 8 0:9 / /dev/shm rw - tmpfs shm rw,size={'9' * 5000}k\n"
    assert facts_in(tmp_path, {MOUNTS: text}).get(ContainerMounts).shared_memory_bytes is None


def test_outside_of_containers_nothing_is_read() -> None:
    load_plugins()
    facts = Facts(SnapshotHost({}), {Confinement: Confinement("", False)})
    assert facts.get(ContainerMounts) == ContainerMounts(False, (), None, Cgroups(0, None))
    assert facts.get(ContainerLimits) == ContainerLimits(None, "", ())


def test_a_snapshot_keeps_what_is_judged_and_no_other_mounts(tmp_path: Path) -> None:
    text = DOCKER + handed_in()
    kept = redacted({f"read {MOUNTS}": text})[f"read {MOUNTS}"]
    assert isinstance(kept, str)
    assert "/data" not in kept
    assert "resolv.conf" not in kept
    whole = facts_in(tmp_path / "a", {MOUNTS: text, GROUPS: "0::/\n"}).get(ContainerMounts)
    assert facts_in(tmp_path / "b", {MOUNTS: kept, GROUPS: "0::/\n"}).get(ContainerMounts) == whole


def test_snapshots_of_older_versions_do_not_tell(tmp_path: Path) -> None:
    """They kept the line of "/" alone."""
    found = facts_in(tmp_path, {MOUNTS: f"{DOCKER.splitlines()[0]}\n"}).get(ContainerMounts)
    assert not found.told


RDMA: Files = {"/dev/infiniband/uverbs0": "", "/dev/infiniband/rdma_cm": ""}


@pytest.mark.parametrize(
    ("soft", "files", "expected", "devices"),
    [
        ("8388608", RDMA | {"/proc/self/status": status(USUAL_RIGHTS)}, 8388608, ("/dev/infiniband/uverbs0",)),
        ("65536", RDMA | {"/proc/self/status": status(PRIVILEGED)}, None, ("/dev/infiniband/uverbs0",)),
        ("65536", {}, 65536, ()),
        ("unlimited", RDMA, None, ()),
        ("68719476736", RDMA, 64 << 30, ()),
    ],
)
def test_locked_memory(tmp_path: Path, soft: str, files: Files, expected: int | None, devices: tuple[str, ...]) -> None:
    found = facts_in(tmp_path, {LIMITS: limits(soft), **files}).get(ContainerLimits)
    assert found.locked_bytes == expected
    assert found.rdma_devices == devices
    assert found.text.startswith(f"Max locked memory {soft} ")


@pytest.mark.parametrize(
    "text", ["", "Max open files 1 2 files\n", "Max locked memory\n", limits("much"), limits("9" * 5000)]
)
def test_limits_that_do_not_tell(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unavailable, match="does not tell how much memory may be locked"):
        facts_in(tmp_path, {LIMITS: text}).get(ContainerLimits)


def asked(**answer: object) -> DriverAnswers:
    return DriverAnswers(StateBefore((), ()), {"nvml": ProbeAnswer(answer, "")})


def test_refused_nodes() -> None:
    told = asked(return_code=999, node_refusals={"/dev/nvidiactl": "EPERM"})
    assert facts_of(told, Confinement("docker", False)).get(NodeRefusals).refusals == {"/dev/nvidiactl": "EPERM"}


def test_older_probes_did_not_look() -> None:
    with pytest.raises(Unavailable, match="nobody tried"):
        facts_of(asked(return_code=999)).get(NodeRefusals)


@pytest.mark.parametrize(
    ("files", "engine"),
    [
        ({"/run/.containerenv": "", GROUPS: "0::/\n"}, "podman"),
        ({GROUPS: f"0::/machine.slice/libpod-{ID}.scope/container\n"}, "podman"),
        ({"/.dockerenv": "", GROUPS: "0::/\n"}, "docker"),
        ({GROUPS: "0::/\n", "/proc/1/cgroup": f"0::/system.slice/docker-{ID}.scope\n"}, "docker"),
        ({GROUPS: f"12:devices:/docker/{ID}\n1:name=systemd:/docker/{ID}\n"}, "docker"),
        ({GROUPS: f"11:devices:/kubepods.slice/{POD}/cri-containerd-{ID}.scope\n"}, "kubernetes"),
        ({GROUPS: "0::/\n", "/var/run/secrets/kubernetes.io/serviceaccount/namespace": "default"}, "kubernetes"),
        ({GROUPS: f"0::/system.slice/cri-containerd-{ID}.scope\n"}, "containerd"),
        ({GROUPS: "0::/\n", MOUNTS: KUBERNETES_V1}, "containerd"),
        ({GROUPS: "0::/\n", MOUNTS: CRIO}, "podman"),  # CRI-O keeps its images where podman does
        ({GROUPS: "0::/\n", MOUNTS: CRIO + HOSTS}, "kubernetes"),
        ({GROUPS: "0::/lxc.payload.web/system.slice/ssh.service\n"}, "lxc"),
        ({GROUPS: "0::/init.scope\n", "/run/systemd/container": "lxc\n"}, "lxc"),
        ({GROUPS: "0::/machine.slice/x\n", "/run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
        ({GROUPS: "0::/user.slice\n", "/.singularity.d/env/90-environment.sh": ""}, "apptainer"),
        ({GROUPS: "0::/\n", MOUNTS: "1 /etc/hosts 2\n"}, ""),
        ({GROUPS: "0::/system.slice/docker.service\n", "/proc/1/cgroup": "0::/init.scope\n"}, ""),
        ({GROUPS: "0::/user.slice/user-1000.slice/session-2.scope\n", "/proc/1/cgroup": "0::/init.scope\n"}, ""),
    ],
)
def test_which_engine_made_it(tmp_path: Path, files: Files, engine: str) -> None:
    assert engine_of(tmp_path, files) == engine
