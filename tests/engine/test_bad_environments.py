"""Python environments damaged in every way: each still gets a result, the bad piece is unknown, nothing crashes."""

from pathlib import Path

import pytest
from damage import JUNK, KINDS_OF_WHOLE_MACHINES, damaged
from disk_trees import disk
from live_machines import debian
from python_trees import Files, interpreter, site_of, torch_wheel, venv, wheel
from shared_objects import fat_binary, shared_object

from gpudoctor.diagnose import diagnose
from gpudoctor.findings import Report, Status
from gpudoctor.host import Host
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import make_plan
from gpudoctor.reports.json_report import as_json
from gpudoctor.reports.text import as_text
from gpudoctor.testing import MachineTree

load_plugins(fixes=True)

DOMAINS = (
    *("cuda", "env", "cudnn", "python", "nccl", "torch", "bitsandbytes", "triton", "tensorflow", "jax"),
    *("onnxruntime", "cupy", "numba"),
)
CHECKS = [check for check in registry.checks.values() if check.id.partition(".")[0] in DOMAINS]

ADA = "/home/ada/train/.venv"
EVE = "/home/ada/miniconda3/envs/eve"
SITE = site_of(ADA)
HASH = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
OTHER = "sha256=dGVzdA0pj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hS0"


def _cudnn(major: int, digest: str) -> Files:
    name = f"nvidia-cudnn-cu{major}"
    files: Files = wheel(SITE, name, "9.10.2.21", requires=[f"nvidia-cublas-cu{major}"])
    library = "nvidia/cudnn/lib/libcudnn.so.9"
    record = f'{library},{digest},10\n"nvidia/cudnn/lib/a,b.so",{digest},1\n'
    files[f"{SITE}/{name.replace('-', '_')}-9.10.2.21.dist-info/RECORD"] = record
    files[f"{SITE}/{library}"] = shared_object(soname="libcudnn.so.9", runpath="$ORIGIN")
    return files


def _onnxruntime(name: str, version: str, digest: str) -> Files:
    library = "onnxruntime/capi/onnxruntime_pybind11_state.so"
    files: Files = wheel(SITE, name, version, files={library: b""})
    files[f"{SITE}/{name.replace('-', '_')}-{version}.dist-info/RECORD"] = f"{library},{digest},10\n"
    return files


def _torch() -> Files:
    files = torch_wheel(SITE, "2.9.1+cu128", "12.8", requires=["nvidia-cudnn-cu12==9.10.2.21", "triton==3.5.1"])
    code = fat_binary(("sm_80", 64), ("sm_90a", 64), ("compute_90", 64))
    files[f"{SITE}/torch/lib/libtorch_cuda.so"] = shared_object(
        needed=["libcudnn.so.9", "libcublas.so.12"],
        rpath="$ORIGIN/../../nvidia/cudnn/lib",
        sections={".nv_fatbin": code},
    )
    return files


BUILD_INFO = "build_info = {'cuda_version': '12.5.1', 'cudnn_version': '9', 'is_cuda_build': True}\n"


def machine(folder: Path) -> MachineTree:
    """An A100 and two environments, in which much is wrong."""
    wheels = (
        _torch(),
        _cudnn(12, HASH),
        _cudnn(13, OTHER),
        wheel(SITE, "torchvision", "0.23.0", requires=["torch==2.8.0"]),
        wheel(SITE, "xformers", "0.0.33", files={"xformers/cpp_lib.json": '{"version": {"torch": "2.8.0+cu128"}}'}),
        wheel(SITE, "tensorflow", "2.21.0", files={"tensorflow/python/platform/build_info.py": BUILD_INFO}),
        _onnxruntime("onnxruntime", "1.32.0", HASH),
        _onnxruntime("onnxruntime-gpu", "1.31.1", OTHER),
        wheel(SITE, "cupy-cuda12x", "14.2.0", files={"cupy/.data/_wheel.json": '{"cuda": "12.x"}'}),
        wheel(SITE, "jaxlib", "0.6.2"),
        wheel(SITE, "jax-cuda12-plugin", "0.5.3"),
        wheel(SITE, "numpy", "2.1.0"),
    )
    files: Files = {
        **venv(ADA, *wheels),
        "/home/ada/train/uv.lock": "",
        "/home/ada/.bashrc": "export LD_LIBRARY_PATH=/usr/local/cuda/lib64:$LD_LIBRARY_PATH\nexport CUDA_HOME=/none\n",
        f"{EVE}/conda-meta/pytorch-2.5.1-cuda126_py312_0.json": '{"name": "pytorch"}',
        f"{EVE}/conda-meta/python-3.12.4-0.json": "{}",
        f"{EVE}/bin/python": interpreter(),
        **wheel(site_of(EVE, "3.12"), "torch", "2.5.1", installer="conda"),
        "/home/ada/.local/share/jupyter/kernels/x/kernel.json": '{"argv": ["/gone/bin/python", "-m", "ipykernel"]}',
        "/usr/local/cuda-12.4/bin/nvcc": interpreter(),
        "/usr/local/cuda-12.4/version.json": '{"cuda": {"version": "12.4.1"}}',
        "/usr/local/cuda-12.4/include/cuda.h": "#define CUDA_VERSION 12040\n",
        "/usr/local/cuda-12.4/include/crt/host_config.h": "#if __GNUC__ > 13\n#error -- unsupported GNU version!\n",
        "/usr/local/cuda-12.4/lib64/libcudnn.so.9": shared_object(soname="libcudnn.so.9"),
        "/usr/local/cuda": "-> /usr/local/cuda-12.4",
        "/etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
        "/etc/ld.so.conf.d/cuda.conf": "/usr/local/cuda/lib64\n",
        "/proc/self/cwd": "-> /home/ada/train",
        "/proc/self/environ": "HOME=/home/ada\0PATH=/usr/local/cuda/bin:/usr/bin\0CUDA_HOME=/none\0"
        f"VIRTUAL_ENV={ADA}\0CONDA_PREFIX={EVE}\0LD_LIBRARY_PATH=/usr/local/cuda/lib64\0",
    }
    host = debian(folder)
    disk(folder, files)
    return host


def judged(host: Host) -> Report:
    facts = Facts(host)
    report = diagnose(facts, CHECKS)
    make_plan(report, registry.fixes.values(), facts)
    as_text(report, facts, 1, colour=False).encode("utf-8")
    as_json("check", report, facts, 1)
    crashed = [f"{o.check.id}: {o.reason}" for o in report.outcomes if o.status is Status.CRASHED]
    assert crashed == []
    return report


def test_much_is_found(tmp_path: Path) -> None:
    found = {ranked.check.id for ranked in judged(machine(tmp_path)).findings}
    assert found >= {
        *("python.nvidia-wheels-collide", "torch.companion-mismatch", "onnxruntime.both-packages"),
        *("jax.plugin-mismatch", "python.wrong-interpreter", "cuda.home-invalid"),
    }


OURS = ("/home/", "/usr/local/", "/etc/ld.so", "/proc/self/environ", "/etc/environment", "/usr/bin/python")


@pytest.mark.parametrize("damage", KINDS_OF_WHOLE_MACHINES)
def test_every_file_damaged(tmp_path: Path, damage: str) -> None:
    host = machine(tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink())
    ours = [path for path in files if str(path).removeprefix(str(tmp_path)).startswith(OURS)]
    assert len(ours) > 40
    for path in ours:
        with damaged(path, damage):
            judged(host)


def test_a_damaged_environment_hides_nothing_in_the_other(tmp_path: Path) -> None:
    host = machine(tmp_path)
    before = {(r.check.id, r.finding.environment) for r in judged(host).findings if r.finding.environment == EVE}
    for path in (tmp_path / SITE.lstrip("/")).rglob("METADATA"):
        path.write_bytes(JUNK)
    report = judged(host)
    assert {(r.check.id, r.finding.environment) for r in report.findings} >= before
    assert any("METADATA tells no version" in outcome.reason for outcome in report.outcomes)


def test_a_library_of_four_gigabytes(tmp_path: Path) -> None:
    host = machine(tmp_path)
    library = tmp_path / SITE.lstrip("/") / "torch/lib/libtorch_cuda.so"
    with library.open("r+b") as file:
        file.truncate(4 << 30)  # sparse: it takes no room
    (tmp_path / SITE.lstrip("/") / "torch/version.py").write_text("__version__ = '2.9.9'\ncuda = '12.8'\n")
    judged(host)
    library.write_bytes(b"")
    with library.open("r+b") as file:
        file.truncate(4 << 30)
    judged(host)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    host = machine(tmp_path)
    for folder in (SITE, f"{EVE}/conda-meta", "/usr/local", "/home/ada/.virtualenvs", "/home/ada/miniconda3/envs"):
        place = tmp_path / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for name in ("na\udcffme", "torch-\udcfe.dist-info", "line\nbreak", "\x1b[31m.json", "cuda-\udcff"):
            (place / name).mkdir(exist_ok=True)
    report = judged(host)
    facts = Facts(host)
    assert "\x1b" not in as_text(report, facts, 1, colour=False)
