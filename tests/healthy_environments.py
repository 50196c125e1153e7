"""Machines on which all is well, with Python environments as pip, uv, conda and images lay them out."""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import elf_files
from disk_trees import disk
from family_machines import Answers
from healthy_machines import Card, answers, nodes
from live_machines import KERNEL, debian
from python_trees import Files, interpreter, site_of, torch_wheel, wheel
from shared_objects import shared_object

from gpudoctor.host import FileStatus
from gpudoctor.knowledge.torch import default_build
from gpudoctor.testing import MachineTree

DRIVER = "580.95.05"
FOLDER = "/usr/lib/x86_64-linux-gnu"
VENV = "/home/ada/train/.venv"
SITE = site_of(VENV)

CARDS = {
    "P100": ("15f8", "Tesla P100-PCIE-16GB", (6, 0)),
    "V100": ("1db5", "Tesla V100-SXM2-32GB", (7, 0)),
    "T4": ("1eb8", "Tesla T4", (7, 5)),
    "A100": ("20b2", "NVIDIA A100-SXM4-80GB", (8, 0)),
    "RTX 3090": ("2204", "NVIDIA GeForce RTX 3090", (8, 6)),
    "RTX 4090": ("2684", "NVIDIA GeForce RTX 4090", (8, 9)),
    "H200": ("2335", "NVIDIA H200", (9, 0)),
    "B200": ("2901", "NVIDIA B200", (10, 0)),
    "RTX 5090": ("2b85", "NVIDIA GeForce RTX 5090", (12, 0)),
    "GB10": ("2e12", "NVIDIA GB10", (12, 1)),
}
OPEN_ONLY = ("B200", "RTX 5090", "GB10")
CUDA_OF_BRANCH = {525: 12000, 535: 12020, 550: 12040, 570: 12080, 580: 13000, 590: 13010, 595: 13020, 610: 13030}
VERSIONS = {
    525: "525.147.05",
    535: "535.261.03",
    550: "550.163.01",
    570: "570.195.03",
    580: DRIVER,
    590: "590.48.01",
    595: "595.58.03",
    610: "610.43.02",
}

# The libraries of each wheel and what they need in turn.
_LIBRARIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cublas": {"libcublas.so.{}": ("libcublasLt.so.{}",), "libcublasLt.so.{}": ()},
    "cuda-cupti": {"libcupti.so.{}": ()},
    "cuda-nvrtc": {"libnvrtc.so.{}": (), "libnvrtc-builtins.so.{}.8": ()},
    "cuda-runtime": {"libcudart.so.{}": ()},
    "cufft": {"libcufft.so.{fft}": (), "libcufftw.so.{fft}": ("libcufft.so.{fft}",)},
    "cufile": {"libcufile.so.0": ()},
    "curand": {"libcurand.so.10": ()},
    "cusolver": {
        "libcusolver.so.{fft}": ("libcublas.so.{}", "libcublasLt.so.{}", "libcusparse.so.12", "libnvJitLink.so.{}")
    },
    "cusparse": {"libcusparse.so.12": ("libnvJitLink.so.{}",)},
    "cusparselt": {"libcusparseLt.so.0": ()},
    "nccl": {"libnccl.so.2": ()},
    "nvjitlink": {"libnvJitLink.so.{}": ()},
    "nvshmem": {"libnvshmem_host.so.3": ()},
    "nvtx": {"libnvtx3interop.so.1": ()},
    "cudnn": {
        "libcudnn.so.9": (),
        **dict.fromkeys((f"libcudnn_{part}.so.9" for part in ("graph", "engines_precompiled", "heuristic")), ()),
        **dict.fromkeys((f"libcudnn_{part}.so.9" for part in ("ops", "cnn", "adv")), ("libcudnn_graph.so.9",)),
    },
}
_NEIGHBOURS = ("", "cublas", "cusparse", "nvjitlink", "cuda_nvrtc", "cu13")


def _sonames(piece: str, major: int) -> dict[str, tuple[str, ...]]:
    def full(name: str) -> str:
        return name.format(major, fft=major - 1)

    return {full(name): tuple(map(full, needed)) for name, needed in _LIBRARIES.get(piece, {}).items()}


def nvidia_wheel(site: str, name: str, version: str, installer: str = "pip") -> Files:
    """One of NVIDIA's, with its libraries, headers and RECORD."""
    match = re.fullmatch(r"nvidia-([a-z-]+?)(?:-cu(\d+))?", name)
    assert match
    piece, major = match[1], int(match[2] or 13)
    own = piece in ("cudnn", "nccl", "nvshmem", "cusparselt")
    folder = f"nvidia/{piece.replace('-', '_') if own or major < 13 else 'cu13'}"
    runpath = ":".join(f"$ORIGIN/../../{other}/lib" if other else "$ORIGIN" for other in _NEIGHBOURS)
    content: Files = {
        f"{folder}/lib/{soname}": shared_object(soname=soname, needed=needed, runpath=runpath)
        for soname, needed in _sonames(piece, major).items()
    }
    numbers = [*version.split("."), "0", "0"][:3]
    if piece == "cudnn":
        names = ("MAJOR", "MINOR", "PATCHLEVEL")
        content[f"{folder}/include/cudnn_version.h"] = _defines("CUDNN", names, numbers)
    elif piece == "nccl":
        content[f"{folder}/include/nccl.h"] = _defines("NCCL", ("MAJOR", "MINOR", "PATCH"), numbers)
    elif piece in ("cuda-runtime", "cuda-nvcc"):
        content[f"{folder}/include/cuda_fp16.h"] = ""
    return recorded(wheel(site, name, version, installer=installer, files=content), site)


def _defines(prefix: str, names: Sequence[str], numbers: Sequence[str]) -> str:
    return "".join(f"#define {prefix}_{name} {number}\n" for name, number in zip(names, numbers, strict=True))


def recorded(files: Files, site: str) -> Files:
    """With the RECORD that installers write."""
    folder = next(path.rpartition("/")[0] for path in files if path.endswith(".dist-info/METADATA"))
    rows = []
    for path, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        rows.append(f"{path.removeprefix(f'{site}/')},sha256={digest},{len(data)}\n")
    return {**files, f"{folder}/RECORD": "".join(rows)}


ON_LINUX = '; platform_system == "Linux" and platform_machine == "x86_64"'


def torch_needs(major: int) -> tuple[str, ...]:
    """What libtorch_cuda.so is linked with."""
    fft = major - 1
    return (
        *("libc10_cuda.so", f"libcudart.so.{major}", "libcusparse.so.12", f"libcufft.so.{fft}", "libcufile.so.0"),
        *("libcusparseLt.so.0", "libnccl.so.2", "libcurand.so.10", f"libcublas.so.{major}", f"libcublasLt.so.{major}"),
        *("libcudnn.so.9", f"libnvrtc.so.{major}", "libtorch_cpu.so"),
    )


def pip_torch(site: str, version: str, cuda: str, *, installer: str = "pip") -> Files:
    """torch from PyPI, or of one variant, with all of NVIDIA's wheels that it pins, triton, torchvision, torchaudio."""
    build = default_build(version.partition("+")[0])
    assert build
    pins = dict(build.requires)
    major = int(cuda.partition(".")[0])
    if "cuda-toolkit" in pins:
        wanted = ("cublas", "cuda-cupti", "cuda-nvrtc", "cuda-runtime", "cufft", "cufile", "curand", "cusolver")
        wheels = {f"nvidia-{piece}": "13.0.88" for piece in (*wanted, "cusparse", "nvjitlink", "nvtx")}
    else:
        wheels = {}
    wheels |= {name: pin[2:] for name, pin in pins.items() if name.startswith("nvidia-")}
    folders = [f"$ORIGIN/../../nvidia/{name}/lib" for name in _wheel_folders(wheels)]
    files = torch_wheel(
        site, version, cuda, requires=[f"{name}{pin}{ON_LINUX}" for name, pin in pins.items()], installer=installer
    )
    rpath = ":".join([*folders, "$ORIGIN"])
    files[f"{site}/torch/lib/libtorch_cuda.so"] = shared_object(needed=torch_needs(major), rpath=rpath)
    files[f"{site}/torch/lib/libc10_cuda.so"] = shared_object(needed=[f"libcudart.so.{major}"], rpath=rpath)
    for name, number in wheels.items():
        files |= nvidia_wheel(site, name, number, installer)
    return files | triton(site, pins, installer) | companions(site, version, installer) | numpy(site, installer)


def _wheel_folders(wheels: Mapping[str, str]) -> list[str]:
    folders = {}
    for name in wheels:
        piece, _, major = name.removeprefix("nvidia-").partition("-cu1")
        own = major == "2" or piece in ("cudnn", "nccl", "nvshmem", "cusparselt")
        folders[piece.replace("-", "_") if own else "cu13"] = None
    return list(folders)


def triton(site: str, pins: Mapping[str, str], installer: str = "pip") -> Files:
    return wheel(site, "triton", pins.get("triton", "==3.5.1")[2:], installer=installer)


_COMPANIONS = {"2.9.1": ("0.24.1", "2.9.1"), "2.14.1": ("0.29.1", ""), "2.10.0": ("0.25.0", "2.10.0")}


def companions(site: str, version: str, installer: str = "pip") -> Files:
    release, _, local = version.partition("+")
    vision, audio = _COMPANIONS[release]
    files: Files = {}
    for name, number in (("torchvision", vision), ("torchaudio", audio)):
        if number:
            own = f"__version__ = '{number}{f'+{local}' if local else ''}'\n"
            needed = ["numpy", f"torch=={release}", 'gdown>=4.7.3; extra == "gdown"', 'scipy; extra == "scipy"']
            files |= wheel(site, name, number, requires=needed, installer=installer, files={f"{name}/version.py": own})
    return files


def numpy(site: str, installer: str = "pip") -> Files:
    return wheel(site, "numpy", "2.3.5", installer=installer)


def environ(**variables: str) -> str:
    return "".join(f"{name}={value}\0" for name, value in {"HOME": "/home/ada", **variables}.items())


def active(prefix: str = VENV, **more: str) -> Files:
    """The shell after `source bin/activate`."""
    path = more.pop("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {"/proc/self/environ": environ(VIRTUAL_ENV=prefix, PATH=f"{prefix}/bin:{path}", **more)}


PATH = "/usr/local/bin:/usr/bin:/bin"

Kind = Callable[[Path], MachineTree]
KINDS: dict[str, tuple[Kind, frozenset[str]]] = {}  # by name: the machine, and what is good to know and no more


def healthy(*told: str) -> Callable[[Kind], Kind]:
    """A machine on which all is well. `told`: ids of what its owner is told, which does not make it sick."""

    def add(kind: Kind) -> Kind:
        KINDS[kind.__name__] = kind, frozenset(told)
        return kind

    return add


def machine(
    folder: Path,
    *parts: Files,
    driver: str = DRIVER,
    gpus: Sequence[str] = ("A100",),
    listed: Sequence[int] | None = None,
    open_module: bool | None = None,
    library: str = "",
    serves: int = 0,
) -> MachineTree:
    """A Debian with these GPUs, whose driver answers. `listed`: the numbers of those that NVML shows;
    `library`: the libcuda that programs get, where it is not the driver's own; `serves`: the CUDA that it tells.
    """
    cards = [
        Card(f"0000:{7 + number:02x}:00.0", *CARDS[name][:2], listed=listed is None or number in listed)
        for number, name in enumerate(gpus)
    ]
    files: Files = {"/proc/self/environ": environ(PATH=PATH), "/usr/include/python3.11/Python.h": ""}
    for part in parts:
        files |= part
    debian(folder, loaded=driver, on_disk=driver, user_space=driver, packaged=driver, gpus=len(cards))
    os.chmod(folder / "usr/bin/gcc-12", 0o755)
    for card in cards:
        _rename(folder, card)
    if open_module if open_module is not None else any(name in OPEN_ONLY for name in gpus):
        _open(folder, driver)
    disk(folder, files)
    for path in files:  # programs
        if "/bin/" in path and (folder / path.lstrip("/")).is_file():
            os.chmod(folder / path.lstrip("/"), 0o755)
    level = CUDA_OF_BRANCH.get(int(driver.partition(".")[0]), 13000)
    said = answers(cards, driver, FOLDER, cuda=level)
    told = said["nvml"]["gpus"]
    assert isinstance(told, list)
    for gpu, (_, name) in zip(told, ((n, g) for n, g in enumerate(gpus) if cards[n].listed), strict=True):
        gpu["compute_capability"] = list(CARDS[name][2])
    if library:
        said["cuda"] |= {"library_path": library, "driver_version": serves}
    there: dict[str, FileStatus] = {
        path: status._replace(device=(511, status.device[1]) if "uvm" in path and status.device else status.device)
        for path, status in nodes(range(len(cards))).items()
        if "modeset" not in path and "tools" not in path
    }
    return MachineTree(str(folder), nodes=there, probes=Answers(str(folder), said))


def _rename(folder: Path, card: Card) -> None:
    place = folder / f"sys/bus/pci/devices/{card.address}"
    text = (place / "uevent").read_text()
    (place / "uevent").write_text(re.sub(r"10DE:\w+", f"10DE:{card.device_id.upper()}", text))
    (place / "config").write_bytes(b"\xde\x10" + bytes.fromhex(card.device_id)[::-1])


def _open(folder: Path, driver: str) -> None:
    words = {"version": driver, "vermagic": f"{KERNEL} SMP preempt mod_unload modversions ", "license": "Dual MIT/GPL"}
    path = folder / f"lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko"
    times = path.stat()
    path.write_bytes(elf_files.module({**elf_files.NVIDIA, **words}))
    os.utime(path, (times.st_atime, times.st_mtime))
    line = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {driver}  Release Build\n"
    (folder / "proc/driver/nvidia/version").write_text(line)
    disk(folder, {f"/lib/firmware/nvidia/{driver}/gsp_{chip}.bin": "" for chip in ("ga10x", "tu10x")})


_HOST_CONFIG = (
    "#if __GNUC__ > {0}\n#error -- unsupported GNU version! gcc versions later than {0} are not supported!\n#endif\n"
)


def toolkit(version: str, *, folder: str = "", libraries: bool = True, gcc: int = 14) -> Files:
    """A CUDA toolkit of NVIDIA's packages: "12.8.1"."""
    release = ".".join(version.split(".")[:2])
    folder = folder or f"/usr/local/cuda-{release}"
    major, minor = map(int, release.split("."))
    real = f"{folder}/targets/x86_64-linux"
    files: Files = {
        f"{folder}/bin/nvcc": interpreter(),
        f"{folder}/bin/ptxas": interpreter(),
        f"{folder}/version.json": f'{{"cuda": {{"name": "CUDA SDK", "version": "{version}"}}}}',
        f"{real}/include/cuda.h": f"#define CUDA_VERSION {major * 1000 + minor * 10}\n",
        f"{real}/include/cuda_fp16.h": "",
        f"{real}/include/crt/host_config.h": _HOST_CONFIG.format(gcc),
        f"{folder}/include": "-> targets/x86_64-linux/include",
        f"{folder}/lib64": "-> targets/x86_64-linux/lib",
        f"{real}/lib/stubs/libcuda.so": shared_object(soname="libcuda.so.1"),
        f"{folder}/nvvm/lib64/libnvvm.so.4": shared_object(),
        f"{folder}/nvvm/libdevice/libdevice.10.bc": "",
    }
    for piece in ("cublas", "cuda-cupti", "cuda-nvrtc", "cuda-runtime", "cufft", "curand", "cusolver", "cusparse"):
        for soname, needed in _sonames(piece, major).items() if libraries else ():
            number = soname.rpartition(".so.")[2]
            whole = f"{soname}.{release.partition('.')[2]}.90" if number == str(major) else f"{soname}.9.90"
            files[f"{real}/lib/{whole}"] = shared_object(soname=soname, needed=needed, runpath="$ORIGIN")
            files[f"{real}/lib/{soname}"] = f"-> {whole}"
    return files
