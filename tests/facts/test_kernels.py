"""Installed kernels, the one that boots next, and the NVIDIA modules on the disk, as distributions lay them out."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk, facts_on
from elf_files import NVIDIA, compressed, module

from gpudoctor.facts.installed_kernels import release_order
from gpudoctor.facts.kernels import InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.system import Kernel
from gpudoctor.host import LiveHost, RootHost, Unavailable
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost

OLD, NEW = "6.1.0-50-amd64", "6.1.0-56-amd64"
IMAGES: Mapping[str, str | bytes] = {f"/boot/vmlinuz-{OLD}": "", f"/boot/vmlinuz-{NEW}": ""}


def _kernels(folder: Path, files: Mapping[str, str | bytes]) -> InstalledKernels:
    return facts_on(folder, files).get(InstalledKernels)


def _next(folder: Path, files: Mapping[str, str | bytes]) -> tuple[str, str]:
    found = _kernels(folder, files)
    return found.next_boot, found.next_boot_source


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


def _arch(*, lts: bool = False) -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {
        "/lib": "-> usr/lib",
        "/boot/vmlinuz-linux": "",
        "/boot/initramfs-linux.img": "",
        "/usr/lib/modules/6.17.1-arch1-1/pkgbase": "linux\n",
        "/usr/lib/modules/6.17.1-arch1-1/vmlinuz": "",
        "/usr/lib/modules/6.17.1-arch1-1/build/Makefile": "",
        "/usr/lib/modules/6.16.8-arch3-1/updates/": "",
    }
    if lts:
        files |= {"/boot/vmlinuz-linux-lts": "", "/usr/lib/modules/6.12.51-1-lts/pkgbase": "linux-lts\n"}
    return files


def test_arch(tmp_path: Path) -> None:
    found = _kernels(tmp_path, _arch())
    (kernel,) = found.kernels
    assert (kernel.release, kernel.image) == ("6.17.1-arch1-1", "/boot/vmlinuz-linux")
    assert (kernel.headers, kernel.headers_link) == (True, "")
    assert kernel.initramfs == "/boot/initramfs-linux.img"
    assert (found.next_boot, found.next_boot_source) == ("6.17.1-arch1-1", "the only installed kernel")


def test_a_container_has_no_kernels(tmp_path: Path) -> None:
    assert _kernels(tmp_path, {}) == InstalledKernels((), "", "")


def _grub_menu(default: str = "0", *, newest: str = NEW, prefix: str = "/boot") -> str:
    entries = "".join(
        f"\tmenuentry 'Debian GNU/Linux, with Linux {release}{mode}' --class gnu-linux --class os "
        f"$menuentry_id_option 'gnulinux-{release}-{kind}-0aaa' {{\n"
        f"\t\tif [ x$feature_platform_search_hint = xy ]; then\n\t\t  search --no-floppy 0aaa\n\t\tfi\n"
        f"\t\techo\t'Loading Linux {release} ...'\n\t\tlinux\t{prefix}/vmlinuz-{release} root=UUID=0aaa ro quiet\n"
        f"\t\tinitrd\t{prefix}/initrd.img-{release}\n\t}}\n"
        for release in (NEW, OLD)
        for mode, kind in (("", "advanced"), (" (recovery mode)", "recovery"))
    )
    return f"""#
# DO NOT EDIT THIS FILE
#
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="{default}"
fi
function load_video {{
  insmod all_video
}}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-0aaa' {{
\tlinux\t{prefix}/vmlinuz-{newest} root=UUID=0aaa ro quiet
}}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-0aaa' {{
{entries}}}
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {{
\tfwsetup
}}
"""


MENU, ENVIRONMENT = "/boot/grub/grub.cfg", "/boot/grub/grubenv"


@pytest.mark.parametrize(
    ("default", "release"),
    [
        ("0", NEW),
        ("1", NEW),
        ("1>0", NEW),
        ("1>2", OLD),
        ("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-50-amd64", OLD),
        ("gnulinux-advanced-0aaa>gnulinux-6.1.0-50-amd64-advanced-0aaa", OLD),
        ("gnulinux-advanced-0aaa>0", NEW),
        ("an entry that is gone", NEW),  # GRUB then takes the first one
        ("", NEW),
    ],
)
def test_default_entry_of_grubs_menu(tmp_path: Path, default: str, release: str) -> None:
    assert _next(tmp_path / "literal", {**IMAGES, MENU: _grub_menu(default)}) == (release, MENU)
    files = {
        **IMAGES,
        MENU: _grub_menu("${saved_entry}"),
        ENVIRONMENT: f"# GRUB Environment Block\nsaved_entry={default}\n###",
    }
    assert _next(tmp_path / "saved", files) == (release, f"{ENVIRONMENT}: {default}" if default else MENU)


def test_entry_for_the_next_boot_only(tmp_path: Path) -> None:
    files = {**IMAGES, MENU: _grub_menu(), ENVIRONMENT: "saved_entry=0\nnext_entry=1>2\n"}
    assert _next(tmp_path, files) == (OLD, f"{ENVIRONMENT}: 1>2")


def test_grubs_menu_outranks_the_order_of_releases(tmp_path: Path) -> None:
    # update-grub did not run after the last kernel came; /boot is a partition of its own.
    files = {**IMAGES, "/vmlinuz": f"-> boot/vmlinuz-{NEW}", MENU: _grub_menu(newest=OLD, prefix="")}
    assert _next(tmp_path, files) == (OLD, MENU)


def test_a_kernel_in_the_menu_that_is_not_installed(tmp_path: Path) -> None:
    assert _next(tmp_path, {**IMAGES, MENU: _grub_menu(newest="5.10.0-1-amd64")}) == ("", MENU)


def test_arch_with_two_kernels(tmp_path: Path) -> None:
    menu = "set default=0\nmenuentry 'Arch Linux' --id 'arch' {\n  linux /vmlinuz-linux-lts root=UUID=1 rw\n}\n"
    assert _next(tmp_path / "unknown", _arch(lts=True)) == ("", "")
    assert _next(tmp_path / "grub", {**_arch(lts=True), MENU: menu}) == ("6.12.51-1-lts", MENU)
    settings = {"/etc/default/grub": "GRUB_DEFAULT=0\n"}
    assert _next(tmp_path / "settings", {**_arch(lts=True), **settings}) == ("", "")


FEDORA_43, FEDORA_OLD = "6.17.10-300.fc43.x86_64", "6.17.1-300.fc43.x86_64"
MACHINE = "8e0c4f0f3f6f4b6c9f4b1f1f2f3f4f5f"


@pytest.mark.parametrize(
    ("environment", "release"),
    [
        (f"saved_entry={MACHINE}-{FEDORA_OLD}\nmenu_auto_hide=1\n", FEDORA_OLD),
        (f"saved_entry={MACHINE}-{FEDORA_43}\n", FEDORA_43),
        (f"saved_entry={MACHINE}-6.16.3-200.fc42.x86_64\n", FEDORA_43),  # removed since
        ("saved_entry=1\n", FEDORA_OLD),
        ("saved_entry=7\n", ""),
        ("saved_entry=Windows Boot Manager\n", ""),
        ("", FEDORA_43),
    ],
)
def test_fedoras_boot_loader_entries(tmp_path: Path, environment: str, release: str) -> None:
    menu = 'set default="${saved_entry}"\ninsmod blscfg\nblscfg\n'
    files = {f"/boot/vmlinuz-{FEDORA_43}": "", f"/boot/vmlinuz-{FEDORA_OLD}": "", "/boot/grub2/grub.cfg": menu}
    assert _next(tmp_path, {**files, "/boot/grub2/grubenv": environment})[0] == release


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\n", (NEW, "/etc/default/grub: GRUB_DEFAULT=0: the newest")),
        ("# GRUB_DEFAULT=1\n", (NEW, "/etc/default/grub: GRUB_DEFAULT=0: the newest")),
        ("GRUB_DEFAULT=saved\n", ("", "/etc/default/grub: GRUB_DEFAULT=saved")),
        ('GRUB_DEFAULT="1>2"\n', ("", "/etc/default/grub: GRUB_DEFAULT=1>2")),
        (
            f'GRUB_DEFAULT="gnulinux-advanced-0>gnulinux-{OLD}-advanced-0"\n',
            (OLD, f"/etc/default/grub: GRUB_DEFAULT=gnulinux-advanced-0>gnulinux-{OLD}-advanced-0"),
        ),
    ],
)
def test_settings_tell_where_the_menu_cannot_be_read(tmp_path: Path, settings: str, expected: tuple[str, str]) -> None:
    assert _next(tmp_path, {**IMAGES, "/etc/default/grub": settings}) == expected


def test_flavours_of_clouds_come_first(tmp_path: Path) -> None:
    files = {"/boot/vmlinuz-6.8.0-48-generic": "", "/boot/vmlinuz-6.8.0-1017-azure": "", "/etc/default/grub": ""}
    assert _next(tmp_path / "plain", files)[0] == "6.8.0-1017-azure"
    files |= {"/boot/vmlinuz-6.11.0-8-generic": "", "/etc/default/grub.d/10-azure.cfg": "GRUB_FLAVOUR_ORDER='azure'\n"}
    expected = ("6.8.0-1017-azure", "/etc/default/grub: GRUB_FLAVOUR_ORDER=azure")
    assert _next(tmp_path / "azure", files) == expected


@pytest.mark.parametrize(
    ("default", "release"), [("debian-6.1.0-50-amd64.conf", OLD), ("@saved", ""), ("auto-windows", "")]
)
def test_systemd_boot(tmp_path: Path, default: str, release: str) -> None:
    files = {**IMAGES, "/boot/efi/loader/loader.conf": f"timeout 3\ndefault {default}\n"}
    assert _next(tmp_path, files) == (release, f"/boot/efi/loader/loader.conf: default {default}")


def test_links_of_debian_tell_where_no_boot_loader_does(tmp_path: Path) -> None:
    assert _next(tmp_path / "link", {**IMAGES, "/vmlinuz": f"-> boot/vmlinuz-{OLD}"}) == (OLD, "/vmlinuz")
    assert _next(tmp_path / "none", IMAGES) == (NEW, "the newest installed kernel")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_menu_for_root_alone(tmp_path: Path) -> None:
    files = {**IMAGES, MENU: _grub_menu(newest=OLD), "/etc/default/grub": "GRUB_DEFAULT=0\n"}
    facts = facts_on(tmp_path, files)
    (tmp_path / MENU[1:]).chmod(0)
    assert facts.get(InstalledKernels).next_boot_source == "/etc/default/grub: GRUB_DEFAULT=0: the newest"


def test_any_bytes_in_boot_loader_files_raise_nothing(tmp_path: Path) -> None:
    dice = random.Random(6)
    whole = _grub_menu("1>2").encode()
    for number in range(40):
        broken = bytearray(whole[: dice.randrange(len(whole))])
        for _ in range(min(20, len(broken))):
            broken[dice.randrange(len(broken))] = dice.choice(b"{}'\n >\"\0\xff")
        files = {
            **IMAGES,
            MENU: bytes(broken),
            ENVIRONMENT: dice.randbytes(100),
            "/etc/default/grub": dice.randbytes(99),
        }
        assert _kernels(tmp_path / str(number), files).next_boot in (NEW, OLD, "")


# Modules


def _modules(folder: Path, files: Mapping[str, str | bytes], kernel: str = "") -> tuple[ModuleFile, ...]:
    load_plugins()
    disk(folder, files)
    return Facts(RootHost(str(folder), kernel or None)).get(ModuleFiles).files


def _dkms(release: str = NEW, name: str = "nvidia-current.ko", **words: str) -> dict[str, str | bytes]:
    vermagic = f"{release} SMP preempt mod_unload modversions "
    return {
        f"/boot/vmlinuz-{release}": "",
        f"/lib/modules/{release}/updates/dkms/{name}": module({**NVIDIA, "vermagic": vermagic, **words}),
        f"/lib/modules/{release}/updates/dkms/{name.replace('.ko', '-uvm.ko')}": module({**NVIDIA, "version": "1"}),
    }


def test_a_module_that_dkms_built(tmp_path: Path) -> None:
    (file,) = _modules(tmp_path, _dkms())
    path = f"/lib/modules/{NEW}/updates/dkms/nvidia-current.ko"
    assert file == ModuleFile(
        *(NEW, path, "dkms", "535.309.01", "proprietary", f"{NEW} SMP preempt mod_unload modversions", ""),
        pytest.approx((tmp_path / path[1:]).stat().st_mtime),
    )


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("updates/dkms/nvidia.ko", "dkms"),
        ("updates/dkms/nvidia-tesla-470.ko", "dkms"),
        ("updates/dkms/nvidia-legacy-390xx.ko", "dkms"),
        ("updates/dkms/nvidia-current-open.ko", "dkms"),
        ("updates/nvidia.ko", "updates"),
        ("updates/nvidia-open-580/nvidia.ko", "updates"),
        ("extra/nvidia.ko", "extra"),
        ("extra/nvidia/nvidia.ko", "extra"),
        ("extra/drivers/video/nvidia/nvidia.ko", "extra"),
        ("weak-updates/nvidia/nvidia.ko", "weak-updates"),
        ("extramodules/nvidia.ko", "prebuilt"),
        ("video/nvidia.ko", "extra"),
        ("kernel/drivers/video/nvidia.ko", "prebuilt"),
        ("kernel/drivers/video/nvidia/nvidia.ko", "prebuilt"),
        ("kernel/nvidia-580/nvidia.ko", "prebuilt"),
        ("kernel/nvidia-580srv-open/nvidia.ko", "prebuilt"),
    ],
)
def test_where_distributions_put_it(tmp_path: Path, path: str, origin: str) -> None:
    (file,) = _modules(tmp_path, {f"/boot/vmlinuz-{NEW}": "", f"/lib/modules/{NEW}/{path}": module()})
    assert (file.path, file.origin, file.version) == (f"/lib/modules/{NEW}/{path}", origin, "535.309.01")


def test_other_modules_with_such_names_are_none(tmp_path: Path) -> None:
    names = ["nvidia-uvm.ko", "nvidia-fs.ko", "nvidia-wmi-ec-backlight.ko", "nvidiafb.ko", "nvidia.ko.bak", "nvidia.o"]
    files: dict[str, str | bytes] = {f"/lib/modules/{NEW}/updates/{name}": module() for name in names}
    files[f"/lib/modules/{NEW}/modules.dep"] = "kernel/drivers/platform/x86/nvidia-wmi-ec-backlight.ko:\n"
    assert _modules(tmp_path, {f"/boot/vmlinuz-{NEW}": "", **files}) == ()


@pytest.mark.parametrize(("licence", "flavour"), [("NVIDIA", "proprietary"), ("Dual MIT/GPL", "open"), ("GPL", "")])
def test_flavour(tmp_path: Path, licence: str, flavour: str) -> None:
    (file,) = _modules(tmp_path, _dkms(license=licence))
    assert file.flavour == flavour


def test_signature(tmp_path: Path) -> None:
    files = {**_dkms(), f"/lib/modules/{NEW}/updates/dkms/nvidia-current.ko": module(signature=b"pkcs7")}
    assert [file.signer for file in _modules(tmp_path, files)] == ["signed"]


def test_each_kernel_has_its_own_and_the_named_one_comes_first(tmp_path: Path) -> None:
    leftover = "6.1.0-40-amd64"  # its image was removed while it runs
    files = {**_dkms(), **_dkms(OLD), **_dkms(leftover)}
    del files[f"/boot/vmlinuz-{leftover}"]
    load_plugins()
    disk(tmp_path, files)
    found = Facts(RootHost(str(tmp_path), leftover)).get(ModuleFiles)
    assert [file.kernel for file in found.files] == [leftover, NEW, OLD]
    assert [file.vermagic.split()[0] for file in found.of(OLD)] == [OLD]
    assert found.of("6.1.0-1-amd64") == ()
    assert [file.kernel for file in _modules(tmp_path, {})] == [NEW, OLD]


BOTH: Mapping[str, str | bytes] = {
    f"/boot/vmlinuz-{NEW}": "",
    f"/lib/modules/{NEW}/updates/dkms/nvidia.ko": module({**NVIDIA, "version": "535.309.01"}),
    f"/lib/modules/{NEW}/kernel/drivers/video/nvidia.ko": module({**NVIDIA, "version": "550.54.14"}),
}


@pytest.mark.parametrize(
    ("index", "versions"),
    [
        (None, ["535.309.01", "550.54.14"]),
        ("kernel/drivers/acpi/video.ko:\n", ["535.309.01", "550.54.14"]),
        ("updates/dkms/nvidia.ko: kernel/drivers/gpu/drm/drm.ko\n", ["535.309.01", "550.54.14"]),
        # depmod has not seen the new one yet, or was told to prefer the other: modprobe takes what is in the index
        ("kernel/drivers/video/nvidia.ko: kernel/drivers/gpu/drm/drm.ko\n", ["550.54.14", "535.309.01"]),
        (f"/lib/modules/{NEW}/kernel/drivers/video/nvidia.ko:\n", ["550.54.14", "535.309.01"]),
        ("extra/nvidia.ko:\n", ["535.309.01", "550.54.14"]),  # deleted behind depmod's back
    ],
)
def test_of_two_files_modprobe_takes_the_one_in_depmods_index(
    tmp_path: Path, index: str | None, versions: list[str]
) -> None:
    files = {**BOTH, **({f"/lib/modules/{NEW}/modules.dep": index} if index else {})}
    assert [file.version for file in _modules(tmp_path, files)] == versions


def test_files_of_different_names_are_both_in_the_index(tmp_path: Path) -> None:
    files = {
        **_dkms(),
        f"/lib/modules/{NEW}/kernel/drivers/video/nvidia.ko": module({**NVIDIA, "version": "550.54.14"}),
        f"/lib/modules/{NEW}/modules.dep": "kernel/drivers/video/nvidia.ko:\nupdates/dkms/nvidia-current.ko:\n",
    }
    assert [file.version for file in _modules(tmp_path, files)] == ["535.309.01", "550.54.14"]


def test_depmods_index_finds_it_in_unusual_places(tmp_path: Path) -> None:
    place = "kernel/drivers/char/drm/nvidia.ko"
    index = f"kernel/drivers/acpi/video.ko:\n{place}: kernel/drivers/acpi/video.ko\nkernel/gone/nvidia.ko:\n"
    index += "bad\0/nvidia.ko:\n"
    files = {f"/lib/modules/{NEW}/{place}": module(), f"/lib/modules/{NEW}/modules.dep": index}
    (file,) = _modules(tmp_path, {f"/boot/vmlinuz-{NEW}": "", **files})
    assert (file.path, file.origin) == (f"/lib/modules/{NEW}/{place}", "prebuilt")


def test_links_to_another_kernels_module(tmp_path: Path) -> None:
    files = {
        **_dkms(OLD, "nvidia.ko"),
        f"/boot/vmlinuz-{NEW}": "",
        f"/lib/modules/{NEW}/weak-updates/nvidia.ko": f"-> /lib/modules/{OLD}/updates/dkms/nvidia.ko",
        f"/lib/modules/{NEW}/weak-updates/nvidia-470.ko": f"-> /lib/modules/{OLD}/extra/nvidia.ko",
    }
    found = [(file.kernel, file.origin, file.vermagic.split()[0]) for file in _modules(tmp_path, files)]
    assert found == [(NEW, "weak-updates", OLD), (OLD, "dkms", OLD)]


# What MODULE_LICENSE says in the sources of both flavours, releases 535 to 595.
LICENCES = {
    "proprietary": {"drm": "MIT", "modeset": "NVIDIA", "peermem": "Linux-OpenIB", "uvm": "Dual MIT/GPL"},
    "open": {"drm": "Dual MIT/GPL", "modeset": "Dual MIT/GPL", "peermem": "Dual BSD/GPL", "uvm": "Dual MIT/GPL"},
}


def _compressed(suffix: str, siblings: Mapping[str, str], main: bytes, stem: str = "nvidia") -> dict[str, str | bytes]:
    folder = f"/lib/modules/{NEW}/updates/dkms"
    files: dict[str, str | bytes] = {f"/boot/vmlinuz-{NEW}": "", f"{folder}/{stem}.ko{suffix}": main}
    for name, licence in siblings.items():
        data = module({**NVIDIA, "license": licence, "name": f"nvidia_{name}"}, signature=b"pkcs7")
        files[f"{folder}/{stem}-{name}.ko{suffix}"] = compressed(data, suffix)
    return files


@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz"])
@pytest.mark.parametrize("flavour", ["open", "proprietary"])
def test_a_compressed_module_is_known_by_its_siblings(tmp_path: Path, suffix: str, flavour: str) -> None:
    # The main file is never unpacked: that takes seconds.
    for number, names in enumerate((["drm", "modeset", "peermem", "uvm"], ["modeset", "uvm"])):
        siblings = {name: LICENCES[flavour][name] for name in names}
        (file,) = _modules(tmp_path / str(number), _compressed(suffix, siblings, b"not looked into"))
        assert (file.version, file.flavour, file.signer) == ("535.309.01", flavour, "signed")
        assert file.vermagic == "6.1.0-56-amd64 SMP preempt mod_unload modversions"


def test_siblings_that_do_not_tell_the_flavour(tmp_path: Path) -> None:
    siblings = {name: LICENCES["open"][name] for name in ("peermem", "uvm")}
    (file,) = _modules(tmp_path / "a", _compressed(".xz", siblings, b"x"))
    assert (file.version, file.flavour) == ("535.309.01", "")
    (file,) = _modules(tmp_path / "b", _compressed(".xz", siblings, b"x", "nvidia-current-open"))
    assert (file.version, file.flavour) == ("535.309.01", "open")


@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz"])
def test_without_a_sibling_the_module_itself_is_unpacked(tmp_path: Path, suffix: str) -> None:
    data = compressed(module(code=random.Random(7).randbytes(3_000_000)), suffix)
    (file,) = _modules(tmp_path, _compressed(suffix, {}, data))
    assert (file.version, file.flavour, file.signer) == ("535.309.01", "proprietary", "")


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst", ".gz"])
def test_damaged_and_empty_files_are_there_but_say_nothing(tmp_path: Path, suffix: str) -> None:
    whole = compressed(module(code=random.Random(8).randbytes(5000)), suffix)
    for number, data in enumerate((b"", b"garbage" * 9, whole[: len(whole) // 2], whole[:30])):
        (file,) = _modules(tmp_path / str(number), _compressed(suffix, {}, data))
        assert (file.version, file.flavour, file.vermagic, file.signer) == ("", "", "", "")


def test_a_damaged_sibling_is_passed_over(tmp_path: Path) -> None:
    files = _compressed(".xz", {"drm": "MIT", "modeset": "NVIDIA"}, b"x")
    files[f"/lib/modules/{NEW}/updates/dkms/nvidia-drm.ko.xz"] = b"\xfd7zXZ\x00garbage"
    assert [file.version for file in _modules(tmp_path, files)] == ["535.309.01"]


def test_an_empty_module_is_not_known_by_its_siblings(tmp_path: Path) -> None:
    files = _compressed(".xz", {"drm": "MIT", "modeset": "NVIDIA"}, b"")  # the disk was full
    assert [file.version for file in _modules(tmp_path, files)] == [""]


def test_where_no_kernel_can_be_told_the_reason_is(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="which kernel boots next"):
        _modules(tmp_path / "none", {f"/lib/modules/{NEW}/updates/nvidia.ko": module()})
    with pytest.raises(Unavailable, match="symbolic links"):
        _modules(tmp_path / "loop", {"/boot": "-> /boot"})


def test_a_snapshot_replays_to_the_same(tmp_path: Path) -> None:
    load_plugins()
    files = {**BOTH, **_compressed(".zst", {"drm": "MIT"}, b"x", "nvidia-current"), MENU: _grub_menu()}
    recording = RecordingHost(disk(tmp_path, {**files, **_dkms(OLD)}))
    asked = Facts(recording)
    kernels, modules = asked.get(InstalledKernels), asked.get(ModuleFiles)
    replayed = Facts(SnapshotHost(recording.answers))
    assert (replayed.get(InstalledKernels), replayed.get(ModuleFiles)) == (kernels, modules)
    assert len(modules.files) == 4


def test_this_machine() -> None:
    load_plugins()
    facts = Facts(LiveHost())
    assert facts.get(Kernel).release == os.uname().release
    assert all(os.path.exists(kernel.image) for kernel in facts.get(InstalledKernels).kernels)
    assert all(os.path.exists(file.path) for file in facts.get(ModuleFiles).files)
