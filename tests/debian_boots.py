"""A Debian root booted for real, in QEMU without the help of a processor's virtualisation: `uname -r` is Debian's.

The virtual machine has no GPU: its files are laid over the PCI bus as it starts. Its driver is the stand-in, which is
really loaded.
"""

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from debian_machines import ADDRESS
from debian_roots import PATH, Done, Root

_BUS = "/sys/bus/pci/devices"
_MARK = "@@@"
# What the first process does: it starts what the questions need, asks them, and switches the machine off.
_STARTED = f"""
export PATH={PATH} HOME=/root LC_ALL=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive
# Speaks for the GPU as long as the driver is loaded.
export FAKE_GPU_FILE=/proc/driver/nvidia/stand-in
mount -o remount,rw /
hostname gpubox
mount -t tmpfs tmpfs {_BUS}
mkdir -p {_BUS}/{ADDRESS}/power
printf 'PCI_CLASS=30200\\nPCI_ID=10DE:20B2\\n' > {_BUS}/{ADDRESS}/uevent
printf '0xc0000000 0xc0ffffff 0x40200\\n0x2000000000 0x3fffffffff 0x14220c\\n' > {_BUS}/{ADDRESS}/resource
printf '\\336\\020\\262\\040' > {_BUS}/{ADDRESS}/config
echo active > {_BUS}/{ADDRESS}/power/runtime_status
ask() {{
    name=$1
    shift
    "$@" > /var/log/answer 2>&1
    code=$?
    echo "{_MARK}begin $name"
    cat /var/log/answer
    echo "{_MARK}end $name $code"
}}
"""
_SWITCHED_OFF = f"""sync
echo "{_MARK}done"
echo o > /proc/sysrq-trigger
sleep 60
"""


class Boot(NamedTuple):
    """What a virtual machine said between its start and its end."""

    answers: Mapping[str, Done]  # by the name of the question
    log: str  # all that came over the serial line


def need_virtual_machines() -> None:
    missing = [name for name in ("qemu-system-x86_64", "mke2fs") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def make_disk(root: Root, disk: Path) -> None:
    """The root as a disk, as it is now; of what apt has in its cache, what is in the root itself."""
    root.write("/etc/fstab", "/dev/vda / ext4 rw 0 1\n")
    words = ("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root.path), str(disk), "4G")
    subprocess.run(words, check=True, capture_output=True)


def boot(root: Root, disk: Path, kernel: str, questions: Mapping[str, Sequence[str]], timeout: float = 600) -> Boot:
    """Boot the disk with a kernel of the root, and run these commands in it, one after the other."""
    asked = "".join(f"ask {name} {shlex.join(argv)}\n" for name, argv in questions.items())
    # A second disk that is a script: what is on the first is left to the kernels that are booted.
    script = disk.with_suffix(".sh")
    text = _STARTED + asked + _SWITCHED_OFF
    script.write_text(text + "\n" * (-len(text) % 512), encoding="ascii")
    line = "root=/dev/vda rw console=ttyS0 quiet loglevel=1 panic=-1 init=/bin/sh -- /dev/vdb"
    # /dev/kvm may be there and never answer.
    machine = ("-accel", "tcg,thread=multi", "-smp", "2", "-m", "2048", "-nographic", "-no-reboot", "-nic", "none")
    kernel_files = ("-kernel", f"{root.path}/boot/vmlinuz-{kernel}", "-initrd", f"{root.path}/boot/initrd.img-{kernel}")
    drives = (f"file={disk},if=virtio,format=raw,cache=unsafe", f"file={script},if=virtio,format=raw,readonly=on")
    serial = disk.with_suffix(".log")
    words = ("qemu-system-x86_64", *machine, *kernel_files, "-append", line)
    words += tuple(word for drive in drives for word in ("-drive", drive))
    with serial.open("wb") as file:
        try:
            subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, timeout=timeout, check=False
            )
            ended = "it did not come to its end"
        except subprocess.TimeoutExpired:
            ended = f"no end in {timeout} s"
    log = serial.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    assert f"{_MARK}done" in log, f"{ended}:\n{log[-5000:]}"
    return Boot(dict(_answers(log)), log)


def _answers(log: str) -> list[tuple[str, Done]]:
    found = []
    for part in log.split(f"{_MARK}begin ")[1:]:
        name, _, rest = part.partition("\n")
        text, _, end = rest.partition(f"{_MARK}end {name} ")
        found.append((name, Done(int(end.split()[0]), text)))
    return found
