"""What repositories offer, from the lists that apt and pacman keep."""

from pathlib import Path

import pytest
from offered_packages import LISTS, pacman_database

from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.package_offers import Offer, PackageOffers, read_list
from gpudoctor.facts.wanted import Request, Wanted
from gpudoctor.host import Completed, Unavailable
from gpudoctor.registry import Facts
from gpudoctor.testing import MachineTree

ASKED = Wanted((Request("driver", "535"),))
APT = "/var/lib/apt/lists"
DEBIAN = "archive.invalid_debian_dists_bookworm"
NVIDIA = "developer.download.nvidia.com_compute_cuda_repos_ubuntu2404_x86%5f64"
STANZA = (
    "Package: {}\nVersion: {}\nArchitecture: amd64\nDepends: libc6, cuda-a (= 1) | cuda-b\nSize: 7\nInstalled-Size: 2\n"
)


def offers(tmp_path: Path, files: dict[str, str | bytes], manager: str = "apt", **more: object) -> PackageOffers:
    for path, content in files.items():
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    (tmp_path / "etc").mkdir(exist_ok=True)
    tree = MachineTree(str(tmp_path), **more)  # type: ignore[arg-type]
    return Facts(tree, {Wanted: ASKED, PackageManager: PackageManager(manager)}).get(PackageOffers)


def test_nothing_is_read_where_nothing_was_asked_for(tmp_path):
    (tmp_path / "etc").mkdir()
    known = {Wanted: Wanted(()), PackageManager: PackageManager("apt")}
    assert Facts(MachineTree(str(tmp_path)), known).get(PackageOffers) == PackageOffers(())


def test_lists_of_drivers_are_read_and_the_others_are_not(tmp_path):
    found = offers(
        tmp_path,
        {
            f"{APT}/{DEBIAN}_InRelease": "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\n",
            f"{APT}/{DEBIAN}_non-free_binary-amd64_Packages": STANZA.format("libcuda1", "535.309.01-1"),
            f"{APT}/{DEBIAN}_main_binary-amd64_Packages": STANZA.format("nvidia-in-main", "1"),
            f"{APT}/{NVIDIA}_InRelease": "Origin: NVIDIA\nLabel: NVIDIA CUDA\n",
            f"{APT}/{NVIDIA}_Packages": STANZA.format("libcublas-12-8", "12.8.4.1-1"),
        },
    )
    assert found.offers == (
        Offer("libcuda1", "535.309.01-1", "Debian", ("libc6", "cuda-a (= 1) | cuda-b"), 7, 2048),
        Offer("libcublas-12-8", "12.8.4.1-1", "NVIDIA", ("libc6", "cuda-a (= 1) | cuda-b"), 7, 2048),
    )


@pytest.mark.parametrize(
    ("repository", "component"),
    [("archive.lambdalabs.com_ubuntu_dists_noble", "_main_binary-amd64"), ("_srv_drivers_.", "")],
)
def test_others_may_have_drivers_anywhere(tmp_path, repository, component):
    files = {
        f"{APT}/{repository}_Release": "Origin: Lambda Labs\n",
        f"{APT}/{repository}{component}_Packages": STANZA.format("nvidia-driver-580", "580.95.05-1"),
    }
    assert [(offer.name, offer.maker) for offer in offers(tmp_path, files).offers] == [
        ("nvidia-driver-580", "Lambda Labs")
    ]


def test_of_several_revisions_the_newest_comes_last(tmp_path):
    path = f"{APT}/{DEBIAN}_non-free_binary-amd64_Packages"
    text = "\n".join(STANZA.format("libcuda1", version) for version in ("535.9-1", "535.10-1", "535.10-1~deb12u1"))
    found = offers(tmp_path, {path: text}).of("libcuda1")
    assert [offer.version for offer in found] == ["535.9-1", "535.10-1~deb12u1", "535.10-1"]


def test_a_list_that_is_not_read_to_its_end_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("gpudoctor.machine.READ_LIMIT", 64)
    path = f"{APT}/{DEBIAN}_non-free_binary-amd64_Packages"
    found = offers(tmp_path, {path: STANZA.format("libcuda1", "1")})
    assert found == PackageOffers((), (f"{path}: longer than 0 MiB",))


def test_of_a_repository_for_anything_only_what_concerns_the_gpu_counts(tmp_path):
    path = f"{APT}/{DEBIAN}_non-free_binary-amd64_Packages"
    text = "\n".join(STANZA.format(name, "1") for name in ("steam", "nvidia-smi", "unrar"))
    assert [offer.name for offer in offers(tmp_path, {path: text}).offers] == ["nvidia-smi"]


def test_other_architectures_are_left_out(tmp_path):
    elf = b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00"
    files = {
        "/bin/sh": elf,
        f"{APT}/{DEBIAN}_non-free_binary-i386_Packages": STANZA.format("libcuda1", "1").replace("amd64", "i386"),
        f"{APT}/{NVIDIA}_Packages": STANZA.format("cuda-a", "1").replace("amd64", "arm64"),
    }
    assert offers(tmp_path, files).offers == ()


def test_a_list_of_a_local_repository_is_nvidias(tmp_path):
    path = f"{APT}/_var_cuda-repo-ubuntu2404-12-8-local_Packages"
    (found,) = offers(tmp_path, {path: STANZA.format("cuda-toolkit-12-8", "12.8.1-1")}).offers
    assert found.maker == "NVIDIA"


def test_a_compressed_list_is_read_by_apt_itself(tmp_path):
    path = f"{APT}/{DEBIAN}_non-free_binary-amd64_Packages.lz4"
    argv = ("/usr/lib/apt/apt-helper", "cat-file", path)
    printed = Completed(argv, 0, STANZA.format("libcuda1", "535.309.01-1"), "")
    (found,) = offers(tmp_path, {path: b"\x04\x22\x4d\x18"}, commands={argv: printed}).offers
    assert found.version == "535.309.01-1"


def test_a_list_that_cannot_be_read_is_said(tmp_path):
    path = f"{APT}/{DEBIAN}_non-free_binary-amd64_Packages.lz4"
    found = offers(tmp_path, {path: b"\x04\x22\x4d\x18"})
    assert found.offers == ()
    assert found.unread == (f"{path}: there is no /usr/lib/apt/apt-helper",)


@pytest.mark.parametrize("manager", ["apt", "dnf", "zypper", "pacman", ""])
def test_where_nothing_can_be_told_that_is_said(tmp_path, manager):
    with pytest.raises(Unavailable):
        offers(tmp_path, {}, manager)


def test_a_real_list_of_debian():
    found = tuple(read_list((LISTS / "bookworm-security.txt").read_text("utf-8"), "Debian", "amd64", lambda _: True))
    module = next(offer for offer in found if offer.name == "nvidia-kernel-dkms")
    assert module.version == "535.309.01-0+deb12u1"
    assert "nvidia-kernel-support--v1" in module.depends
    support = next(offer for offer in found if offer.name == "nvidia-kernel-support")
    assert support.provides == ("nvidia-kernel-support--v1", "nvidia-kernel-support-any")


@pytest.mark.parametrize("text", ["", "\n\n\n", "Package: \n\n", "nonsense", "Package: cuda\nSize: many\n", "\0" * 99])
def test_a_damaged_list_is_no_crash(text):
    assert len(tuple(read_list(text, "Debian", "", lambda _: True))) <= 1


def test_archs_database(tmp_path):
    path = "/var/lib/pacman/sync/extra.db"
    data = pacman_database(
        "nvidia-utils-590.48.01-2", "nvidia-open-590.48.01-12", "zsh-5.9-5", "cuda-13.1.0-1", "oddity"
    )
    found = offers(tmp_path, {path: data}, "pacman").offers
    assert found == (
        Offer("nvidia-utils", "590.48.01-2", "Arch Linux"),
        Offer("nvidia-open", "590.48.01-12", "Arch Linux"),
        Offer("cuda", "13.1.0-1", "Arch Linux"),
    )


def test_a_database_that_is_cut_off_is_said(tmp_path):
    path = "/var/lib/pacman/sync/extra.db"
    found = offers(tmp_path, {path: pacman_database("nvidia-utils-590.48.01-2")[:40]}, "pacman")
    assert found.offers == ()
    assert found.unread[0].startswith(f"{path}: the database of extra cannot be read")
