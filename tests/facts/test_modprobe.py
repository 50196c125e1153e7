"""What modprobe.d and the kernel's command line say about NVIDIA's modules and their rivals."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from disk_trees import disk, facts_on

from gpudoctor.facts.modprobe import ModprobeConfig, ModprobeLine
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.testing import MachineTree


def _disk(folder: Path, files: Mapping[str, str | bytes]) -> ModprobeConfig:
    return facts_on(folder, files).get(ModprobeConfig)


def _running(folder: Path, command_line: str, files: Mapping[str, str | bytes] | None = None) -> ModprobeConfig:
    load_plugins()
    disk(folder, {**(files or {}), "/proc/cmdline": command_line + "\n"})
    return Facts(MachineTree(str(folder))).get(ModprobeConfig)


def _lines(folder: Path, text: str) -> list[tuple[str, str, str]]:
    found = _disk(folder, {"/etc/modprobe.d/a.conf": text})
    assert {line.path for line in found.lines} <= {"/etc/modprobe.d/a.conf"}
    return [line[1:] for line in found.lines]


def test_nothing_configured(tmp_path: Path) -> None:
    assert _disk(tmp_path, {}) == ModprobeConfig((), "")


def test_directives(tmp_path: Path) -> None:
    text = """# blacklist nvidia
    blacklist  nouveau
blacklist bluetooth
options nvidia-drm modeset=1 fbdev=1
options\tnvidia \\
    NVreg_DeviceFileMode=0660 \\
    NVreg_DeviceFileGID=44
options snd-hda-intel model=nvidia
options vfio-pci ids=10de:2684,10de:22ba
install nvidia_uvm /bin/false
softdep nvidia post: nvidia-uvm
remove nvidia modprobe -r nvidia-drm nvidia
alias char-major-195* nvidia
alias nvidia off
blacklist
"""
    assert _lines(tmp_path, text) == [
        ("blacklist", "nouveau", ""),
        ("options", "nvidia_drm", "modeset=1 fbdev=1"),
        ("options", "nvidia", "NVreg_DeviceFileMode=0660 NVreg_DeviceFileGID=44"),
        ("options", "vfio_pci", "ids=10de:2684,10de:22ba"),
        ("install", "nvidia_uvm", "/bin/false"),
        ("alias", "nvidia", "char-major-195*"),
        ("alias", "nvidia", "off"),
    ]


def test_options_by_name(tmp_path: Path) -> None:
    text = "options nvidia A=1 B=x,y\noptions nvidia A=2\noptions nvidia-uvm C\n"
    found = _running(tmp_path, "nvidia.B=z quiet", {"/etc/modprobe.d/a.conf": text})
    assert found.options("nvidia") == {"A": "2", "B": "z"}
    assert found.options("nvidia_uvm") == {"C": ""}
    assert found.options("nouveau") == {}


@pytest.mark.parametrize(
    "line",
    [
        "blacklist nvidia",
        "install nvidia /bin/false",
        "install nvidia /usr/bin/true",
        "install nvidia :",
        "alias nvidia off",
    ],
)
def test_what_forbids_a_module(tmp_path: Path, line: str) -> None:
    found = _disk(tmp_path, {"/etc/modprobe.d/a.conf": line})
    assert [f"{line.directive} nvidia {line.rest}".strip() for line in found.blacklisting("nvidia")] == [line]
    assert found.blacklisting("nvidia_drm") == ()


@pytest.mark.parametrize(
    "line",
    [
        "install nvidia modprobe -i nvidia-current $CMDLINE_OPTS",
        "install nvidia /sbin/modprobe --ignore-install nvidia && /usr/bin/nvidia-modprobe -u",
        "install nvidia",
        "options nvidia NVreg_EnableGpuFirmware=0",
        "alias pci:v000010DEd*sv*sd*bc03sc00i00* nvidia",
        "alias nvidia nvidia-current",
    ],
)
def test_what_does_not_forbid_it(tmp_path: Path, line: str) -> None:
    found = _disk(tmp_path, {"/etc/modprobe.d/a.conf": line})
    assert [line.module for line in found.lines] == ["nvidia"]
    assert found.blacklisting("nvidia") == ()


def test_of_files_with_one_name_the_first_counts_and_files_go_by_name(tmp_path: Path) -> None:
    found = _disk(
        tmp_path,
        {
            "/etc/modprobe.d/b.conf": "options nvidia A=etc\n",
            "/usr/local/lib/modprobe.d/b.conf": "options nvidia A=local\n",
            "/usr/local/lib/modprobe.d/c.conf": "options nvidia A=local\n",
            "/usr/lib/modprobe.d/c.conf": "options nvidia A=usr\n",
            "/usr/lib/modprobe.d/a.conf": "options nvidia A=usr\n",
            "/usr/lib/modprobe.d/z.conf.dpkg-old": "blacklist nvidia\n",
            "/lib": "-> usr/lib",
        },
    )
    assert [(line.path, line.rest) for line in found.lines] == [
        ("/usr/lib/modprobe.d/a.conf", "A=usr"),
        ("/etc/modprobe.d/b.conf", "A=etc"),
        ("/usr/local/lib/modprobe.d/c.conf", "A=local"),
    ]


@pytest.mark.parametrize("mask", ["-> /dev/null", "-> /etc/alternatives/gone", ""])
def test_masked_files(tmp_path: Path, mask: str) -> None:
    files = {"/etc/modprobe.d/nvidia.conf": mask, "/usr/lib/modprobe.d/nvidia.conf": "blacklist nvidia\n"}
    assert _disk(tmp_path, files).lines == ()


def test_links_are_followed_inside_the_disk(tmp_path: Path) -> None:
    files = {
        "/etc/modprobe.d/nvidia.conf": "-> /etc/alternatives/glx--nvidia-modprobe.conf",
        "/etc/alternatives/glx--nvidia-modprobe.conf": "-> /etc/nvidia/nvidia-modprobe.conf",
        "/etc/nvidia/nvidia-modprobe.conf": "install nvidia modprobe -i nvidia-current $CMDLINE_OPTS\n",
    }
    expected = ModprobeLine(
        "/etc/modprobe.d/nvidia.conf", "install", "nvidia", "modprobe -i nvidia-current $CMDLINE_OPTS"
    )
    assert _disk(tmp_path, files).lines == (expected,)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (
            "module_blacklist=nouveau,nvidia-drm",
            [("module_blacklist", "nouveau", ""), ("module_blacklist", "nvidia_drm", "")],
        ),
        ("modprobe.blacklist=nvidia", [("blacklist", "nvidia", "")]),
        ("modprobe.blacklist=floppy,nouveau", [("blacklist", "nouveau", "")]),
        ("rd.driver.blacklist=nvidia", [("parameter", "", "rd.driver.blacklist=nvidia")]),
        ("rd.driver.blacklist=floppy", []),
        ("nouveau.modeset=0", [("parameter", "nouveau", "modeset=0")]),
        ("nvidia-drm.modeset=1", [("parameter", "nvidia_drm", "modeset=1")]),
        ("nvidia.NVreg_EnableGpuFirmware=0", [("parameter", "nvidia", "NVreg_EnableGpuFirmware=0")]),
        ("vfio-pci.ids=10de:2684,10de:22ba", [("parameter", "vfio_pci", "ids=10de:2684,10de:22ba")]),
        ("pci-stub.ids=10de:2684", [("parameter", "pci_stub", "ids=10de:2684")]),
        ("nomodeset", [("parameter", "", "nomodeset")]),
        ("i915.modeset=0", []),
        ("BOOT_IMAGE=/boot/vmlinuz-6.1-nvidia", []),
    ],
)
def test_words_of_the_command_line(tmp_path: Path, word: str, expected: list[tuple[str, str, str]]) -> None:
    found = _running(tmp_path, f"root=UUID=1 ro {word} quiet")
    assert [line[1:] for line in found.lines] == expected
    assert {line.path for line in found.lines} <= {"/proc/cmdline"}
    forbidden = [module for directive, module, _ in expected if directive != "parameter"]
    assert [module for module in forbidden if not found.blacklisting(module)] == []
    assert found.blacklisting("nvidia") == tuple(line for line in found.lines if line[1:3] == ("blacklist", "nvidia"))


def test_files_made_at_boot(tmp_path: Path) -> None:
    found = _running(tmp_path, "quiet", {"/run/modprobe.d/x.conf": "blacklist nvidia\n"})
    assert [line.path for line in found.blacklisting("nvidia")] == ["/run/modprobe.d/x.conf"]


@pytest.mark.parametrize("content", ["on\n", "off", "on-demand\n"])
def test_prime(tmp_path: Path, content: str) -> None:
    assert _disk(tmp_path, {"/etc/prime-discrete": content}).prime == content.strip()


def test_any_bytes_raise_nothing(tmp_path: Path) -> None:
    data = random.Random(3).randbytes(5000) + b"\nblacklist nvidia\xff\nblacklist nvidia\n"
    found = _disk(tmp_path, {"/etc/modprobe.d/a.conf": data})
    assert [line.module for line in found.blacklisting("nvidia")] == ["nvidia"]
