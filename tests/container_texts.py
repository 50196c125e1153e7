# ruff: noqa: E501, W291 (the lines are as the kernel writes them)
"""What /proc says inside of containers, as their engines leave it: mounts and control groups of versions 1 and 2."""

ID = "1f1d6e2d4940ddac13abd421a2617992bf89f0e0f9a902ed58278c5f843e9ae7"
POD = "kubepods-podf57400dc_94ce_4806_a52e_d2726f448f15.slice"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
DRIVER = "580.95.05"


def handed_in(version: str = DRIVER, *names: str) -> str:
    """NVIDIA's toolkit mounts the host's driver, one file after the other, and a /proc/driver/nvidia of its own."""
    lines = ["420 401 0:101 / /proc/driver/nvidia rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=555,inode64"]
    lines += [
        f"{430 + number} 400 259:2 {LIBRARIES}/{name}.so.{version} {LIBRARIES}/{name}.so.{version} "
        "ro,nosuid,nodev,relatime - ext4 /dev/nvme0n1p2 rw,errors=remount-ro"
        for number, name in enumerate(names or ("libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler"))
    ]
    lines.append(
        "440 402 0:6 /nvidiactl /dev/nvidiactl ro,nosuid,noexec,relatime - devtmpfs udev rw,size=65536k,mode=755"
    )
    return "".join(f"{line}\n" for line in lines)


# docker, control groups of version 2, made by systemd, in a namespace of their own.
DOCKER = f"""\
400 365 0:90 / / rw,relatime master:52 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/DX6:/var/lib/docker/overlay2/l/T6V,upperdir=/var/lib/docker/overlay2/ec8a/diff,workdir=/var/lib/docker/overlay2/ec8a/work
401 400 0:95 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
402 400 0:96 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755,inode64
403 402 0:97 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
404 400 0:98 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
405 404 0:25 /../docker-{ID}.scope /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot
406 402 0:94 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
407 402 0:99 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k,inode64
408 400 259:2 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
409 400 259:2 /home/ada/my\\040data /data rw,relatime - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
366 401 0:95 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
"""

# docker, version 1, made by docker itself (cgroupfs).
DOCKER_V1 = """\
457 400 0:66 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B
458 457 0:67 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
459 457 0:68 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
460 459 0:69 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
461 460 0:28 /docker/6d91f91404d6 /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,xattr,name=systemd
462 460 0:30 /docker/6d91f91404d6 /sys/fs/cgroup/devices ro,nosuid,nodev,noexec,relatime master:14 - cgroup cgroup rw,devices
468 457 0:45 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=1048576k
"""

# podman with SELinux, version 2.
PODMAN = """\
1345 1294 0:86 / / rw,relatime - overlay overlay rw,context="system_u:object_r:container_file_t:s0:c98,c684",lowerdir=/var/lib/containers/storage/overlay/l/S7,upperdir=/var/lib/containers/storage/overlay/f2d0/diff,volatile
1346 1345 0:96 / /sys rw,nosuid,nodev,noexec,relatime - sysfs sysfs rw,seclabel
1348 1345 0:97 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1349 1345 0:99 / /dev rw,nosuid - tmpfs tmpfs rw,context="system_u:object_r:container_file_t:s0:c98,c684",size=65536k,mode=755,inode64
1361 1349 0:85 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,context="system_u:object_r:container_file_t:s0:c98,c684",size=64000k,inode64
1363 1346 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,seclabel,nsdelegate,memory_recursiveprot
"""

# Kubernetes with containerd, version 1, made by systemd; and an emptyDir in memory at /dev/shm.
KUBERNETES_V1 = f"""\
2317 1900 0:260 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/41/fs
2318 2317 0:261 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
2323 2320 0:263 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
2329 2323 0:31 /kubepods.slice/{POD}/cri-containerd-{ID}.scope /sys/fs/cgroup/devices ro,nosuid,nodev,noexec,relatime master:14 - cgroup cgroup rw,devices
2340 2319 0:195 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
2341 2319 0:196 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=527950552k
1534 1518 0:194 / /run/secrets/kubernetes.io/serviceaccount ro,relatime - tmpfs tmpfs rw,size=5925720k
"""

# Kubernetes with CRI-O, version 2.
CRIO = """\
1517 1400 0:190 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containers/storage/overlay/l/AB
1518 1517 0:191 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1530 1520 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
1539 1519 0:195 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
"""

# Each pod's; on a node whose /var/lib/kubelet is a disk of its own, the path begins behind it.
HOSTS = "1535 1517 8:1 /var/lib/kubelet/pods/28478e30-384f-41e5-9d85-eae249ae8506/etc-hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n"

# A cloud's own device plugin mounts the folder of the driver.
FOLDER = "1541 1517 8:1 /var/lib/nvidia /usr/local/nvidia ro,relatime - ext4 /dev/sda1 rw\n"

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            1048576              1048576              files     
Max locked memory         {soft:<20} {hard:<20} bytes     
Max address space         unlimited            unlimited            bytes     
"""


def limits(soft: str, hard: str = "unlimited") -> str:
    """/proc/self/limits."""
    return LIMITS.format(soft=soft, hard=hard)


def status(capabilities: str, user: int = 0) -> str:
    """/proc/self/status of a process with these effective capabilities."""
    return (
        f"Name:\tpython3\nUid:\t{user}\t{user}\t{user}\t{user}\nGid:\t0\t0\t0\t0\nGroups:\t\nCapEff:\t{capabilities}\n"
    )


USUAL_RIGHTS = "00000000a80425fb"  # of root in a container of docker
PRIVILEGED = "000001ffffffffff"
