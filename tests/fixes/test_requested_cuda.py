"""A CUDA toolkit on request: from where, never with a driver, the driver first where it must, and nvcc as proof."""

import pytest
from framework_environments import GTX_1080, H200, driver, gpus, torch
from offered_packages import bookworm, nvidia
from offered_packages import toolkits as offered_toolkits
from offered_packages import ubuntu as ubuntu_offers

from gpudoctor import Manual, Phase, Reboot, Run
from gpudoctor.facts.compilers import HostCompilers, NvccHostCompiler
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.package_offers import Offer, PackageOffers
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.toolkits import CudaToolkits, DefaultLink, Toolkit
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.facts.wanted import wanted_of
from gpudoctor.testing import steps_of

GIB = 1 << 30
PATH = "/home/ada/cuda_12.8.0_570.86.10_linux.run"
NO_FILE = RequestedRunfile("", "", "", "", 0, ())
ROOM = (("/tmp", 50 * GIB), ("/var/tmp", 50 * GIB), ("/usr", 50 * GIB))
ARCHIVE = RequestedRunfile(PATH, "cuda", "12.8.0", "version.json in it", 8 * GIB, ROOM)
HOPPER = PciGpu("0000:03:00.0", "2335", "nvidia", "H200", "Hopper", "either", None, "")
OWN = OwnInstallation("/opt/gpudoctor/bin/gpudoctor", True)
BENCH = "/opt/gpudoctor/bin/gpudoctor bench --quick"
NOTHING_HERE = CudaToolkits((), None, None, (), ())
NEW, OLD = driver("570.86.16", (12, 8)), driver("535.309.01", (12, 2))
OFFERS = PackageOffers(offered_toolkits("12.4.1", "12.8.0", "12.8.1", "13.0.2"))


def bring(machine, *more, text="cuda=12.8", runfile=""):
    """The steps for a driver that runs CUDA 12.8 and an H200, unless `more` says something else."""
    facts = (OWN, NO_FILE, OFFERS, PciGpus((HOPPER,)), gpus(H200), NEW, NOTHING_HERE)
    return steps_of("bring-cuda", *machine, *facts, wanted_of(text.split(), runfile), *more)


def toolkit(version, folder="", origin="local"):
    folder = folder or f"/usr/local/cuda-{'.'.join(version.split('.')[:2])}"
    told = (f"{folder}/version.json", f"{folder}/bin/nvcc", version, f"{folder}/include/cuda.h", None, None, "")
    return Toolkit(folder, folder, version, *told, origin, ("/usr/local",))


def here(*members, links=(), leads_to=None):
    """Toolkits, and where /usr/local/cuda leads: by links, or as a folder of its own."""
    link = DefaultLink(tuple(links), leads_to.folder if leads_to else "", leads_to) if links or leads_to else None
    return CudaToolkits(members, link, None, (), ())


BY_ALTERNATIVES = (("/usr/local/cuda", "/etc/alternatives/cuda"), ("/etc/alternatives/cuda", "/usr/local/cuda-13.0"))


# From where


def test_nvidias_toolkit_without_a_driver_then_the_link_and_nvcc(ubuntu, commands):
    assert commands(bring(ubuntu)) == [
        "apt-get -y --no-remove -o Dpkg::Options::=--force-confold install --no-install-recommends "
        "cuda-toolkit-12-8=12.8.1-1",
        "update-alternatives --set cuda /usr/local/cuda-12.8",
        "/usr/local/cuda-12.8/bin/nvcc -V",
        BENCH,
    ]


def test_it_is_tried_first(ubuntu):
    trial = next(step for step in bring(ubuntu) if step.phase is Phase.SIMULATE)
    assert {"-s", "--no-remove", "cuda-toolkit-12-8=12.8.1-1"} <= set(trial.action.argv)


def test_what_drags_a_driver_along_is_never_asked_for(ubuntu, commands):
    offers = PackageOffers((*OFFERS.offers, Offer("cuda", "13.0.2-1", "NVIDIA"), *nvidia("580.95.05")))
    asked = [word for command in commands(bring(ubuntu, offers)) if "apt-get" in command for word in command.split()]
    assert [word for word in asked if "=" in word and "::" not in word] == ["cuda-toolkit-12-8=12.8.1-1"]
    assert not {"cuda", "cuda-12-8", "cuda-drivers"} & set(asked)


def test_an_exact_release(ubuntu, commands):
    assert "cuda-toolkit-12-8=12.8.0-1" in commands(bring(ubuntu, text="cuda=12.8.0"))[0]


def test_it_can_be_taken_back(ubuntu):
    install = next(step for step in bring(ubuntu) if step.phase is Phase.INSTALL)
    assert isinstance(install.undo, Run)
    assert install.undo.argv[-2:] == ("remove", "cuda-toolkit-12-8")


def test_what_no_repository_offers(ubuntu, by_hand):
    steps = bring(ubuntu, PackageOffers(()))
    assert len(steps) == 1, "nothing follows what a person has to do first"
    assert "Add NVIDIA's repository" in by_hand(steps)
    assert "name it with --runfile" in by_hand(steps)


def test_debians_own_without_what_it_recommends(debian):
    """It recommends the whole driver of Debian."""
    steps = bring(debian, bookworm(), driver("535.309.01", (12, 2)), text="cuda=11.8")
    install = next(step for step in steps if step.phase is Phase.INSTALL)
    assert "--no-install-recommends" in install.action.argv
    assert install.action.argv[-1].startswith("nvidia-cuda-toolkit=11.8.")
    assert next(str(step.action) for step in steps if step.phase is Phase.AFTERWARDS) == "nvcc -V"
    assert not any("/usr/local/cuda" in str(step.action) for step in steps), "it lies in /usr"


def test_debians_own_is_not_taken_for_another_release(debian, by_hand):
    assert "Add NVIDIA's repository" in by_hand(bring(debian, bookworm(), text="cuda=12.8"))


@pytest.mark.parametrize("kind", ["NVIDIA's packages", "a .run file"])
def test_debians_own_is_not_mixed_with_another_driver(debian, a_package, by_hand, kind):
    facts = (Packages("dpkg", (a_package("libnvidia-compute", "590.48.01-1", vendor="NVIDIA"),)),)
    if kind == "a .run file":
        facts = (Packages("dpkg", ()), RunfileTraces(("/var/lib/nvidia/log",), "570.86.16", "/usr/bin/x", ""))
    steps = bring(debian, bookworm(), *facts, text="cuda=11.8")
    assert all(isinstance(step.action, Manual) for step in steps)
    assert "Take the toolkit from NVIDIA" in by_hand(steps)


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("fedora", "cuda=12.8", "dnf -y install cuda-toolkit-12-8"),
        ("fedora", "cuda=12.8.1", "dnf -y install cuda-toolkit-12-8-12.8.1"),
        ("suse", "cuda=12.8", "zypper --non-interactive install cuda-toolkit-12-8"),
    ],
)
def test_dnf_and_zypper_find_out_themselves(machines, commands, name, text, command):
    steps = bring(machines[name], text=text)
    assert commands(steps)[0] == command
    assert any(step.phase is Phase.SIMULATE for step in steps)
    assert "update-alternatives --set cuda /usr/local/cuda-12.8" in commands(steps)


def test_arch_has_one_cuda_and_is_upgraded_as_a_whole(arch, commands, by_hand):
    offers = PackageOffers((Offer("cuda", "12.8.1-1", "Arch Linux"),))
    assert commands(bring(arch, offers))[:2] == ["pacman -Syu --noconfirm --needed cuda", "nvcc -V"]
    assert "Add NVIDIA's repository" in by_hand(bring(arch, offers, text="cuda=12.4"))


def test_a_system_that_is_changed_as_one_image(fedora, by_hand):
    steps = bring(fedora, PackageManager("", "Fedora Silverblue is changed through rpm-ostree"))
    assert "rpm-ostree" in steps[0].why
    assert "--runfile" in by_hand(steps)


def test_where_there_is_no_room_nothing_is_begun(ubuntu, by_hand):
    steps = bring(ubuntu, FreeSpace({"/": 4 * GIB}))
    assert len(steps) == 1
    assert "4.0 GiB are free" in by_hand(steps)
    assert len(bring(ubuntu, FreeSpace({"/": 40 * GIB}))) > 3


# The driver first


def test_a_driver_that_is_too_old_is_exchanged_first(debian):
    """CUDA 13 needs branch 580; NVIDIA's repository offers newer ones too."""
    facts = (Packages("dpkg", ()), DriverVersions("", "", "", "", "", "", ""), OLD)
    offers = PackageOffers((*offered_toolkits("13.0.2"), *nvidia("580.95.05", "590.48.01")))
    steps = sorted(bring(debian, *facts, offers, text="cuda=13.0"), key=lambda step: step.phase)
    installs = [str(step.action) for step in steps if step.phase is Phase.INSTALL]
    assert "nvidia-open=580.95.05-1ubuntu1" in installs[-2], "the lowest that serves it natively"
    assert "cuda-toolkit-13-0=13.0.2-1" in installs[-1]
    assert str(steps[-2].action) == "/usr/local/cuda-13.0/bin/nvcc -V"
    assert str(steps[-1].action) == BENCH


def test_where_the_driver_has_to_come_by_hand_the_toolkit_waits(ubuntu, by_hand):
    steps = bring(ubuntu, OLD, text="cuda=13.0")
    assert all(isinstance(step.action, Manual) for step in steps)
    assert "580" in by_hand(steps)


def test_minor_version_compatibility_is_enough(ubuntu, commands):
    """Driver 535 serves CUDA 12.2, and runs every 12."""
    assert "cuda-toolkit-12-8" in commands(bring(ubuntu, OLD))[0]


def test_without_a_driver_one_comes_along_where_there_is_a_gpu(ubuntu):
    facts = (Packages("dpkg", ()), DriverVersions("", "", "", "", "", "", ""), driver("", None))
    offers = PackageOffers((*offered_toolkits("12.8.1"), *ubuntu_offers("550.163.01", "570.211.01", "580.95.05")))
    installs = [str(step.action) for step in bring(ubuntu, *facts, offers) if step.phase is Phase.INSTALL]
    assert any("570.211.01" in command for command in installs)
    alone = [str(step.action) for step in bring(ubuntu, *facts, offers, PciGpus(())) if step.phase is Phase.INSTALL]
    assert len(alone) == 1, "a machine that only builds needs none"
    assert "cuda-toolkit-12-8=12.8.1-1" in alone[0]


def test_a_driver_that_is_asked_for_too_is_its_own_fix(ubuntu, commands):
    steps = commands(bring(ubuntu, OLD, text="cuda=13.0 driver=580"))
    assert steps[0].endswith("install --no-install-recommends cuda-toolkit-13-0=13.0.2-1")


def test_the_last_request_brings_the_proof(ubuntu, commands):
    assert commands(bring(ubuntu, text="cuda=12.8 driver=580"))[-1] == BENCH
    assert commands(bring(ubuntu, text="cuda=12.8 cudnn=9"))[-1] == "/usr/local/cuda-12.8/bin/nvcc -V"


def test_a_framework_that_the_new_driver_does_not_run_is_installed_anew(debian):
    """Nothing newer runs less, so that only a driver that goes back can do that: here nothing changes."""
    builds = FrameworkBuilds((torch("2.9.1+cu130", (13, 0), "sm_90"),))
    steps = bring(debian, builds)
    assert not any("pip install" in str(step.action) for step in steps)
    (last,) = [step for step in steps if str(step.action) == BENCH]
    assert "No framework has to be installed anew: torch 2.9.1+cu130" in last.why


# The link


@pytest.mark.parametrize(
    ("found", "command", "back"),
    [
        (here(), "update-alternatives --set cuda /usr/local/cuda-12.8", "update-alternatives --auto cuda"),
        (
            here(links=BY_ALTERNATIVES, leads_to=toolkit("13.0.2")),
            "update-alternatives --set cuda /usr/local/cuda-12.8",
            "update-alternatives --auto cuda",
        ),
        (
            here(links=(("/usr/local/cuda", "/usr/local/cuda-11.8"),), leads_to=toolkit("11.8.0")),
            "ln -sfn /usr/local/cuda-12.8 /usr/local/cuda",
            "ln -sfn /usr/local/cuda-11.8 /usr/local/cuda",
        ),
    ],
    ids=["none", "alternatives", "by hand"],
)
def test_the_link_leads_to_what_was_asked_for(ubuntu, found, command, back):
    (step,) = [step for step in bring(ubuntu, found) if step.phase is Phase.CONFIGURE]
    assert str(step.action) == command
    assert str(step.undo) == back
    assert str(step.verify) == "test /usr/local/cuda -ef /usr/local/cuda-12.8"


def test_a_folder_where_the_link_belongs_is_moved_by_a_person(ubuntu, by_hand):
    found = here(leads_to=toolkit("11.8.0", "/usr/local/cuda"))
    assert "Move /usr/local/cuda out of the way" in by_hand(bring(ubuntu, found))


def test_where_the_toolkit_is_there_only_the_link_is_led(ubuntu, commands):
    wanted = toolkit("12.8.1")
    found = here(wanted, toolkit("13.0.2"), links=BY_ALTERNATIVES, leads_to=toolkit("13.0.2"))
    assert commands(bring(ubuntu, found))[0] == "update-alternatives --set cuda /usr/local/cuda-12.8"
    without_link = commands(bring(ubuntu, here(wanted)))[0]
    assert without_link == "ln -sfn /usr/local/cuda-12.8 /usr/local/cuda", "nobody knows of alternatives"
    leads = here(wanted, links=(("/usr/local/cuda", "/usr/local/cuda-12.8"),), leads_to=wanted)
    assert commands(bring(ubuntu, leads))[0].endswith("nvcc -V")


def test_a_toolkit_of_an_environment_is_none_of_the_machines(ubuntu, commands):
    conda = toolkit("12.8.1", "/home/ada/conda", origin="conda")
    assert "cuda-toolkit-12-8=12.8.1-1" in commands(bring(ubuntu, here(conda)))[0]


# The compiler


def test_a_compiler_that_nvcc_refuses(ubuntu, by_hand):
    gcc = NvccHostCompiler("gcc", 14, "/usr/bin/gcc", "/usr/bin/x86_64-linux-gnu-gcc-14", "PATH")
    steps = bring(ubuntu, gcc, HostCompilers(14, (13, 14)), text="cuda=12.4")
    assert "export NVCC_CCBIN=/usr/bin/g++-13" in by_hand(steps)
    assert by_hand(bring(ubuntu, gcc, HostCompilers(14, (13, 14)))) == "", "CUDA 12.8 takes gcc 14"


# From NVIDIA's file


def test_the_file_gives_the_toolkit_alone(ubuntu, commands):
    assert commands(bring(ubuntu, ARCHIVE, runfile=PATH)) == [
        f"sh {PATH} --silent --toolkit",
        "ln -sfn /usr/local/cuda-12.8 /usr/local/cuda",
        "/usr/local/cuda-12.8/bin/nvcc -V",
        BENCH,
    ]


def test_the_file_tests_itself_first_and_its_uninstaller_takes_it_back(ubuntu):
    steps = bring(ubuntu, ARCHIVE, runfile=PATH)
    assert str(steps[0].action) == f"sh {PATH} --check"
    assert str(steps[1].verify) == "test -e /usr/local/cuda-12.8/bin/nvcc"
    assert str(steps[1].undo) == "/usr/local/cuda-12.8/bin/cuda-uninstaller --silent"


def test_a_file_whose_name_alone_tells_the_release_is_told_apart(ubuntu):
    named = ARCHIVE._replace(version_source="its name")
    assert any("only its name says" in step.why for step in bring(ubuntu, named, runfile=PATH))
    assert not any("only its name says" in step.why for step in bring(ubuntu, ARCHIVE, runfile=PATH))


def test_room_for_the_file(ubuntu, by_hand, commands):
    little = ARCHIVE._replace(free=(("/tmp", GIB), ("/var/tmp", GIB), ("/usr", 50 * GIB)))
    assert "unpacks to 8.0 GiB" in by_hand(bring(ubuntu, little, runfile=PATH))
    elsewhere = ARCHIVE._replace(free=(("/tmp", GIB), ("/var/tmp", 50 * GIB), ("/usr", 50 * GIB)))
    assert commands(bring(ubuntu, elsewhere, runfile=PATH))[0] == f"sh {PATH} --silent --toolkit --tmpdir=/var/tmp"


# What is refused, and what nothing was said about


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("driver=580", ()),
        ("cuda=13.0", (gpus(GTX_1080),)),  # builds for none
        ("cuda=13.0 driver=535", ()),
        ("cuda=13.0", (Confinement("docker", False), OLD)),
    ],
)
def test_what_is_refused_or_not_asked_for_has_no_plan(ubuntu, text, more):
    assert bring(ubuntu, *more, text=text) == ()


def test_on_a_disk_nothing_is_tried_on_the_gpu(ubuntu):
    kernel = next(fact for fact in ubuntu if isinstance(fact, Kernel))
    steps = bring(ubuntu, kernel._replace(running=False))
    assert BENCH not in [str(step.action) for step in steps]
    assert not any(isinstance(step.action, Reboot) for step in steps)
