"""Files of machines that start containers, as the engines, NVIDIA's toolkit and Kubernetes write them."""

from collections.abc import Mapping
from pathlib import Path

from disk_trees import disk
from healthy_parts import libraries as library_files

from gpudoctor.diagnose import run_check
from gpudoctor.findings import Finding, Outcome, Severity, Status
from gpudoctor.host import Host
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.testing import MachineTree

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
OLD, NEW = "580.82.07", "580.95.05"

DAEMON_JSON = """{
    "log-driver": "json-file",
    "runtimes": {
        "nvidia": {
            "args": [],
            "path": "nvidia-container-runtime"
        }
    }
}
"""

# `containerd config default` of 1.7, shortened, and what `nvidia-ctk runtime configure --runtime=containerd` adds.
CONTAINERD = """disabled_plugins = []
imports = ["/etc/containerd/conf.d/*.toml"]
oom_score = 0
root = "/var/lib/containerd"
version = 2

[debug]
  address = ""
  level = ""

[plugins]

  [plugins."io.containerd.grpc.v1.cri"]
    cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]
    enable_cdi = false
    sandbox_image = "registry.k8s.io/pause:3.8"

    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"

          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            BinaryName = ""
            SystemdCgroup = true # kubelet's

    [plugins."io.containerd.grpc.v1.cri".registry.configs."registry.example.com".auth]
      username = "ada"
      password = "secret-word"
"""
NVIDIA_OF_CONTAINERD = """
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
          privileged_without_host_devices = false
          runtime_engine = ""
          runtime_root = ""
          runtime_type = "io.containerd.runc.v2"

          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
            BinaryName = "/usr/bin/nvidia-container-runtime"
            SystemdCgroup = true
"""
# What the toolkit drops into /etc/containerd/conf.d beside containerd 2.
DROP_IN = """version = 3

[plugins]

  [plugins.'io.containerd.cri.v1.runtime']

    [plugins.'io.containerd.cri.v1.runtime'.containerd]

      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes]

        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]
          runtime_type = 'io.containerd.runc.v2'

          [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
            BinaryName = '/usr/bin/nvidia-container-runtime'
"""
CRIO = """[crio]

  [crio.runtime]
    default_runtime = "nvidia"

    [crio.runtime.runtimes]

      [crio.runtime.runtimes.nvidia]
        runtime_path = "/usr/bin/nvidia-container-runtime"
        runtime_type = "oci"
"""
TOOLKIT_TOML = """#accept-nvidia-visible-devices-as-volume-mounts = false
disable-require = false
supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"

[nvidia-container-cli]
environment = []
#ldcache = "/etc/ld.so.cache"
ldconfig = "@/sbin/ldconfig.real"
load-kmods = true
#no-cgroups = false

[nvidia-container-runtime]
log-level = "info"
mode = "auto"
runtimes = ["runc", "crun"]

[nvidia-container-runtime.modes.cdi]
annotation-prefixes = ["cdi.k8s.io/"]
spec-dirs = ["/etc/cdi", "/var/run/cdi"]
"""
NO_CGROUPS = TOOLKIT_TOML.replace("#no-cgroups = false", "no-cgroups = true")
HOST_CONFIG = (
    '{"Binds":["/home/ada/secret:/data"],"NetworkMode":"bridge","Runtime":"runc","Privileged":false,'
    '"DeviceRequests":[{"Driver":"","Count":-1,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":{}}]}'
)


def cdi_yaml(version: str, *devices: str) -> str:
    """What `nvidia-ctk cdi generate` writes, shortened."""
    entries = "".join(
        f"""  - name: "{device}"
    containerEdits:
      deviceNodes:
      - path: /dev/nvidia0
      - path: /dev/dri/card1
"""
        for device in devices or ("0", "GPU-5f7a3a0e-1111-2222-3333-444455556666", "all")
    )
    return f"""---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
{entries}containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  deviceNodes:
  - path: /dev/nvidia-modeset
  - path: /dev/nvidia-uvm
  - path: /dev/nvidiactl
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args:
    - nvidia-cdi-hook
    - create-symlinks
    - --link
    - libcuda.so.1::{LIBRARIES}/libcuda.so
  mounts:
  - hostPath: {LIBRARIES}/libcuda.so.{version}
    containerPath: {LIBRARIES}/libcuda.so.{version}
    options:
    - ro
    - nosuid
    - rbind
  - hostPath: {LIBRARIES}/libnvidia-ml.so.{version}
    containerPath: {LIBRARIES}/libnvidia-ml.so.{version}
"""


def cdi_json(version: str) -> str:
    """The same as a device plugin of Kubernetes writes it, whose driver lies in a container."""
    return (
        '{"cdiVersion":"0.5.0","kind":"k8s.device-plugin.nvidia.com/gpu","devices":[{"name":"0","containerEdits":'
        '{"deviceNodes":[{"path":"/dev/nvidia0","hostPath":"/run/nvidia/driver/dev/nvidia0"}]}}],"containerEdits":'
        '{"hooks":[{"hookName":"createContainer","path":"/usr/local/nvidia/toolkit/nvidia-cdi-hook","args":["x"]}],'
        f'"mounts":[{{"hostPath":"/run/nvidia/driver{LIBRARIES}/libcuda.so.{version}",'
        f'"containerPath":"{LIBRARIES}/libcuda.so.{version}"}}]}}}}'
    )


TOOLKIT = {
    "/usr/bin/nvidia-ctk": "",
    "/usr/bin/nvidia-cdi-hook": "",
    "/usr/bin/nvidia-container-runtime": "",
    "/usr/bin/nvidia-container-runtime-hook": "",
    "/etc/nvidia-container-runtime/config.toml": TOOLKIT_TOML,
}
DOCKER = {"/usr/bin/dockerd": "", "/sys/fs/cgroup/system.slice/docker.service/": ""}
DRIVER: Mapping[str, str | bytes] = {
    **library_files(NEW),
    "/proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {NEW}  Tue Sep 23\n",
    "/proc/sys/kernel/osrelease": "6.8.0-90-generic\n",
    "/proc/self/environ": "HOME=/home/ada\0",
    "/proc/self/cgroup": "0::/user.slice\n",
    "/proc/self/mountinfo": "",
    "/dev/nvidia0": "",
    "/dev/nvidiactl": "",
    "/dev/dri/card1": "",
    "/run/": "",
}


def container_host(folder: Path, *parts: Mapping[str, str | bytes]) -> MachineTree:
    """A running machine with a driver and these files."""
    files: dict[str, str | bytes] = dict(DRIVER)
    for part in parts:
        files |= part
    disk(folder, files)
    return MachineTree(str(folder))


def outcome(check: str, host: Host, *known: object) -> Outcome:
    """What becomes of a check on this machine, with these facts in place of its own."""
    load_plugins()
    made = run_check(registry.checks[check], Facts(host, {type(one): one for one in known}))
    assert made.status is not Status.CRASHED, made.reason
    return made


def only(check: str, host: Host) -> tuple[Finding, Severity]:
    """The only thing that it finds, and how bad that is."""
    (finding,) = outcome(check, host).findings
    assert finding.evidence
    assert finding.remedy
    return finding, finding.severity or registry.checks[check].severity
