"""Installed kernels as distributions lay them out: images, headers, initramfs, and their order."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import facts_on

from gpudoctor.facts.installed_kernels import release_order
from gpudoctor.facts.kernels import InstalledKernels

OLD, NEW = "6.1.0-50-amd64", "6.1.0-56-amd64"
IMAGES: Mapping[str, str | bytes] = {f"/boot/vmlinuz-{OLD}": "", f"/boot/vmlinuz-{NEW}": ""}


def _kernels(folder: Path, files: Mapping[str, str | bytes]) -> InstalledKernels:
    return facts_on(folder, files).get(InstalledKernels)


@pytest.mark.parametrize(
    "oldest_first",
    [
        ["6.1.0-9-amd64", "6.1.0-50-amd64", "6.12.95+deb12-amd64"],
        ["6.8.0-48-generic", "6.8.0-101-generic", "6.11.0-8-generic"],
        ["6.17.1-300.fc43.x86_64", "6.17.10-300.fc43.x86_64", "6.18.0-0.rc5.44.fc44.x86_64", "6.18.0-63.fc44.x86_64"],
        ["6.12.9-arch1-1", "6.12.9-arch1-2", "6.12.10-arch1-1"],
        ["6.18.0-rc1", "6.18.0-rc10", "6.18.0", "6.18.1"],
        ["6.18-rc7+1-amd64", "6.18.1+1-amd64"],
        ["5.14.0-503.el9.x86_64", "5.14.0-503.14.1.el9_5.x86_64", "5.14.0-570.el9.x86_64"],
        ["6.1.0-56-amd64", "6.1.0-56-cloud-amd64", "6.1.0-56-rt-amd64"],  # GRUB's menu has them in this order too
    ],
)
def test_order_of_releases(oldest_first: list[str]) -> None:
    shuffled = random.Random(0).sample(oldest_first, len(oldest_first))
    assert sorted(shuffled, key=release_order) == oldest_first


def test_debian(tmp_path: Path) -> None:
    found = _kernels(
        tmp_path,
        {
            "/boot/vmlinuz-6.1.0-9-amd64": "",
            **IMAGES,
            f"/boot/initrd.img-{OLD}": "",
            f"/boot/vmlinuz-{OLD}.old": "",
            f"/lib/modules/{OLD}/build": f"-> /usr/src/linux-headers-{OLD}",
            f"/usr/src/linux-headers-{OLD}/Makefile": "",
            f"/lib/modules/{NEW}/build": f"-> /usr/src/linux-headers-{NEW}",
            "/lib/modules/6.1.0-13-amd64/modules.dep": "",
        },
    )
    assert [kernel.release for kernel in found.kernels] == [NEW, OLD, "6.1.0-9-amd64"]
    new, old, oldest = found.kernels
    assert (old.image, old.headers, old.headers_link) == (
        f"/boot/vmlinuz-{OLD}",
        True,
        f"/usr/src/linux-headers-{OLD}",
    )
    assert old.initramfs == f"/boot/initrd.img-{OLD}"
    assert old.initramfs_modified == pytest.approx((tmp_path / f"boot/initrd.img-{OLD}").stat().st_mtime)
    assert (new.headers, new.headers_link) == (False, f"/usr/src/linux-headers-{NEW}")
    assert (new.initramfs, new.initramfs_modified) == ("", None)
    assert (oldest.headers, oldest.headers_link) == (False, "")
    assert found.get(OLD) is old
    assert found.get("6.1.0-13-amd64") is None


def test_fedora(tmp_path: Path) -> None:
    release, newer = "6.17.1-300.fc43.x86_64", "6.17.10-300.fc43.x86_64"
    found = _kernels(
        tmp_path,
        {
            f"/boot/vmlinuz-{release}": "",
            f"/boot/initramfs-{release}.img": "",
            f"/boot/initramfs-{release}kdump.img": "",
            "/boot/vmlinuz-0-rescue-8e0c4f0f3f6f4b6c9f4b1f1f2f3f4f5f": "",
            f"/boot/.vmlinuz-{release}.hmac": "",
            f"/usr/lib/modules/{newer}/vmlinuz": "",
            f"/usr/lib/modules/{release}/vmlinuz": "",
            "/lib": "-> usr/lib",
        },
    )
    assert [(kernel.release, kernel.image) for kernel in found.kernels] == [
        (newer, f"/lib/modules/{newer}/vmlinuz"),
        (release, f"/boot/vmlinuz-{release}"),
    ]
    assert found.kernels[1].initramfs == f"/boot/initramfs-{release}.img"


def test_suse_and_arm(tmp_path: Path) -> None:
    found = _kernels(tmp_path, {"/boot/Image-6.4.0-1-default": "", "/boot/initrd-6.4.0-1-default": ""})
    (kernel,) = found.kernels
    assert (kernel.release, kernel.initramfs) == ("6.4.0-1-default", "/boot/initrd-6.4.0-1-default")


ARCH: Mapping[str, str | bytes] = {
    "/lib": "-> usr/lib",
    "/boot/vmlinuz-linux": "",
    "/boot/initramfs-linux.img": "",
    "/usr/lib/modules/6.17.1-arch1-1/pkgbase": "linux\n",
    "/usr/lib/modules/6.17.1-arch1-1/vmlinuz": "",
    "/usr/lib/modules/6.17.1-arch1-1/build/Makefile": "",
    "/usr/lib/modules/6.16.8-arch3-1/updates/": "",
}


def test_arch(tmp_path: Path) -> None:
    found = _kernels(tmp_path, ARCH)
    (kernel,) = found.kernels
    assert (kernel.release, kernel.image) == ("6.17.1-arch1-1", "/boot/vmlinuz-linux")
    assert (kernel.headers, kernel.headers_link) == (True, "")
    assert kernel.initramfs == "/boot/initramfs-linux.img"
    assert (found.next_boot, found.next_boot_source) == ("6.17.1-arch1-1", "the only installed kernel")


def test_a_container_has_no_kernels(tmp_path: Path) -> None:
    assert _kernels(tmp_path, {}) == InstalledKernels((), "", "")
