"""Containers get the host's GPUs again: each repair on a whole machine, as it would be planned."""

from pathlib import Path

import pytest
from container_hosts import (
    CONTAINERD,
    DAEMON_JSON,
    DOCKER,
    DRIVER,
    HOST_CONFIG,
    NEW,
    NO_CGROUPS,
    OLD,
    TOOLKIT,
    cdi_yaml,
    container_host,
)
from disk_trees import disk

from gpudoctor import Manual, RemoveFile, Risk, Run, Step, WriteFile
from gpudoctor.diagnose import diagnose
from gpudoctor.host import Host
from gpudoctor.registry import Facts, registry
from gpudoctor.repair import make_plan

UBUNTU = {"/etc/os-release": "ID=ubuntu\nID_LIKE=debian\n", "/var/lib/dpkg/status": ""}
STATUS = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.39-0ubuntu8\n\n"
SYSTEM = {**UBUNTU, "/var/lib/dpkg/status": STATUS}
ASKING = {"/var/lib/docker/containers/0123456789abcdef/hostconfig.json": HOST_CONFIG}
FOR_RUNTIME = {path: text.replace('"runc"', '"nvidia"') for path, text in ASKING.items()}


FIXES = {
    "container.toolkit-missing": "install-container-toolkit",
    "container.runtime-not-configured": "configure-container-runtime",
    "container.no-cgroups": "let-containers-use-gpus",
    "container.docker-snap": "use-system-docker",
    "container.docker-desktop": "use-system-docker",
    "container.cdi-stale": "renew-cdi-specification",
}


def planned(host: Host, check: str) -> tuple[Step, ...]:
    facts = Facts(host)
    plan = make_plan(diagnose(facts, [registry.checks[check]]), registry.fixes.values(), facts)
    assert plan.unknown == ()
    assert [chosen.fix.id for chosen in plan.chosen] in ([], [FIXES[check]])
    return plan.steps


def typed(steps: tuple[Step, ...]) -> list[str]:
    return [str(step.action) for step in steps if step.phase > 0]


def test_the_toolkit_is_installed_and_docker_restarted(tmp_path: Path) -> None:
    steps = planned(container_host(tmp_path, SYSTEM, DOCKER, ASKING), "container.toolkit-missing")
    trial, package, restart = steps
    assert trial.changes_nothing
    assert str(package.action).endswith("install nvidia-container-toolkit")
    assert (str(restart.action), restart.risk) == ("systemctl restart docker", Risk.HIGH)
    assert "containers stop" in restart.why


def test_docker_alone_is_no_reason_to_install_anything(tmp_path: Path) -> None:
    assert planned(container_host(tmp_path, SYSTEM, DOCKER), "container.toolkit-missing") == ()


@pytest.mark.parametrize("text", ["", '{"log-driver": "json-file", "runtimes": {"runsc": {"path": "/usr/bin/runsc"}}}'])
def test_docker_is_told_of_the_runtime_and_its_containers_go_on(tmp_path: Path, text: str) -> None:
    written = {"/etc/docker/daemon.json": text} if text else {}
    host = container_host(tmp_path, DOCKER, TOOLKIT, FOR_RUNTIME, written)
    write, reload = planned(host, "container.runtime-not-configured")
    assert isinstance(write.action, WriteFile)
    assert '"path": "nvidia-container-runtime"' in write.action.text
    assert ("/usr/bin/runsc" in write.action.text) is bool(text)
    assert write.action.was == (text or None)
    assert (str(reload.action), reload.risk) == ("systemctl reload docker", Risk.LOW)


def test_what_is_written_for_docker_is_what_nvidia_ctk_writes(tmp_path: Path) -> None:
    text = '{\n    "log-driver": "json-file"\n}\n'
    host = container_host(tmp_path, DOCKER, TOOLKIT, FOR_RUNTIME, {"/etc/docker/daemon.json": text})
    action = planned(host, "container.runtime-not-configured")[0].action
    assert isinstance(action, WriteFile)
    assert action.text == DAEMON_JSON


def test_a_docker_that_could_not_start_is_started(tmp_path: Path) -> None:
    host = container_host(tmp_path, DOCKER, TOOLKIT, {"/etc/docker/daemon.json": '{"default-runtime": "nvidia"}'})
    assert typed(planned(host, "container.runtime-not-configured"))[-1] == "systemctl restart docker"


def test_on_a_mounted_disk_only_the_file_is_written(tmp_path: Path) -> None:
    wanted = {"/etc/systemd/system/multi-user.target.wants/docker.service": "-> /lib/systemd/system/docker.service"}
    files = {**DRIVER, **TOOLKIT, "/usr/bin/dockerd": "", "/etc/docker/daemon.json": '{"default-runtime": "nvidia"}'}
    left = {path: text for path, text in files.items() if not path.startswith(("/proc", "/dev", "/run"))}
    host = disk(
        tmp_path, {**left, **wanted, "/boot/vmlinuz-6.8.0-90-generic": "", "/lib/modules/6.8.0-90-generic/": ""}
    )
    assert typed(planned(host, "container.runtime-not-configured")) == ["change /etc/docker/daemon.json"]


def test_containerd_is_told_by_nvidias_own_command(tmp_path: Path) -> None:
    kubernetes = {
        "/usr/bin/kubelet": "",
        "/usr/bin/containerd": "",
        "/sys/fs/cgroup/system.slice/containerd.service/": "",
        "/etc/containerd/config.toml": CONTAINERD,
    }
    steps = planned(container_host(tmp_path, kubernetes, TOOLKIT), "container.runtime-not-configured")
    assert typed(steps) == ["nvidia-ctk runtime configure --runtime=containerd", "systemctl restart containerd"]
    assert steps[1].risk is Risk.MEDIUM


def test_k3s_is_left_to_its_owner(tmp_path: Path) -> None:
    own = {"/var/lib/rancher/k3s/agent/etc/containerd/config.toml": CONTAINERD}
    (step,) = planned(container_host(tmp_path, own, TOOLKIT), "container.runtime-not-configured")
    assert isinstance(step.action, Manual)
    assert "Restart k3s" in step.action.instruction


def test_podman_gets_a_specification_that_can_be_taken_away(tmp_path: Path) -> None:
    (step,) = planned(container_host(tmp_path, {"/usr/bin/podman": ""}, TOOLKIT), "container.runtime-not-configured")
    assert str(step.action) == "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    assert step.undo == Run(("unlink", "/etc/cdi/nvidia.yaml"))


def test_containers_are_allowed_their_gpus(tmp_path: Path) -> None:
    set_so = {"/etc/nvidia-container-runtime/config.toml": NO_CGROUPS}
    change, again = planned(container_host(tmp_path, DOCKER, TOOLKIT, set_so), "container.no-cgroups")
    setting = "nvidia-ctk config --in-place --set nvidia-container-cli.no-cgroups"
    assert (str(change.action), str(change.undo)) == (f"{setting}=false", f"{setting}=true")
    assert isinstance(again.action, Manual)


@pytest.mark.parametrize("check", ["container.docker-snap", "container.docker-desktop"])
def test_another_docker_is_its_owners_choice(tmp_path: Path, check: str) -> None:
    desktop = {"/opt/docker-desktop/": "", "/home/ada/.docker/config.json": '{"currentContext": "desktop-linux"}'}
    (step,) = planned(container_host(tmp_path, TOOLKIT, desktop, {"/snap/docker/current/": ""}), check)
    assert isinstance(step.action, Manual)


UNIT = {"/etc/systemd/system/nvidia-cdi-refresh.path": ""}


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"/etc/cdi/nvidia.yaml": cdi_yaml(OLD)}, "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
        ({"/run/cdi/nvidia.yaml": cdi_yaml(OLD)}, "nvidia-ctk cdi generate --output=/run/cdi/nvidia.yaml"),
        ({"/run/cdi/nvidia.yaml": cdi_yaml(OLD), **UNIT}, "systemctl restart nvidia-cdi-refresh.service"),
    ],
)
def test_a_stale_specification_is_written_anew(tmp_path: Path, files: dict[str, str], command: str) -> None:
    (step,) = planned(container_host(tmp_path, TOOLKIT, files), "container.cdi-stale")
    assert (str(step.action), step.derives) == (command, True)
    assert str(step.verify).startswith(f"grep -qF libcuda.so.{NEW} /")


def test_beside_one_that_counts_the_stale_one_is_deleted(tmp_path: Path) -> None:
    files = {
        "/etc/cdi/nvidia.yaml": cdi_yaml(OLD),
        "/etc/cdi/other.yaml": cdi_yaml(OLD, "7"),
        "/run/cdi/nvidia.yaml": cdi_yaml(NEW),
    }
    steps = planned(container_host(tmp_path, TOOLKIT, files), "container.cdi-stale")
    assert {type(step.action): str(step.action) for step in steps} == {
        RemoveFile: "remove /etc/cdi/nvidia.yaml",
        Run: "nvidia-ctk cdi generate --output=/etc/cdi/other.yaml",
    }


def test_before_the_restart_nothing_can_be_written_from_the_driver(tmp_path: Path) -> None:
    before = {"/proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {OLD}  Tue\n"}
    host = container_host(tmp_path, TOOLKIT, before, {"/etc/cdi/nvidia.yaml": cdi_yaml(OLD)})
    (step,) = planned(host, "container.cdi-stale")
    assert isinstance(step.action, Manual)
    assert step.action.instruction.startswith("After the next start: write it anew")


def test_which_of_two_is_meant_only_a_person_knows(tmp_path: Path) -> None:
    files = {"/etc/cdi/a.yaml": cdi_yaml(NEW), "/etc/cdi/b.yaml": cdi_yaml(NEW)}
    (step,) = planned(container_host(tmp_path, TOOLKIT, files), "container.cdi-stale")
    assert isinstance(step.action, Manual)
