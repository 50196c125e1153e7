"""The NVIDIA modules on the disk, where distributions put them, and what is read from them."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk
from elf_files import NVIDIA, compressed, module

from gpudoctor.facts.kernels import InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.system import Kernel
from gpudoctor.host import Unavailable
from gpudoctor.machine import LiveHost, RootHost
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.snapshot import RecordingHost, SnapshotHost

OLD, NEW = "6.1.0-50-amd64", "6.1.0-56-amd64"


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
    files = {
        **BOTH,
        **_compressed(".zst", {"drm": "MIT"}, b"x", "nvidia-current"),
        "/etc/default/grub": "GRUB_DEFAULT=0\n",
    }
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
