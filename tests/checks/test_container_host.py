"""Containers seen from the host: what starts them, what hands GPUs to them, and the lists of what they get."""

import re
from pathlib import Path

import pytest
from container_hosts import (
    CONTAINERD,
    CRIO,
    DAEMON_JSON,
    DOCKER,
    DRIVER,
    DROP_IN,
    HOST_CONFIG,
    LIBRARIES,
    NEW,
    NO_CGROUPS,
    NVIDIA_OF_CONTAINERD,
    OLD,
    TOOLKIT,
    cdi_yaml,
    container_host,
    only,
    outcome,
)
from disk_trees import disk

from gpudoctor.diagnose import run_check
from gpudoctor.facts.system import Confinement
from gpudoctor.findings import Severity, Status
from gpudoctor.redaction.redact import redacted
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.snapshot import RecordingHost, SnapshotHost

MISSING, RUNTIME, CDI = "container.toolkit-missing", "container.runtime-not-configured", "container.cdi-stale"
CGROUPS, SNAP, DESKTOP = "container.no-cgroups", "container.docker-snap", "container.docker-desktop"
OURS = (MISSING, RUNTIME, CDI, CGROUPS, SNAP, DESKTOP)

DAEMON = {"/etc/docker/daemon.json": DAEMON_JSON}
KUBELET = {"/usr/bin/kubelet": "", "/usr/bin/containerd": "", "/sys/fs/cgroup/system.slice/containerd.service/": ""}
PODMAN = {"/usr/bin/podman": ""}
FRESH = {"/etc/cdi/nvidia.yaml": cdi_yaml(NEW)}


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (TOOLKIT,),
        (DOCKER, TOOLKIT, DAEMON),
        (DOCKER, TOOLKIT, DAEMON, PODMAN, FRESH, {"/snap/docker/": ""}),
        (PODMAN, TOOLKIT, FRESH),
        (PODMAN,),
        (KUBELET, TOOLKIT, {"/etc/containerd/config.toml": CONTAINERD + NVIDIA_OF_CONTAINERD}),
        (
            KUBELET,
            TOOLKIT,
            {"/etc/containerd/config.toml": CONTAINERD.replace("enable_cdi = false", "enable_cdi = true")},
        ),
        (KUBELET, TOOLKIT, {"/etc/containerd/config.toml": "version = 3\n"}),
        (
            KUBELET,
            TOOLKIT,
            {"/etc/containerd/config.toml": CONTAINERD, "/etc/containerd/conf.d/99-nvidia.toml": DROP_IN},
        ),
        (
            TOOLKIT,
            {"/usr/bin/crio": "", "/usr/bin/kubelet": "", "/sys/fs/cgroup/system.slice/crio.service/": ""},
            FRESH,
        ),
    ],
    ids=[
        "bare",
        "toolkit",
        "docker",
        "both",
        "podman",
        "podman-alone",
        "pods",
        "pods-cdi",
        "pods-2",
        "drop-in",
        "crio",
    ],
)
def test_machines_on_which_all_is_well(tmp_path: Path, parts: tuple[dict[str, str | bytes], ...]) -> None:
    host = container_host(tmp_path, *parts)
    if "/snap/docker/" in str(parts):
        (tmp_path / "snap/docker").rmdir()
    assert {check: outcome(check, host).status for check in OURS} == dict.fromkeys(OURS, Status.OK)


def test_docker_without_the_toolkit_is_worth_a_note_only(tmp_path: Path) -> None:
    found, severity = only(MISSING, container_host(tmp_path, DOCKER))
    assert severity is Severity.INFO
    assert "If they shall: install the package nvidia-container-toolkit" in found.remedy


def test_a_docker_that_is_not_running_is_worth_none(tmp_path: Path) -> None:
    assert outcome(MISSING, container_host(tmp_path, {"/usr/bin/dockerd": ""})).status is Status.OK


def test_a_container_that_asks_for_a_gpu_shows_that_one_is_wanted(tmp_path: Path) -> None:
    asking = {"/var/lib/docker/containers/0123456789abcdef/hostconfig.json": HOST_CONFIG}
    found, severity = only(MISSING, container_host(tmp_path, DOCKER, asking))
    assert severity is Severity.ERROR
    assert "0123456789ab (--gpus)" in found.summary


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({**DOCKER, **DAEMON}, "docker"),
        ({**KUBELET, "/etc/containerd/config.toml": CONTAINERD + NVIDIA_OF_CONTAINERD}, "containerd"),
        (
            {
                "/usr/bin/crio": "",
                "/sys/fs/cgroup/system.slice/crio.service/": "",
                "/etc/crio/crio.conf.d/99-nvidia.toml": CRIO,
            },
            "crio",
        ),
    ],
)
def test_an_engine_that_is_told_of_a_runtime_which_is_gone(
    tmp_path: Path, files: dict[str, str | bytes], kind: str
) -> None:
    found, severity = only(MISSING, container_host(tmp_path, files))
    assert (found.subject, severity) == (kind, Severity.ERROR)
    assert ("none starts" in found.summary) is (kind == "crio")
    assert any(evidence.value == "not there" for evidence in found.evidence)


def test_a_docker_that_was_not_told_still_serves_gpus(tmp_path: Path) -> None:
    found, severity = only(RUNTIME, container_host(tmp_path, DOCKER, TOOLKIT))
    assert severity is Severity.INFO
    assert "`--runtime=nvidia` does not" in found.summary


def test_a_docker_that_was_not_told_and_is_asked_for_the_runtime(tmp_path: Path) -> None:
    text = HOST_CONFIG.replace('"runc"', '"nvidia"')
    asking = {"/var/lib/docker/containers/fedcba9876543210/hostconfig.json": text}
    found, severity = only(RUNTIME, container_host(tmp_path, DOCKER, TOOLKIT, asking))
    assert severity is Severity.ERROR
    assert "fedcba987654" in found.summary


@pytest.mark.parametrize(
    ("flag", "status"),
    [("--add-runtime=nvidia=/usr/bin/nvidia-container-runtime", "ok"), ("--config-file /a", "unknown")],
)
def test_a_docker_that_is_told_on_its_command_line(tmp_path: Path, flag: str, status: str) -> None:
    asking = {"/var/lib/docker/containers/fedcba98/hostconfig.json": HOST_CONFIG.replace('"runc"', '"nvidia"')}
    lines = f"[Service]\nExecStart=\nExecStart=/usr/bin/dockerd {flag}\n"
    unit = {"/etc/systemd/system/docker.service.d/override.conf": lines}
    assert outcome(RUNTIME, container_host(tmp_path, DOCKER, TOOLKIT, asking, unit)).status.value == status


def test_a_toolkit_without_its_hook_serves_docker_not_at_all(tmp_path: Path) -> None:
    base = {"/usr/bin/nvidia-ctk": "", "/usr/bin/nvidia-container-runtime": ""}
    assert only(RUNTIME, container_host(tmp_path, DOCKER, base))[1] is Severity.WARNING


def test_a_default_runtime_that_nobody_described(tmp_path: Path) -> None:
    at_boot = {"/etc/systemd/system/multi-user.target.wants/docker.service": "-> /lib/systemd/system/docker.service"}
    settings = {"/usr/bin/dockerd": "", "/etc/docker/daemon.json": '{"default-runtime": "nvidia"}'}
    found, severity = only(RUNTIME, container_host(tmp_path, TOOLKIT, settings, at_boot))
    assert severity is Severity.ERROR
    assert "does not start" in found.summary
    assert "restart docker" in found.remedy


@pytest.mark.parametrize("text", [CONTAINERD, CONTAINERD.replace("conf.d", "other.d")])
def test_pods_get_no_gpu_from_a_containerd_that_was_not_told(tmp_path: Path, text: str) -> None:
    host = container_host(tmp_path, KUBELET, TOOLKIT, {"/etc/containerd/config.toml": text})
    found, severity = only(RUNTIME, host)
    assert (found.subject, severity) == ("containerd", Severity.WARNING)
    assert "--runtime=containerd" in found.remedy


def test_the_containerd_behind_docker_needs_no_gpus(tmp_path: Path) -> None:
    host = container_host(tmp_path, KUBELET, DOCKER, TOOLKIT, DAEMON, {"/etc/containerd/config.toml": CONTAINERD})
    (tmp_path / "usr/bin/kubelet").unlink()
    assert outcome(RUNTIME, host).status is Status.OK


def test_k3s_looks_for_the_toolkit_itself(tmp_path: Path) -> None:
    host = container_host(tmp_path, TOOLKIT, {"/var/lib/rancher/k3s/agent/etc/containerd/config.toml": CONTAINERD})
    assert "Restart k3s" in only(RUNTIME, host)[0].remedy


@pytest.mark.parametrize(("parts", "least"), [((), Severity.WARNING), ((DOCKER, DAEMON), Severity.INFO)])
def test_podman_knows_gpus_from_a_specification_only(
    tmp_path: Path, parts: tuple[dict[str, str | bytes], ...], least: Severity
) -> None:
    found, severity = only(RUNTIME, container_host(tmp_path, PODMAN, TOOLKIT, *parts))
    assert (found.subject, severity) == ("podman", least)
    assert "nvidia-ctk cdi generate" in found.remedy


@pytest.mark.parametrize("text", ['{"runtimes": ', "[1]", "\udcff\udcfe"])
def test_settings_that_cannot_be_understood_are_no_fault(tmp_path: Path, text: str) -> None:
    host = container_host(tmp_path, DOCKER, TOOLKIT, {"/etc/docker/daemon.json": text})
    made = outcome(RUNTIME, host)
    assert (made.status, made.matters) == (Status.UNKNOWN, False)
    assert "daemon.json: it is no JSON object" in made.reason


def test_the_toolkit_set_for_docker_without_root(tmp_path: Path) -> None:
    set_so = {"/etc/nvidia-container-runtime/config.toml": NO_CGROUPS}
    found, severity = only(CGROUPS, container_host(tmp_path, DOCKER, TOOLKIT, DAEMON, set_so))
    assert severity is Severity.WARNING
    assert "no-cgroups=false" in found.remedy


def test_docker_without_root_is_to_be_set_so(tmp_path: Path) -> None:
    set_so = {"/etc/nvidia-container-runtime/config.toml": NO_CGROUPS, "/usr/bin/dockerd": ""}
    unit = {"/home/ada/.config/systemd/user/docker.service": "[Unit]\n"}
    assert outcome(CGROUPS, container_host(tmp_path, TOOLKIT, set_so, unit)).status is Status.OK


def test_toolkit_settings_that_cannot_be_understood(tmp_path: Path) -> None:
    host = container_host(tmp_path, DOCKER, TOOLKIT, {"/etc/nvidia-container-runtime/config.toml": "no toml at all\n"})
    assert outcome(CGROUPS, host).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("parts", "least", "words"),
    [
        ((), Severity.INFO, "get no GPU"),
        ((TOOLKIT,), Severity.WARNING, "cannot see the container toolkit"),
        ((TOOLKIT, DOCKER, DAEMON), Severity.WARNING, "either"),
    ],
)
def test_docker_as_a_snap(
    tmp_path: Path, parts: tuple[dict[str, str | bytes], ...], least: Severity, words: str
) -> None:
    found, severity = only(
        SNAP, container_host(tmp_path, {"/snap/docker/current": "-> 2976", "/snap/docker/2976/": ""}, *parts)
    )
    assert severity is least
    assert words in found.summary


def test_a_snap_that_has_a_toolkit_of_its_own(tmp_path: Path) -> None:
    own = {"/snap/docker/current/": "", "/var/snap/docker/current/config/daemon.json": DAEMON_JSON}
    assert outcome(SNAP, container_host(tmp_path, TOOLKIT, own)).status is Status.OK


CONTEXT = {"/opt/docker-desktop/": "", "/home/ada/.docker/config.json": '{"currentContext": "desktop-linux"}'}


@pytest.mark.parametrize(("parts", "least"), [((TOOLKIT,), Severity.WARNING), ((), Severity.INFO)])
def test_docker_desktop_has_no_gpu(tmp_path: Path, parts: tuple[dict[str, str | bytes], ...], least: Severity) -> None:
    found, severity = only(DESKTOP, container_host(tmp_path, CONTEXT, *parts))
    assert severity is least
    assert found.subject == "/home/ada/.docker/config.json"
    assert "docker context use default" in found.remedy


def test_docker_desktop_that_nobody_talks_to(tmp_path: Path) -> None:
    host = container_host(tmp_path, {**CONTEXT, "/home/ada/.docker/config.json": '{"currentContext": "default"}'})
    assert outcome(DESKTOP, host).status is Status.OK
    assert outcome(DESKTOP, host, Confinement("", True)).status is Status.SKIPPED


@pytest.mark.parametrize("check", OURS)
def test_in_a_container_the_host_is_to_be_asked(tmp_path: Path, check: str) -> None:
    made = outcome(check, container_host(tmp_path, DOCKER), Confinement("docker", False))
    assert made.status is Status.SKIPPED
    assert "on the host" in made.reason


@pytest.mark.parametrize("check", [check for check in OURS if check != CGROUPS])
def test_a_machine_without_a_driver(tmp_path: Path, check: str) -> None:
    host = container_host(tmp_path, DOCKER, TOOLKIT, {"/etc/cdi/nvidia.yaml": cdi_yaml(OLD)})
    for path in ("etc/ld.so.cache", "proc/driver/nvidia/version", *(f"{LIBRARIES[1:]}/{name}" for name in _names())):
        (tmp_path / path).unlink()
    assert outcome(check, host).status is Status.SKIPPED


def _names() -> list[str]:
    return [path.rpartition("/")[2] for path in DRIVER if path.startswith(f"{LIBRARIES}/lib")]


def test_a_mounted_disk_is_judged_by_what_starts_at_boot(tmp_path: Path) -> None:
    wanted = {"/etc/systemd/system/multi-user.target.wants/docker.service": "-> /lib/systemd/system/docker.service"}
    files = {**DRIVER, "/usr/bin/dockerd": "", **DAEMON, "/etc/cdi/nvidia.yaml": cdi_yaml(OLD), **wanted}
    host = disk(
        tmp_path, {path: text for path, text in files.items() if not path.startswith(("/proc", "/dev", "/run"))}
    )
    assert only(MISSING, host)[1] is Severity.ERROR
    assert only(CDI, host)[0].subject == "/etc/cdi/nvidia.yaml"


@pytest.mark.parametrize("check", OURS)
def test_a_machine_recorded_before_anybody_asked(tmp_path: Path, check: str) -> None:
    known = RecordingHost(container_host(tmp_path, DOCKER))
    facts = Facts(known)
    for kind in registry.checks["driver.library-mismatch"], registry.checks["devices.nodes-missing"]:
        run_check(kind, facts)
    made = outcome(check, SnapshotHost(known.answers))
    assert (made.status, made.matters, made.not_recorded) == (Status.UNKNOWN, False, True)


def test_a_snapshot_gives_the_same_outcomes(tmp_path: Path) -> None:
    sick = {
        "/etc/docker/daemon.json": '{"default-runtime": "nvidia", "proxies": {"http-proxy": "http://ada:word@p"}}',
        "/etc/containerd/config.toml": CONTAINERD,
        "/etc/nvidia-container-runtime/config.toml": NO_CGROUPS,
        "/etc/cdi/nvidia.yaml": cdi_yaml(OLD),
        "/opt/docker-desktop/": "",
        "/home/ada/.docker/config.json": '{"currentContext": "desktop-linux", "auths": {"x": {"auth": "secret-word"}}}',
        "/var/lib/docker/containers/fedcba98/hostconfig.json": HOST_CONFIG,
    }
    host = RecordingHost(container_host(tmp_path, DOCKER, KUBELET, PODMAN, TOOLKIT, sick))
    live = {check: outcome(check, host) for check in OURS}
    answers = redacted(host.answers)
    assert "secret-word" not in str(answers)
    for check in OURS:
        replayed = outcome(check, SnapshotHost(answers))
        assert (replayed.status, len(replayed.findings)) == (live[check].status, len(live[check].findings)), check
    assert sum(made.status is Status.FOUND for made in live.values()) == 4


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (MISSING, 'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].'),
        (MISSING, "could not select device driver 'nvidia' with capabilities: [[gpu]]"),
        (RUNTIME, "docker: Error response from daemon: unknown or invalid runtime name: nvidia"),
        (RUNTIME, "docker: Error response from daemon: Unknown runtime specified nvidia."),
        (RUNTIME, 'Failed to create pod sandbox: no runtime for "nvidia" is configured'),
        (SNAP, "Server: Docker Root Dir: /var/snap/docker/common/var-lib-docker"),
        (DESKTOP, "failed to connect to the docker API at unix:///home/ada/.docker/desktop/docker.sock"),
        (CDI, "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all"),
        (CDI, "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0"),
        (CDI, "crun: cannot stat `/usr/lib64/libEGL_nvidia.so.525.116.04`: No such file or directory"),
        (CDI, 'error mounting "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14" to rootfs: no such file or directory'),
    ],
)
def test_what_users_see(check: str, message: str) -> None:
    load_plugins()
    assert any(re.search(pattern, message, re.IGNORECASE) for pattern in registry.checks[check].symptoms)
