"""A Debian root as a GPU machine: the driver's real packages of non-free with a stand-in for what takes minutes to
compile, gpudoctor installed as users install it, and a GPU that the files of /proc and /sys show.

There is no GPU and no driver in this machine's kernel, and a root cannot load one. So `Running` lays over /proc and
/sys of the root what a machine shows with this kernel and this driver loaded, and stubs answer in place of NVML and
libcuda. Packages, kernels, compilers, DKMS and all that becomes of them are real.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import gpudoctor
from debian_roots import Done, Root
from imaginary_machines import VERSION, a100, machine
from standin_packages import dkms_source, publish, renumber

from gpudoctor.machine import RootHost

PROJECT = Path(__file__).resolve().parents[1]
FLAVOUR = "cloud-amd64"  # the smallest kernels
META = f"linux-image-{FLAVOUR}"
LIBRARIES = "/usr/lib/x86_64-linux-gnu/nvidia/current"
ADDRESS = "0000:07:00.0"
STAND_IN = "1+standin1"  # revision of the stand-in package
DKMS_DEPENDS = "dkms, nvidia-kernel-support"
_RELEASED_TOGETHER = (
    *("libcuda1", "libnvidia-ml1", "libnvidia-pkcs11-openssl3", "libnvidia-ptxjitcompiler1"),
    *("nvidia-alternative", "nvidia-kernel-support", "nvidia-legacy-check", "nvidia-smi"),
)

_STUBS = "/usr/src/stubs"
_STUB_SOURCES = {"libnvidia-ml.so": "nvml_stub.c", "libcuda.so": "cuda_stub.c"}
_HOME = "/opt/gpudoctor"
_COMMAND = f"""#!{_HOME}/bin/python
import sys

from gpudoctor.cli import main

sys.exit(main())
"""


class Kernels(NamedTuple):
    """Releases of the archive that the tests upgrade between."""

    old: str  # of the stable release, with headers
    old_meta: str  # version of the package that follows the kernel: the one that brings `old`
    new: str  # of the security updates, with headers
    bare: str  # its headers are not in the archive any more; "" if all have theirs


class Running(NamedTuple):
    """What runs: the kernel, the driver that it has loaded ("" none), and how often the machine was started."""

    kernel: str
    loaded: str = VERSION
    boot: int = 1


class Diagnosis(NamedTuple):
    """What `gpudoctor check` said."""

    exit_code: int
    found: tuple[str, ...]  # ids of its findings, as they are told
    explained: frozenset[str]  # ids of what they explain
    text: str  # what was said about each, its evidence and its remedy


HEALTHY = Diagnosis(0, (), frozenset(), "")


def install_gpudoctor(root: Root) -> None:
    """Into an environment of its own, from this checkout; as `gpudoctor` on PATH of the root."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("needs uv in the environment of the tests")
    if not (PROJECT / "gpudoctor").is_dir():
        pytest.skip("needs a checkout: gpudoctor is built from it for the root")
    sources = root.inside("/usr/src/gpudoctor")
    sources.mkdir(parents=True)
    for name in ("gpudoctor", "checks", "fixes"):
        shutil.copytree(PROJECT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    (sources / "docs").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "docs/gpudoctor.1"):
        shutil.copyfile(PROJECT / name, sources / name)
    python = root.do("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    root.do("python3", "-m", "venv", "--without-pip", _HOME)
    packages = root.inside(f"{_HOME}/lib/python{python}/site-packages")
    words = (str(uv), "pip", "install", "--quiet", "--python-version", python, "--target", str(packages))
    installed = subprocess.run((*words, str(sources)), capture_output=True, text=True, check=False)
    if any(words in installed.stderr for words in ("Failed to fetch", "Could not connect", "dns error")):
        pytest.skip(f"no package index can be reached: {installed.stderr.strip()[-300:]}")
    assert installed.returncode == 0, installed.stderr
    root.write(f"{_HOME}/bin/gpudoctor", _COMMAND, 0o755)
    root.inside("/usr/local/bin/gpudoctor").symlink_to(f"{_HOME}/bin/gpudoctor")


def kernels_of(root: Root) -> Kernels:
    """Skips the test where the archive has not what the tests need."""
    metas = {}
    for line in root.do("apt-cache", "show", META).splitlines():
        key, _, value = line.partition(": ")
        if key == "Version":
            version = value
        elif key == "Depends":
            metas[version] = value.partition(" ")[0].removeprefix("linux-image-")
    if len(metas) < 2:
        pytest.skip(f"the archive has one version of {META} only: {', '.join(metas)}")
    new, *_, old_meta = metas
    names = set(root.do("apt-cache", "pkgnames", "linux-").split())
    series = metas[new].partition("-")[0]
    releases = {name.removeprefix("linux-image-") for name in names if name.startswith(f"linux-image-{series}-")}
    bare = sorted(
        release
        for release in releases
        if release.endswith(f"-{FLAVOUR}")
        and f"linux-headers-{release}" not in names
        and _number(metas[old_meta]) < _number(release) < _number(metas[new])
    )
    return Kernels(metas[old_meta], old_meta, metas[new], bare[-1] if bare else "")


def _number(release: str) -> int:
    """50 of "6.1.0-50-cloud-amd64"."""
    return int(release.split("-")[1])


def install_driver(root: Root, kernels: Kernels, *, stand_in: bool = True) -> None:
    """The old kernel with its own headers, and the driver's packages: all real, or a stand-in for the one with the
    module's source, which takes minutes to compile.
    """
    version = root.do("apt-cache", "show", "libcuda1").partition("Version: ")[2].split("-")[0]
    if version != VERSION:
        pytest.skip(f"the archive's driver is {version} now; the stubs speak for {VERSION}")
    if stand_in:
        publish(root, [dkms_source(VERSION, STAND_IN, DKMS_DEPENDS)])
    apt = ("apt-get", "-q", "-y", "--no-install-recommends", "install")
    packages = (f"{META}={kernels.old_meta}", f"linux-headers-{kernels.old}", "nvidia-kernel-dkms", "libcuda1")
    root.do(*apt, *packages, "nvidia-smi", "libc6-dev")
    _compile_stubs(root)


def _compile_stubs(root: Root) -> None:
    """By the compiler of the root, into the place of the two libraries that would talk to the hardware."""
    shutil.copytree(PROJECT / "tests" / "native", root.inside(_STUBS))
    for library, source in _STUB_SOURCES.items():
        words = ("-shared", "-fPIC", f"-Wl,-soname,{library}.1", "-o", f"{_STUBS}/{library}", f"{_STUBS}/{source}")
        root.do("gcc-12", *words, "-ldl")
    for library, stub in stubs(root).items():
        shutil.copyfile(stub, root.inside(f"{LIBRARIES}/{library}.{VERSION}"))
    root.do("ldconfig")


def publish_next_driver(root: Root, version: str) -> None:
    """Let the root's apt find another release of the driver, all parts of it."""
    renumber(root, _RELEASED_TOGETHER, VERSION, version, STAND_IN, stubs(root))
    publish(root, [dkms_source(version, STAND_IN, DKMS_DEPENDS)])


def stubs(root: Root) -> dict[str, Path]:
    """By the name of the library that each stands in for."""
    return {library: root.inside(f"{_STUBS}/{library}") for library in _STUB_SOURCES}


def on_running(
    root: Root, running: Running, *argv: str, timeout: float = 1200, mounts: Sequence[Sequence[str]] = ()
) -> Done:
    """Run a command in the root as on a machine that runs this kernel and has a GPU."""
    process = start_on_running(root, running, *argv, mounts=mounts)
    return root.wait(process, argv, timeout)


def start_on_running(
    root: Root, running: Running, *argv: str, mounts: Sequence[Sequence[str]] = ()
) -> "subprocess.Popen[str]":
    """Start a command in the root as on a machine that runs this kernel and has a GPU; its output is a pipe."""
    environment = {"FAKE_GPU_FILE": f"{_STUBS}/machine"} if running.loaded else {}
    return root.start(*argv, mounts=(*_faces(root, running), *mounts), environment=environment)


def check(root: Root, running: Running, *, mounts: Sequence[Sequence[str]] = ()) -> Diagnosis:
    """`gpudoctor check` in the root, as on a machine that runs."""
    done = on_running(root, running, "gpudoctor", "check", "--format", "json", mounts=mounts)
    return diagnosis(done.exit_code, done.output)


def check_disk(root: Root, kernel: str) -> Diagnosis:
    """`gpudoctor check --root` of the tests' own gpudoctor, as on a disk that is mounted somewhere."""
    done = gpudoctor("check", "--root", str(root.path), "--kernel", kernel, "--format", "json")
    return diagnosis(done.returncode, done.stdout)


def diagnosis(exit_code: int, output: str) -> Diagnosis:
    try:
        report = json.loads(output)
    except ValueError:
        raise AssertionError(f"check ended with {exit_code} and said:\n{output}") from None
    findings = report["findings"]
    told = (
        " | ".join((one["summary"], *(f"{e['source']}: {e['value']}" for e in one["evidence"]), one["remedy"]))
        for one in findings
    )
    explained = frozenset(id for one in findings for id in one["explains"])
    return Diagnosis(exit_code, tuple(one["id"] for one in findings), explained, "\n".join(told))


def fix(root: Root, running: Running, *words: str, mounts: Sequence[Sequence[str]] = ()) -> Done:
    """`gpudoctor fix` in the root, as on a machine that runs. Nobody is there to be asked."""
    return on_running(root, running, "gpudoctor", "fix", *words, mounts=mounts)


def module_of(root: Root, kernel: str) -> str:
    """What modinfo says of the driver's module for a kernel, "" if there is none."""
    done = root.run("modinfo", "-k", kernel, "nvidia-current")
    return done.output if done.exit_code == 0 else ""


def upgrade(root: Root) -> str:
    """A real `apt-get dist-upgrade`; what it printed."""
    return root.do("apt-get", "-y", "-q", "dist-upgrade")


def _faces(root: Root, running: Running) -> list[tuple[str, ...]]:
    """Mounts that lay what such a machine shows over /proc, /sys and /dev of the root. Their files lie beside it."""
    faces = root.path.with_name(f"{root.path.name}-faces")
    shutil.rmtree(faces, ignore_errors=True)
    loaded = running.loaded
    modules = "nvidia_uvm 1 0 - Live 0x0\nnvidia 9 1 nvidia_uvm, Live 0x0\n" if loaded else ""
    files = {
        "sys/bus/pci/devices/{a}/uevent": f"{'DRIVER=nvidia' if loaded else ''}\nPCI_CLASS=30200\nPCI_ID=10DE:20B2\n",
        "sys/bus/pci/devices/{a}/resource": "0xc0000000 0xc0ffffff 0x40200\n0x2000000000 0x3fffffffff 0x14220c\n",
        "sys/bus/pci/devices/{a}/power/runtime_status": "active\n",
        "osrelease": f"{running.kernel}\n",
        "version": f"Linux version {running.kernel} (debian-kernel@lists.debian.org)"
        f" ({_compiler(root, running.kernel)}, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian\n",
        "cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{running.kernel} root=/dev/vda1 ro quiet\n",
        "boot_id": f"{running.boot:08d}-0000-4000-8000-000000000000\n",
        "modules": f"ext4 1 1 - Live 0x0\n{modules}",
        "devices": "Character devices:\n  1 mem\n"
        + "195 nvidia\n511 nvidia-uvm\n" * bool(loaded)
        + "\nBlock devices:\n",
        "driver/none": "",
    }
    if loaded:
        line = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {loaded}  Mon Jun 23 16:07:21 UTC 2025\n"
        files |= {"driver/nvidia/version": line, "driver/nvidia/params": "DeviceFileMode: 438\nModifyDeviceFiles: 1\n"}
        files["sys/module/nvidia/version"] = f"{loaded}\n"
        root.write(f"{_STUBS}/machine", _answers(root, loaded))
    for name, text in files.items():
        path = faces / name.format(a=ADDRESS)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (faces / f"sys/bus/pci/devices/{ADDRESS}/config").write_bytes(bytes.fromhex("de10b220"))
    for name, numbers in {"nvidia0": (195, 0), "nvidiactl": (195, 255), "nvidia-uvm": (511, 0)}.items():
        node = root.inside(f"/dev/{name}")
        node.unlink(missing_ok=True)
        if loaded:
            os.mknod(node, 0o20666, os.makedev(*numbers))
            node.chmod(0o666)
    over = {
        "sys": "/sys",
        "osrelease": "/proc/sys/kernel/osrelease",
        "version": "/proc/version",
        "cmdline": "/proc/cmdline",
        "boot_id": "/proc/sys/kernel/random/boot_id",
        "modules": "/proc/modules",
        "devices": "/proc/devices",
        "driver": "/proc/driver",
    }
    # A kernel without modules has no list of them, and nothing can be laid over what is not there.
    return [("--bind", str(faces / name), target) for name, target in over.items() if Path(target).exists()]


def _answers(root: Root, loaded: str) -> str:
    """What the stubs say: as the driver, they serve no libraries of another release than their own."""
    library = RootHost(str(root.path)).resolve("/usr/lib/x86_64-linux-gnu/libcuda.so.1") or ""
    refusal = {} if library.endswith(f"libcuda.so.{loaded}") else {"nvmlInit": 18, "cuInit": 803}
    return machine([a100(0)], driver_version=loaded, **refusal)


def _compiler(root: Root, kernel: str) -> str:
    """Which compiler built a kernel, in the words of its own configuration."""
    config = root.inside(f"/boot/config-{kernel}")
    text = config.read_text(encoding="utf-8") if config.exists() else ""
    return text.partition('CONFIG_CC_VERSION_TEXT="')[2].partition('"')[0]
