"""Variables that hide GPUs, make them slow, or put the wrong libraries first."""

import pytest
from framework_environments import (
    PREFIX,
    RTX_4090,
    RTX_5090,
    SITE,
    build,
    distribution,
    environment,
    gpus,
    torch,
    tried,
    use,
)
from outcomes import only, severity_of, status

from gpudoctor import Severity
from gpudoctor.facts.answers import Cuda, Nvml, NvmlGpu
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.loader import Found, LoaderConfig, LoaderFolder
from gpudoctor.facts.system import Kernel
from gpudoctor.findings import Status
from gpudoctor.testing import outcome_of

SHADOWS, VISIBLE = "env.library-path-shadows", "env.cuda-visible-devices"
ORDER, SWITCHES = "env.cuda-device-order", "env.framework-switches"
TWO = ComputeGpus((RTX_4090, RTX_4090._replace(address="0000:02:00.0")))
UUIDS = ("GPU-3f1a0d52-aaaa-bbbb-cccc-000000000001", "GPU-77b1c9e0-aaaa-bbbb-cccc-000000000002")
NVML = Nvml(
    *(0, "NVML_SUCCESS", "", "", "", "580.95.05", 13000),
    tuple(
        NvmlGpu(number, 0, "NVML_SUCCESS", "NVIDIA GeForce RTX 4090", uuid, "", None, (8, 9), None, {}, {})
        for number, uuid in enumerate(UUIDS)
    ),
)


def variables(**values: str) -> Environment:
    return Environment(values, ())


# env.library-path-shadows


WHEELS = (
    distribution("torch", "2.5.1"),
    distribution("nvidia-nvjitlink-cu12", "12.4.127"),
    distribution("nvidia-cublas-cu12", "12.4.5.8"),
)
FOLDER = "/usr/local/cuda-12.1/lib64"
LINE = f'export LD_LIBRARY_PATH="{FOLDER}:$LD_LIBRARY_PATH"'
SHELL = Environment(
    {"LD_LIBRARY_PATH": f"{FOLDER}:"},
    (Setting("LD_LIBRARY_PATH", f"{FOLDER}:$LD_LIBRARY_PATH", "/home/ada/.bashrc", 118, LINE),),
)


def torch_build(in_use: bool = True) -> FrameworkBuild:
    place = environment(*WHEELS, in_use=in_use)
    return build("torch", WHEELS[0], (12, 4), "sm_89", where=place, version="2.5.1+cu124")


def shadow(name: str, piece: str, real: str) -> LibraryUse:
    own = f"{SITE}/nvidia/{piece}/lib/{name}"
    taken = Found(f"{FOLDER}/{name}", real, "LD_LIBRARY_PATH")
    return LibraryUse(PREFIX, "torch", name, "/x.so", taken, Found(own, own, "RUNPATH of /x.so"))


JITLINK = shadow("libnvJitLink.so.12", "nvjitlink", f"{FOLDER}/libnvJitLink.so.12.1.105")
CUBLAS = shadow("libcublas.so.12", "cublas", f"{FOLDER}/libcublas.so.12.1.3.1")
NEWER = shadow("libcublas.so.12", "cublas", "/usr/local/cuda-12.6/lib64/libcublas.so.12.6.4.1")
NAMELESS = shadow("libcublas.so.12", "cublas", f"{FOLDER}/libcublas.so.12")


def test_an_older_toolkit_comes_first() -> None:
    found = only(SHADOWS, FrameworkBuilds((torch_build(),)), FrameworkLibraries((CUBLAS, JITLINK)), SHELL)
    assert found.severity is Severity.ERROR  # libnvJitLink's symbols carry the release
    assert found.subject == "LD_LIBRARY_PATH"
    assert found.summary == (
        "LD_LIBRARY_PATH gives torch 2.5.1+cu124 in /home/ada/venv libcublas.so.12 of 12.1.3.1 in place of its own, "
        "12.4.5.8, and 1 more library."
    )
    assert ("/home/ada/.bashrc:118", LINE) in found.evidence
    assert ("LD_LIBRARY_PATH", f"{FOLDER}:") in found.evidence
    assert "/home/ada/.bashrc (line 118)" in found.remedy
    assert f"Take {FOLDER} out of LD_LIBRARY_PATH" in found.remedy


@pytest.mark.parametrize(
    ("one", "severity"),
    [(CUBLAS, Severity.WARNING), (NAMELESS, Severity.WARNING), (NEWER, Severity.INFO)],
)
def test_how_bad_it_is(one: LibraryUse, severity: Severity) -> None:
    assert only(SHADOWS, FrameworkBuilds((torch_build(),)), FrameworkLibraries((one,)), SHELL).severity is severity


def test_the_form_that_nvidia_s_guide_gives() -> None:
    value = f"{FOLDER}${{LD_LIBRARY_PATH:+:${{LD_LIBRARY_PATH}}}}"
    line = f"export LD_LIBRARY_PATH={value}"
    shell = SHELL._replace(settings=(Setting("LD_LIBRARY_PATH", value, "/home/ada/.profile", 4, line),))
    found = only(SHADOWS, FrameworkBuilds((torch_build(),)), FrameworkLibraries((JITLINK,)), shell)
    assert "/home/ada/.profile (line 4)" in found.remedy


def test_elsewhere_and_unset() -> None:
    aside = FrameworkBuilds((torch_build(in_use=False),))
    assert only(SHADOWS, aside, FrameworkLibraries((JITLINK,)), SHELL).severity is Severity.WARNING
    found = only(
        SHADOWS, FrameworkBuilds((torch_build(),)), FrameworkLibraries((JITLINK,)), SHELL._replace(settings=())
    )
    assert found.remedy.startswith("`unset LD_LIBRARY_PATH`")


def test_the_wheels_for_cuda_13_share_a_folder() -> None:
    members = (distribution("torch", "2.14.1"), distribution("nvidia-cublas", "13.1.1.3"))
    one = build("torch", members[0], (13, 0), where=environment(*members), version="2.14.1+cu130")
    own = f"{SITE}/nvidia/cu13/lib/libcublas.so.13"
    taken = Found(
        "/usr/local/cuda-13.0/lib64/libcublas.so.13",
        "/usr/local/cuda-13.0/lib64/libcublas.so.13.0.2.14",
        "LD_LIBRARY_PATH",
    )
    taking = LibraryUse(PREFIX, "torch", "libcublas.so.13", "/x.so", taken, Found(own, own, "RPATH of /x.so"))
    found = only(SHADOWS, FrameworkBuilds((one,)), FrameworkLibraries((taking,)), SHELL)
    assert "libcublas.so.13 of 13.0.2.14 in place of its own, 13.1.1.3" in found.summary


def test_ld_so_conf_before_the_wheels() -> None:
    members = (distribution("onnxruntime-gpu", "1.22.0"), distribution("nvidia-cublas-cu12", "12.9.1.4"))
    ort = build("onnxruntime", members[0], (12, 0), where=environment(*members), cuda_minor_known=False)
    real = f"{FOLDER}/libcublas.so.12.1.3.1"
    cached = LibraryUse(
        PREFIX, "onnxruntime", "libcublas.so.12", "/x.so", Found(f"{FOLDER}/libcublas.so.12", real, "ld.so.cache"), None
    )
    config = LoaderConfig((LoaderFolder(FOLDER, "/etc/ld.so.conf.d/cuda.conf", 1),))
    found = only(SHADOWS, FrameworkBuilds((ort,)), FrameworkLibraries((cached,)), variables(), config)
    assert found.severity is Severity.WARNING
    assert found.subject == FOLDER
    assert ("/etc/ld.so.conf.d/cuda.conf:1", FOLDER) in found.evidence
    # A newer one serves; and without a wheel the system's library is what is meant.
    newer = cached._replace(found=Found(f"{FOLDER}/libcublas.so.12", "/x/libcublas.so.12.9.1.4", "ld.so.cache"))
    assert status(SHADOWS, FrameworkBuilds((ort,)), FrameworkLibraries((newer,)), variables(), config) is Status.OK
    bare = build("onnxruntime", members[0], (12, 0), cuda_minor_known=False)
    assert status(SHADOWS, FrameworkBuilds((bare,)), FrameworkLibraries((cached,)), variables(), config) is Status.OK


def test_nothing_is_in_the_way() -> None:
    own = use("torch", "libcublas.so.12", f"{SITE}/nvidia/cublas/lib/libcublas.so.12")
    builds = FrameworkBuilds((torch_build(),))
    assert status(SHADOWS, builds, FrameworkLibraries((own,)), SHELL) is Status.OK
    trials = tried()
    assert status(SHADOWS, builds, FrameworkLibraries((JITLINK,)), SHELL, trials) is Status.OK
    disk = Environment({}, (), "nobody knows the variables of a disk")
    outcome = outcome_of(SHADOWS, builds, FrameworkLibraries((own,)), disk)
    assert (outcome.status, outcome.matters) == (Status.UNKNOWN, True)
    # Of a mounted disk nothing else was to be expected.
    outcome = outcome_of(SHADOWS, builds, FrameworkLibraries((own,)), disk, Kernel("6.1.0-50-amd64", False, None, ()))
    assert (outcome.status, outcome.matters, outcome.not_running) == (Status.UNKNOWN, False, True)


# env.cuda-visible-devices


@pytest.mark.parametrize(
    ("value", "left", "words"),
    [
        ("", "none", "hides every GPU"),
        ("  ", "none", "hides every GPU"),
        ("-1", "none", "names no GPU, and so hides all that follow"),
        ("NoDevFiles", "none", "neither a number nor a UUID"),
        ("all", "none", "NVIDIA_VISIBLE_DEVICES"),
        ("2", "none", "there are 2, counted from 0"),
        ("0,2,1", "1", "entry '2' names no GPU: there are 2, counted from 0, and the 1 behind it are dropped"),
        ("0,0", "none", "GPU 0 is named twice"),
        ("0 1", "1", "only the number at its beginning counts"),
        ('"0,1"', "none", "neither a number nor a UUID"),
        ("GPU-99999999", "none", "is the UUID of no GPU here"),
        ("GPU-3f1a0d52,1", "1", "is the UUID of no GPU here"),
        ("3f1a0d52-aaaa-bbbb-cccc-000000000001", "none", "names no GPU"),
    ],
)
def test_values_that_hide(value: str, left: str, words: str) -> None:
    found = only(VISIBLE, variables(CUDA_VISIBLE_DEVICES=value), TWO, NVML)
    assert words in found.summary
    assert found.summary.endswith(f"of 2 GPUs programs see {left}.")
    assert found.severity is (Severity.ERROR if left == "none" else Severity.WARNING)


def test_the_only_gpu_is_spoken_of_as_one() -> None:
    found = only(VISIBLE, variables(CUDA_VISIBLE_DEVICES="1"), ComputeGpus(TWO.gpus[:1]), NVML)
    told = "entry '1' names no GPU: there is only GPU 0; of 1 GPU programs see none."
    assert found.summary == f"CUDA_VISIBLE_DEVICES is '1': {told}"


@pytest.mark.parametrize("value", ["0,1,2,3", "0,1,"])
def test_a_list_that_is_longer_than_the_machine_has_gpus_hides_none(value: str) -> None:
    found = only(VISIBLE, variables(CUDA_VISIBLE_DEVICES=value), TWO, NVML)
    assert found.severity is Severity.INFO
    assert found.summary.endswith("of 2 GPUs programs see 2.")


@pytest.mark.parametrize(
    "value",
    ["0", "1", "0,1", "1,0", "0, 1", "+1", UUIDS[0], "GPU-3f1a0d52", ",".join(UUIDS), "MIG-8b5d3f00-1-0"],
)
def test_values_that_are_fine(value: str) -> None:
    assert status(VISIBLE, variables(CUDA_VISIBLE_DEVICES=value), TWO, NVML) is Status.OK


def test_who_sets_it() -> None:
    line = "export CUDA_VISIBLE_DEVICES=-1  # no GPU for me"
    shell = Environment(
        {"CUDA_VISIBLE_DEVICES": "-1"}, (Setting("CUDA_VISIBLE_DEVICES", "-1", "/home/ada/.profile", 3, line),)
    )
    found = only(VISIBLE, shell, TWO)
    assert ("/home/ada/.profile:3", line) in found.evidence
    assert "take the line out of /home/ada/.profile (line 3)" in found.remedy
    assert "find out what sets it" in only(VISIBLE, variables(CUDA_VISIBLE_DEVICES="-1"), TWO).remedy


def test_visible_devices_that_nobody_can_judge() -> None:
    assert status(VISIBLE, variables(), TWO) is Status.OK
    assert status(VISIBLE, variables(CUDA_VISIBLE_DEVICES="GPU-99999999"), TWO) is Status.OK  # no UUID is known
    assert status(VISIBLE, variables(CUDA_VISIBLE_DEVICES="-1"), ComputeGpus(())) is Status.SKIPPED
    assert status(VISIBLE, Environment({}, (), "a disk"), TWO) is Status.UNKNOWN


def test_libcuda_saw_as_many_as_are_listed() -> None:
    """In a container or a batch job numbers may count otherwise than on the bus."""
    seen = Cuda(0, "CUDA_SUCCESS", "", "", "", 13000, 1)
    assert status(VISIBLE, variables(CUDA_VISIBLE_DEVICES="5"), TWO, seen) is Status.OK
    assert status(VISIBLE, variables(CUDA_VISIBLE_DEVICES="0,5"), TWO, seen) is Status.FOUND


# env.cuda-device-order


def test_two_kinds_of_gpu() -> None:
    found = only(ORDER, variables(), gpus(RTX_4090, RTX_5090))
    assert severity_of(ORDER, found) is Severity.INFO
    assert "`export CUDA_DEVICE_ORDER=PCI_BUS_ID`" in found.remedy
    assert status(ORDER, variables(CUDA_DEVICE_ORDER="FASTEST_FIRST"), gpus(RTX_4090, RTX_5090)) is Status.FOUND
    assert status(ORDER, variables(CUDA_DEVICE_ORDER="PCI_BUS_ID"), gpus(RTX_4090, RTX_5090)) is Status.OK
    assert status(ORDER, variables(), TWO) is Status.OK
    assert status(ORDER, variables(), ComputeGpus(())) is Status.SKIPPED
    assert status(ORDER, Environment({}, (), "a disk"), gpus(RTX_4090, RTX_5090)) is Status.UNKNOWN


# env.framework-switches


@pytest.mark.parametrize(
    ("variable", "value", "severity"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", Severity.WARNING),
        ("CUDA_FORCE_PTX_JIT", "1", Severity.WARNING),
        ("CUDA_DISABLE_PTX_JIT", "1", Severity.WARNING),
        ("CUDA_MODULE_LOADING", "EAGER", Severity.INFO),
        ("PYTORCH_NVML_BASED_CUDA_CHECK", "1", Severity.INFO),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1", Severity.WARNING),
        ("JAX_PLATFORMS", "cpu", Severity.INFO),  # there is no JAX here
        ("NVIDIA_TF32_OVERRIDE", "0", Severity.INFO),
    ],
)
def test_switches(variable: str, value: str, severity: Severity) -> None:
    builds = FrameworkBuilds((torch("2.9.1", (12, 8), "sm_89"),))
    found = only(SWITCHES, variables(**{variable: value}), TWO, builds)
    assert severity_of(SWITCHES, found) is severity
    assert found.subject == variable
    assert found.summary.startswith(f"{variable} is {value}: ")
    assert ("/proc/self/environ", f"{variable}={value}") in found.evidence


def test_jax_on_the_cpu_where_jax_is() -> None:
    jax = build("jax", distribution("jax-cuda12-plugin", "0.8.0"), (12, 0), cuda_minor_known=False)
    found = only(SWITCHES, variables(JAX_PLATFORMS="cpu"), TWO, FrameworkBuilds((jax,)))
    assert found.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CUDA_LAUNCH_BLOCKING", "0"),
        ("CUDA_LAUNCH_BLOCKING", ""),
        ("CUDA_MODULE_LOADING", "LAZY"),
        ("JAX_PLATFORMS", "cuda,cpu"),
        ("TF_CPP_MIN_LOG_LEVEL", "1"),
        ("NVIDIA_TF32_OVERRIDE", "1"),
        ("CUDA_CACHE_PATH", "/scratch/cache"),
        ("NVIDIA_VISIBLE_DEVICES", "all"),
    ],
)
def test_switches_that_are_off(variable: str, value: str) -> None:
    assert status(SWITCHES, variables(**{variable: value}), TWO, FrameworkBuilds(())) is Status.OK
    assert status(SWITCHES, variables(CUDA_LAUNCH_BLOCKING="1"), ComputeGpus(()), FrameworkBuilds(())) is Status.SKIPPED
