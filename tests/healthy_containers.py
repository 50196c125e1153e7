"""Healthy containers on GPU servers, and nodes whose driver came in a container."""

from collections.abc import Sequence
from pathlib import Path

from family_machines import Files
from healthy_debian import GCC_13, JAMMY, NOBLE, NOBLE_GCC
from healthy_machines import EIGHT, H200, T4, UBUNTU_CORE, Card, Running, answers, bus, listed, nodes, running
from healthy_parts import MULTIARCH, kernel, libraries, loaded, system
from healthy_servers import SERVER

from gpudoctor.host import Completed

HOST_KERNEL = "6.8.0-1041-nvidia"
REFUSED_DMESG = Completed(("dmesg",), 1, "", "dmesg: read kernel buffer failed: Operation not permitted\n")


def container_files(user: int, version: str = "570.195.03") -> Files:
    """What docker shows of a server with eight H200 and its NVSwitches: the host's kernel, modules and bus."""
    files = system(JAMMY, HOST_KERNEL, NOBLE_GCC, user=user)
    files |= loaded(version, compiler="gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)", uvm=504)
    files["/proc/driver/nvidia/params"] = (
        "ModifyDeviceFiles: 0\nDeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 438\n"
    )
    del files["/dev/kmsg"], files["/boot/"]
    files |= bus(H200, nvswitches=4, others={"0000:c0:00.0": ("20000", "15B3:1021", "mlx5_core")})
    return files | {"/.dockerenv": "", "/proc/self/cgroup": "0::/\n", "/usr/bin/dmesg": ""}


IMAGE = {
    "cuda-cudart-12-8": "12.8.90-1",
    "cuda-compat-12-8": "570.172.08-0ubuntu1",
    "cuda-keyring:all": "1.1-1",
    "libnccl2": "2.25.1-1+cuda12.8",
    "libcudnn9-cuda-12": "9.8.0.87-1",
    "gcc-11": "11.4.0-1ubuntu1~22.04",
    "linux-libc-dev": "5.15.0-160.170",
}
COMPATIBLE = "/usr/local/cuda-12.8/compat"


def h200_container(folder: Path, user: int) -> Running:
    """`docker run --gpus '"device=3"'` of an image of NVIDIA's: libraries mounted where the image keeps its own."""
    version = "570.195.03"
    files = container_files(user) | libraries(version)
    files[f"{COMPATIBLE}/libcuda.so.570.172.08"] = ""
    files[f"{COMPATIBLE}/libcuda.so.1"] = "-> libcuda.so.570.172.08"
    said = answers(H200, version, MULTIARCH, cuda=12080)
    packages = listed(IMAGE, {"": "cudatools <cudatools@nvidia.com>", "gcc": UBUNTU_CORE, "linux": UBUNTU_CORE})
    return running(
        *(folder, files),
        packages=packages,
        cards=H200,
        said=said,
        more_nodes=nodes([3], uvm=504),
        minors=(),
        commands={("dmesg",): REFUSED_DMESG},
        user=user,
    )


def h200_pod(folder: Path, user: int) -> Running:
    """Kubernetes on a cloud whose own plugin mounts the driver at /usr/local/nvidia; a slim image without packages."""
    version = "580.95.05"
    files = container_files(user, version) | libraries(version, "/usr/local/nvidia/lib64", cached=[])
    del files["/.dockerenv"]
    files |= {"/var/run": "-> /run", "/run/secrets/kubernetes.io/serviceaccount/namespace": "default"}
    said = answers(H200, version, "/usr/local/nvidia/lib64")
    return running(
        *(folder, files),
        manager="",
        cards=H200,
        said=said,
        more_nodes=nodes([3], uvm=504),
        minors=(),
        user=user,
    )


def h200_unmarked_container(folder: Path, user: int) -> Running:
    """containerd leaves no file behind that says so: only the mounts tell."""
    version = "580.95.05"
    files = container_files(user, version) | libraries(version)
    del files["/.dockerenv"]
    layers = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
    files["/proc/self/mountinfo"] = (
        f"2145 1876 0:312 / / rw,relatime - overlay overlay rw,lowerdir={layers}/41/fs:{layers}/40/fs,"
        f"upperdir={layers}/52/fs,workdir={layers}/52/work\n"
        "2146 2145 0:314 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
        f"2201 2145 259:1 {MULTIARCH}/libcuda.so.{version} {MULTIARCH}/libcuda.so.{version} ro - ext4 /dev/root ro\n"
    )
    said = answers(H200, version, MULTIARCH)
    packages = listed(IMAGE, {"": UBUNTU_CORE})
    there = nodes([3], uvm=504)
    return running(folder, files, packages=packages, cards=H200, said=said, minors=(), more_nodes=there, user=user)


def gvisor_container(folder: Path, user: int) -> Running:
    """A sandbox with a kernel of its own: no bus, no modules; the driver is reached through the nodes alone."""
    version = "580.95.05"
    files = system(JAMMY, "4.4.0", "gcc", user=user) | libraries(version)
    files |= {"/proc/version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n", "/proc/modules": ""}
    files |= {"/proc/devices": "Character devices:\n  1 mem\n195 nvidia-frontend\n\nBlock devices:\n"}
    del files["/sys/bus/pci/devices/"], files["/dev/kmsg"], files["/boot/"], files["/sys/kernel/security/lockdown"]
    said = answers(H200, version, MULTIARCH)
    packages = listed(IMAGE, {"": UBUNTU_CORE})
    printed = "[    0.000000] Starting gVisor...\n[    0.354495] Daemonizing children...\n[    4.3] Ready!\n"
    commands = {("dmesg",): Completed(("dmesg",), 0, printed, "")}
    there = nodes([3], uvm=504)
    return running(folder, files, packages=packages, said=said, more_nodes=there, commands=commands, user=user)


def container_without_gpu(folder: Path, user: int) -> Running:
    """The same server, `docker run` without --gpus: not healthy, and there is one thing to be said."""
    files = container_files(user)
    missing = "cannot open shared object file: No such file or directory"
    said: dict[str, dict[str, object]] = {
        "nvml": {
            "return_code": 12,
            "return_name": "NVML_ERROR_LIBRARY_NOT_FOUND",
            "message": "NVML Shared Library Not Found",
            "error": f"libnvidia-ml.so.1: {missing}",
            "gpus": [],
        },
        "cuda": {"return_code": None, "return_name": None, "message": None, "error": f"libcuda.so.1: {missing}"},
        "processes": {"holders": [], "deleted_libraries": [], "unreadable": 0},
    }
    packages = listed({"gcc-11": "11.4.0-1ubuntu1~22.04"}, {"": UBUNTU_CORE})
    return running(folder, files, packages=packages, cards=H200, said=said, minors=(), user=user)


def _no_libraries(cards: Sequence[Card], version: str) -> dict[str, dict[str, object]]:
    """What programs of the host get to hear where the driver is there for containers."""
    said = answers(cards, version, MULTIARCH)
    said["nvml"] |= {"return_code": 12, "return_name": "NVML_ERROR_LIBRARY_NOT_FOUND", "library_path": None, "gpus": []}
    said["cuda"] |= {"return_code": None, "return_name": None, "library_path": None, "device_count": None}
    said["cuda"] |= {"error": "libcuda.so.1: cannot open shared object file: No such file or directory"}
    return said


def operator_node(folder: Path, user: int) -> Running:
    """A node of Kubernetes whose driver the GPU operator brought in a container: none of it is installed here."""
    version, root = "580.95.05", "/run/nvidia/driver"
    files = system(NOBLE, SERVER, NOBLE_GCC, user=user) | kernel(SERVER, headers="")
    files |= loaded(version, compiler=GCC_13) | bus(EIGHT, nvswitches=4)
    for name in ("libcuda", "libnvidia-ml"):
        files[f"{root}{MULTIARCH}/{name}.so.{version}"] = ""
        files[f"{root}{MULTIARCH}/{name}.so.1"] = f"-> {name}.so.{version}"
    files |= {f"{root}/usr/bin/nvidia-smi": "", "/run/nvidia/validations/driver-ready": ""}
    files |= {f"{root}/lib/firmware/nvidia/{version}/gsp_ga10x.bin": ""}
    said = _no_libraries(EIGHT, version)
    packages = listed({f"linux-image-{SERVER}": "6.8.0-87.88", "linux-image-generic": "6.8.0-87.88"}, {"": UBUNTU_CORE})
    return running(folder, files, packages=packages, cards=EIGHT, said=said, user=user)


def gke_node(folder: Path, user: int) -> Running:
    """Container-Optimized OS as a node of GKE: its installer put the driver where only containers look for it."""
    release, version, root = "6.6.87+", "580.95.05", "/home/kubernetes/bin/nvidia"
    name = 'ID=cos\nVERSION_ID=121\nPRETTY_NAME="Container-Optimized OS from Google"\n'
    files = system(name, release, "Chromium OS 17.0_pre498229-r33 clang version 17.0.0", user=user)
    files |= loaded(version, compiler="clang version 17.0.0") | bus([T4])
    files[f"/lib/modules/{release}/modules.dep"] = "kernel/fs/fuse/fuse.ko:\n"
    for library in ("libcuda", "libnvidia-ml"):
        files[f"{root}/lib64/{library}.so.{version}"] = ""
        files[f"{root}/lib64/{library}.so.1"] = f"-> {library}.so.{version}"
    files |= {f"{root}/bin/nvidia-smi": "", f"{root}/drivers/nvidia.ko": "", "/usr/bin/containerd": ""}
    files["/etc/containerd/config.toml"] = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n'
    files["/home/kubernetes/bin/kubelet"] = ""
    return running(folder, files, manager="", cards=[T4], said=_no_libraries([T4], version), user=user)
