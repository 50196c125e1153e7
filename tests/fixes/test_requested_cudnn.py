"""A cuDNN on request: the newest that serves the GPU, for the CUDA that is meant, library and headers alike."""

import pytest
from framework_environments import GTX_1080, H200, distribution, driver, environment, environments, gpus
from offered_packages import cudnns

from gpudoctor import Manual, Phase, Run
from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.facts.package_offers import Offer, PackageOffers
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Kernel
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit
from gpudoctor.facts.wanted import wanted_of
from gpudoctor.testing import steps_of

NO_FILE = RequestedRunfile("", "", "", "", 0, ())
HOPPER = PciGpu("0000:03:00.0", "2335", "nvidia", "H200", "Hopper", "either", None, "")
OWN = OwnInstallation("/opt/gpudoctor/bin/gpudoctor", True)
BENCH = "/opt/gpudoctor/bin/gpudoctor bench --quick"
NO_TOOLKIT = CudaToolkits((), None, None, (), ())
OFFERS = PackageOffers((*cudnns("9.8.0.87", "9.10.0.56", "9.10.2.21", "9.12.0.46"), *cudnns("9.12.0.46", cuda=13)))


def bring(machine, *more, text="cudnn=9"):
    """The steps for a driver of CUDA 12 and an H200, unless `more` says something else."""
    facts = (OWN, NO_FILE, OFFERS, PciGpus((HOPPER,)), gpus(H200), driver("570.86.16", (12, 8)), NO_TOOLKIT)
    return steps_of("bring-cudnn", *machine, *facts, wanted_of(text.split()), *more)


def asked_of(steps):
    (step,) = [step for step in steps if step.phase is Phase.INSTALL]
    return [word for word in step.action.argv if word.startswith("libcudnn")]


def toolkit(version):
    folder = f"/usr/local/cuda-{version}"
    told = (f"{folder}/version.json", f"{folder}/bin/nvcc", version, f"{folder}/include/cuda.h", None, None, "")
    return CudaToolkits((Toolkit(folder, folder, version, *told, "local", ("/usr/local",)),), None, None, (), ())


def test_the_newest_with_its_headers(ubuntu, commands):
    steps = bring(ubuntu)
    assert sorted(asked_of(steps)) == [
        "libcudnn9-cuda-12=9.12.0.46-1",
        "libcudnn9-dev-cuda-12=9.12.0.46-1",
        "libcudnn9-headers-cuda-12=9.12.0.46-1",
    ]
    assert commands(steps)[-1] == BENCH
    assert "cuDNN 9.12.0 for CUDA 12" in next(step.why for step in steps if step.phase is Phase.INSTALL)


def test_it_is_tried_first_and_can_be_taken_back(ubuntu):
    trial, install, *_ = bring(ubuntu)
    assert "-s" in trial.action.argv
    assert isinstance(install.undo, Run)
    assert "remove" in install.undo.argv
    assert "libcudnn9-cuda-12" in install.undo.argv


def test_the_newest_that_serves_the_gpu(ubuntu):
    """cuDNN 9.11 and later have no code for Pascal."""
    pascal = gpus(GTX_1080)
    assert "libcudnn9-cuda-12=9.10.2.21-1" in asked_of(bring(ubuntu, pascal))


def test_a_release_that_is_known_to_be_faulty_is_passed_over(ubuntu):
    assert "libcudnn9-cuda-12=9.8.0.87-1" in asked_of(bring(ubuntu, PackageOffers(cudnns("9.8.0.87", "9.10.0.56"))))


def test_the_release_that_was_asked_for(ubuntu):
    assert "libcudnn9-cuda-12=9.8.0.87-1" in asked_of(bring(ubuntu, text="cudnn=9.8"))
    assert "libcudnn9-cuda-12=9.10.2.21-1" in asked_of(bring(ubuntu, text="cudnn=9.10.2"))


@pytest.mark.parametrize(
    ("text", "more", "major"),
    [
        ("cudnn=9", (), 12),  # of the driver
        ("cudnn=9", (toolkit("13.0"),), 13),
        ("cudnn=9 cuda=13.0", (toolkit("12.8"),), 13),
    ],
)
def test_the_cuda_that_is_meant(ubuntu, text, more, major):
    assert f"libcudnn9-cuda-{major}=9.12.0.46-1" in asked_of(bring(ubuntu, *more, text=text))


def test_where_nothing_tells_the_cuda_it_is_asked_for(ubuntu, by_hand):
    (step,) = bring(ubuntu, driver("", None))
    assert "--to cuda=12.8 --to cudnn=9" in by_hand((step,))


def test_cudnn_8_carries_its_cuda_in_the_version(ubuntu):
    offers = PackageOffers(tuple(Offer("libcudnn8", f"8.9.7.29-1+cuda{cuda}", "NVIDIA") for cuda in ("11.8", "12.2")))
    assert asked_of(bring(ubuntu, offers, text="cudnn=8")) == ["libcudnn8=8.9.7.29-1+cuda12.2"]


def test_a_step_back_is_allowed_and_returns(ubuntu, a_package):
    there = tuple(a_package(f"libcudnn9{part}-cuda-12", "9.12.0.46-1") for part in ("", "-headers"))
    steps = bring(ubuntu, Packages("dpkg", there), gpus(GTX_1080))
    install = next(step for step in steps if step.phase is Phase.INSTALL)
    assert "--allow-downgrades" in install.action.argv
    assert {"libcudnn9-cuda-12=9.12.0.46-1", "libcudnn9-headers-cuda-12=9.12.0.46-1"} <= set(install.undo.argv)
    assert "libcudnn9-dev-cuda-12-" in install.undo.argv


def test_wheels_bring_their_own(ubuntu):
    assert any("Frameworks in Python environments bring their own" in step.why for step in bring(ubuntu))
    wheel = distribution("nvidia-cudnn-cu12", "9.10.2.21")
    known = environments(environment(wheel), environment(wheel, prefix="/home/ada/old", in_use=False))
    (why,) = [step.why for step in bring(ubuntu, known) if step.phase is Phase.INSTALL]
    assert "Python environments go on using their own: /home/ada/venv (nvidia-cudnn-cu12 9.10.2.21)." in why


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("fedora", "dnf -y install libcudnn9-cuda-12 libcudnn9-devel-cuda-12"),
        ("suse", "zypper --non-interactive install libcudnn9-cuda-12 libcudnn9-devel-cuda-12"),
    ],
)
def test_dnf_and_zypper_bring_their_newest(machines, commands, by_hand, name, command):
    assert commands(bring(machines[name]))[0] == command
    assert "ask again for cudnn=9.10" in by_hand(bring(machines[name], text="cudnn=9.10"))
    pascal = bring(machines[name], gpus(GTX_1080))
    assert all(isinstance(step.action, Manual) for step in pascal), "the newest would not serve it"


def test_arch_has_one_cudnn(arch, commands, by_hand):
    offers = PackageOffers((Offer("cudnn", "9.12.0.46-1", "Arch Linux"),))
    assert commands(bring(arch, offers))[0] == "pacman -Syu --noconfirm --needed cudnn"
    assert "ask again for cudnn=8" in by_hand(bring(arch, offers, text="cudnn=8"))


def test_what_no_repository_offers(ubuntu, by_hand):
    (step,) = bring(ubuntu, PackageOffers(()))
    assert "Add NVIDIA's repository" in by_hand((step,))
    assert "no repository here offers it" in step.why


def test_where_there_is_no_room_nothing_is_begun(ubuntu, by_hand):
    assert "Make room first" in by_hand(bring(ubuntu, FreeSpace({"/": 1 << 20})))


@pytest.mark.parametrize("text", ["driver=580", "cudnn=9.10.0"])
def test_what_is_refused_or_not_asked_for_has_no_plan(ubuntu, text):
    """9.10.0 is known to be faulty."""
    assert bring(ubuntu, text=text) == ()


def test_on_a_disk_nothing_is_tried_on_the_gpu(ubuntu, commands):
    kernel = next(fact for fact in ubuntu if isinstance(fact, Kernel))
    assert len(commands(bring(ubuntu, kernel._replace(running=False)))) == 1
