"""A running machine full of secrets: in every kind of place that the doctor reads, each in the form it has there."""

import base64
import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import elf_files
from healthy_parts import ld_cache
from live_machines import KERNEL, NEW, OLD, debian
from python_trees import site_of, torch_wheel, venv

from gpudoctor.host import Completed, FileStatus, Host, ProbeAnswer
from gpudoctor.testing import MachineTree

PERSON, COLLEAGUE, FULL_NAME = "rosalind", "jocelyn.bell", "Rosalind Elsie Franklin"
MACHINE, DOMAIN = "rotkehlchen-07", "lab.zugvogel.example"
UUID = "GPU-6f1b2c3d-9a8b-4c7d-8e9f-0a1b2c3d4e5f"
MIG = "MIG-1a2b3c4d-5e6f-4a1b-9c8d-7e6f5a4b3c2d"
DISK_UUID = "c0ffee12-3456-4789-abcd-ef0123456789"
MACHINE_ID = "4f6d2e8a1b3c5d7e9f0a2b4c6d8e0f1a"
SERIAL, DISK_SERIAL = "1324921087745", "S64DNX0R512877K"
IPV4, IPV6, MAC = "10.83.17.42", "2a02:810d:9c40:1b2c::5e7", "d8:5e:d3:2a:91:7c"
MAIL = "r.franklin@zugvogel.example"
TOKENS = {
    "HF_TOKEN": "hf_QwErTyUiOpAsDfGhJkLzXc",
    "WANDB_API_KEY": "9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a3f2e1d0c",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCY",
    "AWS_ACCESS_KEY_ID": "AKIAZ7QX3M5N8P2R4T6V",
    "MYSQL_PASSWORD": "Doppel-Helix51",
    "CLIENT_SECRET": "Photo-51-b-form",
}
PROXY_PASSWORD, INDEX_PASSWORD = "Kings1952College", "B1rkbeck&Tmv"

SECRETS = (
    *(
        PERSON,
        COLLEAGUE,
        FULL_NAME,
        "Franklin",
        MACHINE,
        DOMAIN,
        MACHINE_ID,
        SERIAL,
        DISK_SERIAL,
        IPV4,
        IPV6,
        MAC,
        MAIL,
    ),
    *(UUID.removeprefix("GPU-"), MIG.removeprefix("MIG-"), DISK_UUID),
    *(*TOKENS.values(), PROXY_PASSWORD, INDEX_PASSWORD),
)
# What looks like a secret, and is what the checks judge by.
INNOCENT = ("9.10.2.21", "12.4.5.8", "0000:07:00.0", "535.309.01", "lists.alioth.debian.org")

HOME = f"/home/{PERSON}"
VENV = f"{HOME}/train/.venv"


def _gpu() -> dict[str, object]:
    return {
        "number": 0,
        "return_code": 0,
        "return_name": "NVML_SUCCESS",
        "name": "NVIDIA A100-SXM4-80GB",
        "uuid": UUID,
        "serial": SERIAL,
        "pci_address": "0000:07:00.0",
        "memory_total_bytes": 80 << 30,
        "compute_capability": [8, 0],
        "mig_devices": [{"uuid": MIG}],
        "errors": {"persistence_mode": f"said on {MACHINE}"},
    }


class Answering(MachineTree):
    """Its driver answers."""

    def probe(self, names: Sequence[str]) -> Mapping[str, ProbeAnswer]:
        process = {"pid": 4711, "user_id": 1001, "command": f"{PERSON}-train"}
        answers: dict[str, dict[str, object]] = {
            "nvml": {
                "return_code": 0,
                "return_name": "NVML_SUCCESS",
                "message": f"asked by {PERSON}@{MACHINE}.{DOMAIN}",
                "library_path": f"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{OLD}",
                "driver_version": OLD,
                "cuda_driver_version": 12020,
                "gpus": [_gpu()],
            },
            "cuda": {
                "return_code": 0,
                "driver_version": 12020,
                "device_count": 1,
                "library_path": f"{HOME}/libcuda.so.1",
            },
            "processes": {
                "holders": [{**process, "devices": ["/dev/nvidia0"], "python": VENV}],
                "deleted_libraries": [{**process, "paths": [f"{HOME}/old/libcuda.so.{OLD}"]}],
                "unreadable": 0,
            },
        }
        return {name: ProbeAnswer(answers[name], "") for name in names}


def machine_full_of_secrets(folder: Path) -> Host:
    """A machine with a newer driver on disk than in memory, on which somebody trains."""
    site = site_of(VENV)
    cublas, cudnn = f"{site}/nvidia_cublas_cu12-12.4.5.8.dist-info", f"{site}/nvidia_cudnn_cu12-9.10.2.21.dist-info"
    environ = {
        "HOME": HOME,
        "USER": PERSON,
        "PATH": f"{VENV}/bin:/usr/bin",
        "VIRTUAL_ENV": VENV,
        "LD_LIBRARY_PATH": f"/scratch/{PERSON}/lib",
        "CUDA_VISIBLE_DEVICES": f"{UUID},{MIG}",
        "UV_INDEX_URL": f"https://{PERSON}:{INDEX_PASSWORD}@pypi.{DOMAIN}/simple",
        "UV_DEFAULT_INDEX": f"https://pypi.{DOMAIN}/simple",
        "TF_CONFIG": f'{{"cluster": {{"worker": ["{IPV4}:2222", "{MACHINE}.{DOMAIN}:2222", "[{IPV6}]:2222"]}}}}',
        "NCCL_SOCKET_IFNAME": f"enx{MAC.replace(':', '')}",
        "https_proxy": f"http://proxy:{PROXY_PASSWORD}@{IPV4}:3128",
        **TOKENS,
    }
    history = (
        "Start-Date: 2026-11-22  22:06:40\n"
        f"Commandline: apt-get -o Acquire::http::Proxy=http://proxy:{PROXY_PASSWORD}@{IPV4}:3128 "
        f"install ./{PERSON}.deb\n"
        f"Requested-By: {PERSON} (1001)\nUpgrade: libcuda1:amd64 ({OLD}-1, {NEW}-0+deb12u1)\n"
        "End-Date: 2026-11-22  22:08:01\n\n"
    )
    secret_lines = (
        f"export HF_TOKEN={TOKENS['HF_TOKEN']}\nexport CUDA_HOME=/usr/local/cuda # {MAIL}\n"
        f"export NVIDIA_NOTE='{PERSON}@{MACHINE} {IPV4} {MAC}'\n"
        f"export CUDA_CACHE_PATH=/scratch/{PERSON}/{TOKENS['CLIENT_SECRET']}\n"
    )
    extra: dict[str, str | bytes] = {
        "/proc/sys/kernel/hostname": f"{MACHINE}\n",
        "/etc/hostname": f"{MACHINE}.{DOMAIN}\n",
        "/etc/resolv.conf": f"search {DOMAIN}\nnameserver {IPV4}\n",
        "/etc/machine-id": f"{MACHINE_ID}\n",
        "/sys/class/dmi/id/product_serial": f"{DISK_SERIAL}\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
        f"{PERSON}:x:1001:1001:{FULL_NAME},,,:{HOME}:/bin/bash\n{COLLEAGUE}:x:1002:1002::/home/{COLLEAGUE}:/bin/sh\n",
        "/etc/group": f"video:x:44:{PERSON},{COLLEAGUE}\n{PERSON}:x:1001:\n",
        "/proc/self/environ": "\0".join(f"{name}={value}" for name, value in environ.items()) + "\0",
        "/proc/self/cmdline": f"{VENV}/bin/python\0--password={TOKENS['MYSQL_PASSWORD']}\0",
        "/proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{KERNEL} root=UUID={DISK_UUID} "
        f"ip={IPV4}:::::enx{MAC.replace(':', '')} "
        f"resume=/dev/disk/by-id/nvme-Samsung_{DISK_SERIAL} rd.lvm.lv={MACHINE.replace('-', '--')}-vg/root quiet\n",
        "/proc/version": f"Linux version {KERNEL} ({PERSON}@{MACHINE}) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP\n",
        "/proc/self/mountinfo": f"30 1 8:1 / / rw - ext4 /dev/mapper/{MACHINE.replace('-', '--')}--vg-root rw\n"
        f"40 30 0:60 / {HOME} rw - nfs4 {IPV4}:/export/{PERSON} rw,addr={IPV4},clientaddr={IPV6}\n",
        "/proc/self/cgroup": f"0::/user.slice/user-1001.slice/{PERSON}-{MACHINE_ID}.scope\n",
        "/boot/grub/grub.cfg": f'search --no-floppy --fs-uuid --set=root {DISK_UUID}\nset superusers="{PERSON}"\n'
        f"password {PERSON} '{TOKENS['MYSQL_PASSWORD']}'\n"
        f"menuentry 'Debian' --id 'gnulinux-{KERNEL}-advanced-{DISK_UUID}' {{ "
        f"linux /boot/vmlinuz-{KERNEL} root=UUID={DISK_UUID} }}\n",
        "/etc/default/grub": f'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX="ip={IPV4}::10.83.0.1:255.255.0.0:{MACHINE}"\n',
        f"/boot/loader/entries/{MACHINE_ID}-{KERNEL}.conf": f"title {MACHINE}\nlinux /{MACHINE_ID}/linux\n",
        "/etc/modprobe.d/site.conf": f"# {MAIL}\noptions nvidia NVreg_Note={PERSON}@{MACHINE}\n",
        "/etc/ld.so.conf": f"include /etc/ld.so.conf.d/*.conf\n# {MAIL}\n",
        "/etc/ld.so.conf.d/site.conf": f"/scratch/{PERSON}/lib\n",
        "/etc/environment": f"{secret_lines}",
        "/etc/profile.d/site.sh": secret_lines,
        f"{HOME}/.bashrc": secret_lines,
        f"{HOME}/.nccl.conf": f"NCCL_SOCKET_IFNAME=eth0\nNCCL_COMM_ID={IPV4}:9999\n",
        f"/home/{COLLEAGUE}/": "",
        "/var/log/apt/history.log": history,
        "/var/log/apt/history.log.1.gz": gzip.compress(history.replace("2026-11-22", "2026-10-22").encode(), mtime=0),
        "/var/log/apt/term.log": f"Log started: 2026-11-22  22:06:40\nSetting up {PERSON} ({MACHINE}, {MAIL}) ...\n"
        f"Fetched http://proxy:{PROXY_PASSWORD}@{IPV4}/deb\nLog ended: 2026-11-22  22:08:01\n",
        "/etc/docker/daemon.json": f'{{"runtimes": {{"nvidia": {{"path": "{HOME}/bin/nvidia-container-runtime"}}}}, '
        f'"proxies": {{"http-proxy": "http://proxy:{PROXY_PASSWORD}@{IPV4}:3128"}}}}',
        f"{HOME}/.docker/config.json": f'{{"currentContext": "{PERSON}", "auths": {{"x": '
        f'{{"auth": "{TOKENS["HF_TOKEN"]}"}}}}}}',
        "/etc/cdi/nvidia.yaml": f"cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n"
        f"- name: {UUID}\n  containerEdits:\n"
        f"    env:\n    - HF_TOKEN={TOKENS['HF_TOKEN']}\n    - OWNER={PERSON}@{MACHINE}\n",
        "/etc/ld.so.cache": ld_cache(
            [f"/scratch/{PERSON}/lib/libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"]
        ),
        f"/scratch/{PERSON}/lib/libcuda.so.1": f"-> libcuda.so.{OLD}",
        f"/scratch/{PERSON}/lib/libcuda.so.{OLD}": "",
        f"/var/lib/dkms/nvidia-current/{NEW}/build/make.log": f"DKMS make.log\nerror: {HOME}/src/nv.c on {MACHINE}\n",
        "/sys/class/net/lo/": "",
        f"/sys/class/net/enx{MAC.replace(':', '')}/": "",
        **venv(
            VENV,
            torch_wheel(site, "2.6.0+cu124", "12.4"),
            {
                f"{cublas}/METADATA": f"Name: nvidia-cublas-cu12\nVersion: 12.4.5.8\nAuthor: {MAIL}\n",
                f"{cudnn}/METADATA": "Name: nvidia-cudnn-cu12\nVersion: 9.10.2.21\n",
                f"{cudnn}/direct_url.json": f'{{"url": "https://{PERSON}:{INDEX_PASSWORD}@{IPV4}/x.whl"}}',
            },
        ),
    }
    log = (
        f"NVRM: GPU at PCI:0000:07:00: {UUID}\nNVRM: GPU Board Serial Number: {SERIAL}\n"
        f"NVRM: Xid (PCI:0000:07:00): 31, pid=4711, name={PERSON}-train on {MACHINE}\n"
        f"nvidia: module of {PERSON}@{MACHINE}, signed by {MAIL}\n"
    )
    tree = debian(folder, loaded=OLD, on_disk=NEW, user_space=NEW, packaged=NEW, kernel_log=log, extra=extra)
    words = {**elf_files.NVIDIA, "version": NEW, "vermagic": f"{KERNEL} SMP preempt mod_unload modversions "}
    words["author"] = f"built by {PERSON} on {MACHINE}"
    (folder / f"lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko").write_bytes(elf_files.module(words))
    nodes = {
        path: FileStatus("character", 0o666, 0, 0, 0, 1.0, device)
        for path, device in {
            "/dev/nvidia0": (195, 0),
            "/dev/nvidiactl": (195, 255),
            "/dev/nvidia-uvm": (511, 0),
        }.items()
    }
    table = f"<gpu><uuid>{UUID}</uuid><serial>{SERIAL}</serial><process_name>{HOME}/train.py</process_name></gpu>"
    commands = {("nvidia-smi", "-q", "-x"): Completed((), 0, table, f"said on {MACHINE}")}
    assert isinstance(tree, MachineTree)
    return Answering(str(folder), nodes=nodes, commands=commands)


def leaks(text: str, secrets: Sequence[str] = SECRETS) -> list[str]:
    """Which of the secrets a text still tells: as they are, in other letters, in addresses, in base64, packed."""
    hay = [*_views(text)]
    return [secret for secret in secrets if any(secret.lower() in one.lower() for one in hay)]


def _views(text: str) -> Iterator[str]:
    yield text
    yield text.replace("\\\\", "\\").replace("--", "-")
    yield unquote(text)
    for encoded in re.findall(r"[A-Za-z0-9+/]{8,}={0,2}", text):
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError:
            continue
        if data.startswith(b"\x1f\x8b"):
            yield gzip.decompress(data).decode("utf-8", "replace")
        yield data.decode("latin-1")
