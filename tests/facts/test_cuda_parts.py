"""NVRTC, CUDA's headers, NVVM and libdevice of wheels, conda and toolkits, each with its CUDA major."""

from disk_trees import facts_on
from framework_environments import distribution, environment, environments

from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.cuda_parts import KernelCompilers
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.loader import LoaderCache
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit
from gpudoctor.host import Unavailable
from gpudoctor.machine import RootHost
from gpudoctor.registry import Facts

SITE = "/home/ada/venv/lib/python3.11/site-packages"
NOTHING = CudaToolkits((), None, None, (), ())


def compilers(folder, files, *members, toolkits=NOTHING, variables=None, **more):
    facts = facts_on(folder, files).with_known(
        environments(environment(*members, **more)), toolkits, Environment(variables or {}, ()), LoaderCache(b"")
    )
    return facts.get(KernelCompilers)


def test_wheels_of_two_kinds(tmp_path):
    files = {
        f"{SITE}/nvidia/cu13/include/cuda_fp16.h": "",
        f"{SITE}/nvidia/cu13/lib/libnvvm.so.4": "",
        f"{SITE}/nvidia/cu13/nvvm/libdevice/libdevice.10.bc": "",
        f"{SITE}/nvidia/cuda_runtime/include/cuda_fp16.h": "",
        f"{SITE}/nvidia/cuda_nvrtc/lib/libnvrtc.so.12": "",
        f"{SITE}/nvidia/cuda_nvcc/nvvm/lib64/libnvvm.so": "",
    }
    members = [distribution(f"nvidia-{name}-cu12", "12.8.90") for name in ("cuda-runtime", "cuda-nvcc", "cuda-nvrtc")]
    found = compilers(tmp_path, files, distribution("numba", "0.68.1"), *members)
    (own,) = found.environments
    assert own.problems == ()
    assert {(part.kind, part.major, part.origin) for part in own.parts} == {
        ("headers", 13, "wheel"),
        ("nvvm", 13, "wheel"),
        ("libdevice", 13, "wheel"),
        ("headers", 12, "wheel"),
        ("nvrtc", 12, "wheel"),
        ("nvvm", 12, "wheel"),
    }
    assert [part.path for part in own.of("headers", 12)] == [f"{SITE}/nvidia/cuda_runtime/include/cuda_fp16.h"]


def test_conda(tmp_path):
    prefix = "/home/ada/venv"
    files = {f"{prefix}/lib/libnvvm.so.4": "", f"{prefix}/targets/x86_64-linux/include/cuda_fp16.h": ""}
    package = CondaPackage("cuda-version", "12.9", "3")
    (own,) = compilers(tmp_path, files, distribution("cupy", "13.6.0"), kind="conda", conda=(package,)).environments
    assert {(part.kind, part.major, part.origin) for part in own.parts} == {
        ("nvvm", 12, "conda"),
        ("headers", 12, "conda"),
    }


def test_a_toolkit_and_a_folder_of_the_loader(tmp_path):
    root = "/usr/local/cuda-12.4"
    files = {
        f"{root}/nvvm/libdevice/libdevice.10.bc": "",
        f"{root}/include/cuda_fp16.h": "",
        "/opt/cuda/lib/libnvrtc.so.13": "",
    }
    toolkit = Toolkit(root, root, "12.4.1", "", "", "", "", None, None, "", "local", ("/usr/local",))
    found = compilers(
        tmp_path,
        files,
        distribution("cupy-cuda12x", "14.2.0"),
        toolkits=CudaToolkits((toolkit,), None, None, (), ()),
        variables={"LD_LIBRARY_PATH": "/opt/cuda/lib"},
    )
    (own,) = found.environments
    assert [(part.kind, part.major, part.origin) for part in own.parts] == [
        ("headers", 12, "toolkit"),
        ("libdevice", 12, "toolkit"),
        ("nvrtc", 13, "loader"),
    ]
    assert own.of("nvrtc", 12) == ()


def test_only_environments_that_compile_are_looked_at(tmp_path):
    assert compilers(tmp_path, {}, distribution("torch", "2.14.1")).environments == ()


def test_a_folder_that_may_not_be_entered_is_a_problem_of_its_environment_alone(tmp_path):
    class Closed(RootHost):
        def list(self, path):
            if path.startswith("/closed"):
                raise Unavailable(f"{path} may not be entered")
            return super().list(path)

    (tmp_path / "etc").mkdir()
    one = environment(distribution("numba", "0.68.1"))
    other = one._replace(prefix="/closed", site_packages=("/closed/lib",))
    facts = Facts(Closed(str(tmp_path)), {PythonEnvironments: environments(one, other)}).with_known(
        NOTHING, Environment({}, ()), LoaderCache(b"")
    )
    found = facts.get(KernelCompilers)
    assert found.get(one).problems == ()
    assert found.get(other).problems == ("/closed/lib/nvidia may not be entered",)
