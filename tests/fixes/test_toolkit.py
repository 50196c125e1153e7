"""Links, compilers and toolkits for builds; and builds of frameworks that fit."""

from framework_environments import (
    GTX_1080,
    PREFIX,
    RTX_4090,
    SITE,
    V100,
    build,
    distribution,
    driver,
    environment,
    environments,
    gpus,
    torch,
    use,
)

from gpudoctor import Effort, Finding, Findings, Manual, Run, Step
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.conda import CondaPackage
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.system import OperatingSystem
from gpudoctor.facts.toolkits import CudaToolkits, DefaultLink, NvccOnPath, Toolkit
from gpudoctor.registry import load_plugins, registry
from gpudoctor.repair import fixes_for
from gpudoctor.testing import steps_of

UBUNTU = OperatingSystem("ubuntu", "24.04", "Ubuntu 24.04", "debian")


def toolkit(version: str, gcc: int | None = None) -> Toolkit:
    folder = f"/usr/local/cuda-{version}"
    told = (f"{folder}/version.json", f"{folder}/bin/nvcc", version, f"{folder}/include/cuda.h", gcc, None, "")
    return Toolkit(folder, folder, version, *told, "local", ("/usr/local",))


def dangling(*links: tuple[str, str]) -> DefaultLink:
    return DefaultLink(links, "", None)


def toolkits(*members: Toolkit, link: DefaultLink | None = None, path: Toolkit | None = None) -> CudaToolkits:
    on_path = NvccOnPath(path.nvcc, path.nvcc, (), path) if path else None
    return CudaToolkits(members, link, on_path, (), ())


def about(id: str, *builds: FrameworkBuild) -> Findings:
    return Findings(tuple((id, Finding("found.", one.words, environment=one.environment.prefix)) for one in builds))


def commands(steps: tuple[Step, ...]) -> list[str]:
    return [str(step.action) for step in steps if isinstance(step.action, Run)]


def by_hand(steps: tuple[Step, ...]) -> str:
    return " ".join(step.action.instruction for step in steps if isinstance(step.action, Manual))


# lead-cuda-link


def test_the_packages_keep_the_link() -> None:
    link = dangling(("/usr/local/cuda", "/etc/alternatives/cuda"), ("/etc/alternatives/cuda", "/usr/local/cuda-12.4"))
    (step,) = steps_of("lead-cuda-link", toolkits(toolkit("12.8"), link=link))
    assert commands((step,)) == ["update-alternatives --auto cuda"]
    assert str(step.verify) == "test -e /usr/local/cuda"
    assert isinstance(step.undo, Manual)


def test_a_link_that_was_made_by_hand() -> None:
    link = dangling(("/usr/local/cuda", "/usr/local/cuda-12.4"))
    (step,) = steps_of("lead-cuda-link", toolkits(toolkit("12.8"), link=link))
    assert commands((step,)) == ["ln -sfn /usr/local/cuda-12.8 /usr/local/cuda"]
    assert str(step.undo) == "ln -sfn /usr/local/cuda-12.4 /usr/local/cuda"
    two = steps_of("lead-cuda-link", toolkits(toolkit("12.8"), toolkit("13.0"), link=link))
    assert commands(two) == []
    assert "/usr/local/cuda-12.8 or /usr/local/cuda-13.0" in by_hand(two)
    none = steps_of("lead-cuda-link", toolkits(link=link))
    assert "rm /usr/local/cuda" in by_hand(none)


def test_a_link_with_words_for_a_shell() -> None:
    link = dangling(("/usr/local/cuda", "/tmp/x;reboot"))
    steps = steps_of("lead-cuda-link", toolkits(toolkit("12.8"), link=link))
    assert commands(steps) == []
    assert "by hand" in by_hand(steps)


def test_a_healthy_link_is_left_alone() -> None:
    one = toolkit("12.8")
    healthy = DefaultLink((("/usr/local/cuda", one.folder),), one.folder, one)
    assert steps_of("lead-cuda-link", toolkits(one, link=healthy)) == ()
    assert steps_of("lead-cuda-link", toolkits(one)) == ()


# choose-host-compiler, choose-toolkit


def test_an_older_compiler_is_there() -> None:
    nvcc = toolkits(toolkit("12.8", 14), path=toolkit("12.8", 14))
    there = by_hand(steps_of("choose-host-compiler", nvcc, HostCompilers(15, (12, 13, 15)), UBUNTU))
    assert there == "Put `export NVCC_CCBIN=/usr/bin/g++-13` into ~/.profile."
    lacking = by_hand(steps_of("choose-host-compiler", nvcc, HostCompilers(15, (15,)), UBUNTU))
    assert "`sudo apt-get install g++-14`" in lacking
    assert "g++-N" in by_hand(steps_of("choose-host-compiler", toolkits()))


def test_choose_toolkit_says_what_the_finding_says() -> None:
    found = Finding("CUDA_HOME leads nowhere.", "CUDA_HOME", remedy="`export CUDA_HOME=/usr/local/cuda-12.8`.")
    (step,) = steps_of("choose-toolkit", Findings((("cuda.nvcc-mismatch", found),)))
    assert by_hand((step,)) == found.remedy
    assert step.why == "CUDA_HOME leads nowhere, and which toolkit is meant only its owner knows."


# install-fitting-build


def test_the_variant_for_an_old_driver() -> None:
    one = torch("2.5.1+cu121", (12, 1), "sm_89")
    old = driver("470.256.02", (11, 4))
    (step,) = steps_of(
        "install-fitting-build", about("cuda.driver-too-old", one), FrameworkBuilds((one,)), old, gpus(RTX_4090)
    )
    (command,) = commands((step,))
    assert command.startswith(f"{PREFIX}/bin/python -m pip install --index-url https://download.pytorch.org/whl/cu118")
    assert "torch==2.5.1+cu118" in command
    assert not step.root
    assert str(step.undo).endswith("torch===2.5.1")
    assert str(step.verify).endswith(f"{SITE}/torch-2.5.1+cu118.dist-info'") or "2.5.1+cu118" in str(step.verify)


def test_the_builds_of_other_environments_stay() -> None:
    one, other = torch("2.5.1+cu121", (12, 1), "sm_89"), torch("2.6.0", (12, 4), "sm_89")
    old = driver("470.256.02", (11, 4))
    elsewhere = Findings((("cuda.driver-too-old", Finding("found.", one.words, environment="/elsewhere")),))
    assert steps_of("install-fitting-build", elsewhere, FrameworkBuilds((one, other)), old, gpus(RTX_4090)) == ()


def test_cupy_of_the_other_name() -> None:
    found = distribution("cupy-cuda13x", "14.2.0")
    one = build("cupy", found, (13, 0), where=environment(found), cuda_minor_known=False)
    asked = about("cuda.arch-unsupported-by-nvcc", one)
    steps = steps_of("install-fitting-build", asked, FrameworkBuilds((one,)), driver("580.95.05", (13, 0)), gpus(V100))
    first, second = commands(steps)
    assert first == f"{PREFIX}/bin/python -m pip uninstall -y cupy-cuda13x"
    assert "cupy-cuda12x" in second
    # With an nvcc that does not build for the GPU either, one fix says both.
    nvcc = Finding("nvcc does not build for it.", remedy="Install the toolkit of CUDA 12.9.")
    both = Findings((("cuda.arch-unsupported-by-nvcc", nvcc), *asked.items))
    assert steps_of("choose-toolkit", both) == ()
    steps = steps_of("install-fitting-build", both, FrameworkBuilds((one,)), driver("580.95.05", (13, 0)), gpus(V100))
    assert by_hand(steps) == nvcc.remedy
    assert len(commands(steps)) == 2
    alone = Findings((("cuda.arch-unsupported-by-nvcc", nvcc),))
    assert steps_of("install-fitting-build", alone, FrameworkBuilds((one,))) == ()
    assert by_hand(steps_of("choose-toolkit", alone)) == nvcc.remedy


def test_nothing_fits() -> None:
    one = torch("2.5.1+cu121", (12, 1), "sm_61")
    ancient = driver("390.157", (9, 1))
    asked = about("cuda.driver-too-old", one)
    steps = steps_of("install-fitting-build", asked, FrameworkBuilds((one,)), ancient, gpus(GTX_1080))
    assert commands(steps) == []
    assert "Update the driver" in by_hand(steps)


# install-cuda-libraries, pin-conda-cuda, explain-newer-driver


def test_a_pinned_library_comes_back() -> None:
    pinned = distribution("torch", "2.9.1", 'nvidia-cublas-cu12==12.8.4.1; platform_system == "Linux"')
    one = build("torch", pinned, (12, 8), where=environment(pinned), version="2.9.1+cu128")
    needs = FrameworkLibraries((use("torch", "libcublas.so.12"),))
    (step,) = steps_of("install-cuda-libraries", about("cuda.library-missing", one), FrameworkBuilds((one,)), needs)
    assert commands((step,)) == [f"{PREFIX}/bin/python -m pip install nvidia-cublas-cu12==12.8.4.1"]
    assert "libcublas.so.12" in step.why
    nothing = FrameworkLibraries(())
    asked = about("cuda.library-missing", one)
    assert steps_of("install-cuda-libraries", asked, FrameworkBuilds((one,)), nothing, ComputeGpus(())) == ()


def test_conda_goes_back() -> None:
    records = (CondaPackage("cuda-version", "13.0", "h0_0"), CondaPackage("cuda-cudart", "13.0.48", "h0_0"))
    place = environment(prefix="/opt/conda/envs/train", kind="conda", conda=records)
    asked = Findings((("cuda.conda-toolkit-too-new", Finding("found.", environment=place.prefix)),))
    (step,) = steps_of("pin-conda-cuda", asked, environments(place), driver("535.309.01", (12, 2)))
    assert commands((step,)) == ["conda install -y -p /opt/conda/envs/train cuda-version=12.2"]
    assert str(step.undo) == "conda install -y -p /opt/conda/envs/train cuda-version=13.0"
    assert steps_of("pin-conda-cuda", asked, environments(place)) == ()


def test_explain_newer_driver() -> None:
    found = Finding("It calls what is not there.", remedy="Update the driver to branch 570 or later.")
    (step,) = steps_of("explain-newer-driver", Findings((("cuda.call-needs-newer-driver", found),)))
    assert by_hand((step,)) == found.remedy


def test_every_check_of_cuda_and_env_has_a_fix() -> None:
    load_plugins(fixes=True)
    kinds = ("cuda.", "env.", "python.cuda-major")
    assert [id for id in registry.checks if id.startswith(kinds) and not fixes_for(id)] == []
    # A mere explanation would be chosen before a repair, so no check has both.
    for id in registry.checks:
        if id.startswith(kinds) and id != "cuda.arch-unsupported-by-nvcc":
            assert len({registry.fixes[fix].effort is Effort.EXPLAIN for fix in fixes_for(id)}) == 1, id
