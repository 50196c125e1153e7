"""A driver on request: which packages bring it on each system, in which order, and where a person has to."""

import pytest
from framework_environments import V100, gpu, gpus, torch
from offered_packages import bookworm, nvidia
from offered_packages import ubuntu as ubuntu_offers

from gpudoctor import Manual, Phase, Reboot, Risk, Run
from gpudoctor.facts.display_manager import DisplayManager
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.facts.package_manager import PackageManager
from gpudoctor.facts.package_offers import Offer, PackageOffers
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.secure_boot import SecureBoot
from gpudoctor.facts.storage import FreeSpace
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.facts.wanted import Wanted, parse_request
from gpudoctor.testing import steps_of

NO_FILE = RequestedRunfile("", "", "", "", 0, ())
HOPPER = PciGpu("0000:03:00.0", "2335", "nvidia", "H200", "Hopper", "either", None, "")
PASCAL = PciGpu("0000:02:00.0", "1b06", "nvidia", "GTX 1080 Ti", "Pascal", "proprietary-only", 580, "")
KEPLER = PciGpu("0000:02:00.0", "102d", "nvidia", "Tesla K80", "Kepler", "proprietary-only", 470, "")
BLACKWELL = PciGpu("0000:01:00.0", "2b85", "nvidia", "RTX 5090", "Blackwell", "open-only", None, "570.86.16")
NOBODY = Packages("dpkg", ())
OWN = OwnInstallation("/opt/gpudoctor/bin/gpudoctor", True)
BENCH = "/opt/gpudoctor/bin/gpudoctor bench --quick"


def bring(machine, text, *more, offers=(), gpus=(HOPPER,)):
    """The steps on a machine whose repositories offer these."""
    known = offers if isinstance(offers, PackageOffers) else PackageOffers(tuple(offers))
    wanted = Wanted((parse_request(text),))
    return steps_of("bring-driver", *machine, OWN, wanted, NO_FILE, known, PciGpus(tuple(gpus)), *more)


def asked_of(steps):
    """name=version and name- of the one transaction that concerns the driver."""
    (step,) = [s for s in steps if s.phase is Phase.INSTALL and "linux-headers" not in str(s.action)]
    return step.action.argv[step.action.argv.index("install") + 1 :]


def installed(debian, a_package, *names, version="535.309.01-0+deb12u1", **more):
    """The same machine with these driver packages."""
    old = [fact for fact in debian if not isinstance(fact, Packages)]
    return (*old, Packages("dpkg", tuple(a_package(name, version, **more) for name in names)))


@pytest.fixture
def bare(debian):
    """Debian without a driver, and with the headers of its kernel missing."""
    return (*debian, NOBODY, DriverVersions("", "", "", "", "", "", ""))


# Debian's own repositories


def test_debian_gets_the_newest_of_the_branch_and_all_of_it_in_one_version(bare):
    steps = bring(bare, "driver=535", offers=bookworm())
    words = asked_of(steps)
    assert "nvidia-kernel-dkms=535.309.01-0+deb12u1" in words
    assert "libcuda1=535.309.01-0+deb12u1" in words
    assert "nvidia-kernel-support=535.309.01-0+deb12u1" in words, "under the name that it provides"
    assert {word.partition("=")[2] for word in words} == {"535.309.01-0+deb12u1"}
    assert "nvidia-driver" not in {word.partition("=")[0] for word in words}, "no screen here"


def test_the_order_is_trial_headers_packages_module_initramfs_load_and_proof(bare):
    steps = sorted(bring(bare, "driver=535", offers=bookworm()), key=lambda step: step.phase)
    actions = [str(step.action) for step in steps]
    assert [action.split()[0:2] for action in actions[:2]] == [["apt-get", "-s"]] * 2
    assert "linux-headers-6.1.0-56-amd64" in actions[2]
    assert "nvidia-kernel-dkms=" in actions[3]
    assert actions[4:] == [
        "dkms autoinstall -k 6.1.0-56-amd64",
        "update-initramfs -u -k 6.1.0-56-amd64",
        "modprobe -a nvidia nvidia_uvm",
        BENCH,
    ]
    assert str(steps[4].verify) == "modinfo -k 6.1.0-56-amd64 nvidia-current"
    assert steps[4].derives, "it is built anew when the packages of before are back"


def test_an_exact_version_is_not_mixed_with_what_others_recommend(bare):
    words = asked_of(bring(bare, "driver=535.261.03", offers=bookworm()))
    assert "--no-install-recommends" in words
    assert "nvidia-kernel-dkms=535.261.03-1" in words
    assert "firmware-nvidia-gsp=535.261.03-1" in words


def test_an_old_gpu_gets_debians_old_branch(bare):
    steps = bring(bare, "driver=470", offers=bookworm(), gpus=(KEPLER,))
    assert "nvidia-tesla-470-kernel-dkms=470.256.02-1~deb12u1" in asked_of(steps)
    assert "modinfo -k 6.1.0-56-amd64 nvidia-tesla-470" in [str(step.verify) for step in steps]


def test_an_open_only_gpu_gets_the_newest_version_that_has_open_modules(bare):
    gpu = HOPPER._replace(module="open-only")
    steps = bring(bare, "driver=535", offers=bookworm(), gpus=(gpu,))
    assert "nvidia-open-kernel-dkms=535.261.03-1" in asked_of(steps)
    assert "nvidia-kernel-dkms=535.261.03-1" not in asked_of(steps)
    assert "modinfo -k 6.1.0-56-amd64 nvidia-current-open" in [str(step.verify) for step in steps]


def test_a_branch_that_only_leads_to_another_one_is_not_taken(bare, by_hand):
    """Debian keeps the names of branch 525, and they depend on 535."""
    steps = bring(bare, "driver=525", offers=bookworm())
    assert all(isinstance(step.action, Manual) for step in steps)
    assert "no whole one" in steps[0].why


def test_a_step_back_is_named_so_and_can_be_undone(debian, a_package):
    machine = installed(debian, a_package, "nvidia-kernel-dkms", "libcuda1", "nvidia-smi", "libnvidia-ml1")
    steps = bring(machine, "driver=535.261.03", offers=bookworm())
    (change,) = [s for s in steps if s.phase is Phase.INSTALL and "libcuda1" in str(s.action)]
    assert change.why.startswith("This is a step back to an older one.")
    assert "--allow-downgrades" in change.action.argv
    assert change.risk is Risk.HIGH
    assert isinstance(change.undo, Run)
    assert "libcuda1=535.309.01-0+deb12u1" in change.undo.argv
    assert "--no-install-recommends" in change.undo.argv, "what was not here does not come along"


def test_an_upgrade_within_debian_keeps_the_packages_that_are_here(debian, a_package):
    machine = installed(debian, a_package, "nvidia-kernel-dkms", "libcuda1", "nvidia-smi", version="535.261.03-1")
    words = asked_of(bring(machine, "driver=535.309.01", offers=bookworm()))
    assert "nvidia-smi=535.309.01-0+deb12u1" in words
    assert not any(word.endswith("-") for word in words)


def test_another_series_goes_in_the_same_transaction(debian, a_package):
    machine = installed(debian, a_package, "nvidia-kernel-dkms", "libcuda1", "nvidia-smi")
    words = asked_of(bring(machine, "driver=470", offers=bookworm(), gpus=(KEPLER,)))
    assert "libnvidia-tesla-470-cuda1=470.256.02-1~deb12u1" in words
    assert {"nvidia-kernel-dkms-", "libcuda1-", "nvidia-smi-"} <= set(words)


def test_what_both_series_need_stays(debian, a_package):
    names = ("nvidia-driver", "nvidia-kernel-dkms", "libcuda1", "nvidia-smi", "xserver-xorg-video-nvidia")
    machine = installed(debian, a_package, *names, "nvidia-egl-common")
    words = asked_of(bring(machine, "driver=470", offers=bookworm(), gpus=(KEPLER,)))
    assert "nvidia-tesla-470-driver=470.256.02-1~deb12u1" in words, "what shows pictures has its counterpart"
    assert "xserver-xorg-video-nvidia-" in words
    assert "nvidia-egl-common-" not in words


def test_32_bit_libraries_move_along(debian, a_package):
    machine = installed(debian, a_package, "nvidia-kernel-dkms", "libcuda1", "nvidia-smi", version="535.261.03-1")
    packages = next(fact for fact in machine if isinstance(fact, Packages))
    foreign = a_package("libcuda1", "535.261.03-1", architecture="i386")
    machine = (*machine, Packages("dpkg", (*packages.packages, foreign)))
    assert "libcuda1:i386=535.309.01-0+deb12u1" in asked_of(bring(machine, "driver=535.309.01", offers=bookworm()))


def test_what_no_repository_has_is_said_with_what_there_is(bare, by_hand):
    steps = bring(bare, "driver=580", offers=bookworm())
    assert "nvidia-driver-pinning-580" in by_hand(steps)
    assert "there is Debian: 470.256.02, 525.147.05, 535.216.03, 535.261.03, 535.309.01" in steps[0].why
    assert len(steps) == 1, "nothing follows what a person has to do first"


def test_lists_that_cannot_be_read_are_no_empty_lists(bare, by_hand):
    steps = bring(bare, "driver=580", offers=PackageOffers((), ("x.lz4: there is no apt-helper",)))
    assert "Not all lists could be read (x.lz4: there is no apt-helper)" in steps[0].why
    known = [fact for fact in bare if not isinstance(fact, PackageOffers)]
    request, gpus = Wanted((parse_request("driver=580"),)), PciGpus((HOPPER,))
    (step,) = steps_of("bring-driver", *known, request, NO_FILE, gpus)
    assert "cannot be told" in step.why


def test_an_interrupted_installation_is_finished_first(bare, a_package):
    packages = Packages("dpkg", (a_package("libc6", state="half-configured"),))
    first = bring((*bare, packages), "driver=535", offers=bookworm())[0]
    assert str(first.action) == "dpkg --force-confold --configure -a"


def test_a_driver_that_was_installed_by_hand_goes_first(bare):
    traces = RunfileTraces(("/var/lib/nvidia/log",), "550.54.14", "/usr/bin/nvidia-uninstall", "")
    steps = bring(bare, "driver=535", traces, offers=bookworm())
    (out,) = [step for step in steps if step.phase is Phase.REMOVE]
    assert str(out.action) == "nvidia-uninstall --silent"
    (step, *_) = bring(bare, "driver=535", traces._replace(uninstaller=""), offers=bookworm())
    assert "--uninstall" in str(step.action)


def test_where_there_is_no_room_nothing_is_begun(bare, by_hand):
    steps = bring(bare, "driver=535", FreeSpace({"/": 1 << 30}), offers=bookworm())
    assert "Make room first" in by_hand(steps)
    assert len(steps) == 1
    assert len(bring(bare, "driver=535", FreeSpace({"/": 100 << 30}), offers=bookworm())) > 5


def test_a_loaded_driver_is_replaced_by_a_restart(debian, a_package, with_module):
    machine = installed(debian, a_package, "nvidia-kernel-dkms", "libcuda1", "nvidia-smi", version="535.261.03-1")
    steps = bring(with_module(machine, loaded="535.261.03"), "driver=535.309.01", offers=bookworm())
    (restart,) = [step for step in steps if isinstance(step.action, Reboot)]
    assert str(restart.verify) == "grep -qF 535.309.01 /proc/driver/nvidia/version"


def test_where_only_the_restart_is_missing_nothing_else_is_done(debian, with_module):
    machine = with_module(debian, loaded="535.261.03")
    steps = bring(machine, "driver=535.309.01", offers=bookworm())
    assert [str(step.action) for step in steps] == ["systemctl reboot", BENCH]


def test_on_a_disk_nothing_is_loaded_and_nothing_is_tried(bare):
    kernel = next(fact for fact in bare if isinstance(fact, Kernel))
    steps = bring((*bare, kernel._replace(running=False)), "driver=535", offers=bookworm())
    assert {step.phase for step in steps} == {Phase.SIMULATE, Phase.INSTALL, Phase.BUILD, Phase.REBUILD}


@pytest.mark.parametrize(
    ("text", "more"),
    [("driver=590", (PciGpus((PASCAL,)),)), ("driver=535", (Confinement("docker", False),)), ("cuda=12.8", ())],
)
def test_what_is_refused_or_not_asked_for_has_no_plan(bare, text, more):
    assert bring(bare, text, *more, offers=bookworm()) == ()


# Ubuntu


@pytest.fixture
def ubuntu_machine(ubuntu, a_package, with_module):
    """Ubuntu with branch 570, its module and headers in place."""

    def machine(*names: str, flavour: str = "open", loaded: str = "570.86.16"):
        kernel = (a_package("linux-image-generic-hwe-24.04", "6.14.0-37.37"),)
        names = names or ("nvidia-driver-570-open", "nvidia-dkms-570-open", "libnvidia-compute-570")
        driver = tuple(a_package(name, "570.86.16-0ubuntu0.24.04.1", vendor="Ubuntu Developers") for name in names)
        facts = with_module(ubuntu, loaded=loaded, flavour=flavour)
        versions = DriverVersions(loaded, "570.86.16", "/m", "570.86.16", "/l", "570.86.16", "")
        return (*facts, versions, Packages("dpkg", (*kernel, *driver)))

    return machine


def test_ubuntu_changes_the_branch_in_the_names(ubuntu_machine):
    words = asked_of(bring(ubuntu_machine(), "driver=580", offers=ubuntu_offers("570.86.16", "580.95.05")))
    full = "580.95.05-0ubuntu0.24.04.1"
    assert words[0] == f"nvidia-driver-580-open={full}"
    assert {f"nvidia-dkms-580-open={full}", f"libnvidia-compute-580={full}"} <= set(words)
    assert {"nvidia-driver-570-open-", "nvidia-dkms-570-open-"} <= set(words)


def test_a_server_stays_a_server(ubuntu_machine):
    machine = ubuntu_machine("nvidia-headless-570-server-open", "nvidia-utils-570-server")
    words = asked_of(bring(machine, "driver=580", offers=ubuntu_offers("580.95.05")))
    names = {word.partition("=")[0] for word in words}
    assert {"nvidia-headless-580-server-open", "nvidia-utils-580-server"} <= names
    assert not any("580-open" in name for name in names)


def test_the_flavour_that_the_gpu_needs(ubuntu_machine):
    offers = ubuntu_offers("580.95.05")
    words = asked_of(bring(ubuntu_machine(), "driver=580", offers=offers, gpus=(PASCAL,)))
    assert words[0].startswith("nvidia-driver-580=")
    machine = ubuntu_machine("nvidia-driver-570", "nvidia-dkms-570", flavour="proprietary")
    assert asked_of(bring(machine, "driver=580", offers=offers))[0].startswith("nvidia-driver-580="), "as it was"
    assert asked_of(bring(machine, "driver=580", offers=offers, gpus=(BLACKWELL,)))[0].startswith(
        "nvidia-driver-580-open="
    )


def test_a_server_without_a_driver_gets_no_pictures(ubuntu):
    machine = (*ubuntu, NOBODY, DriverVersions("", "", "", "", "", "", ""))
    names = {
        word.partition("=")[0] for word in asked_of(bring(machine, "driver=580", offers=ubuntu_offers("580.95.05")))
    }
    assert {"nvidia-headless-580-open", "nvidia-utils-580"} <= names
    desktop = DisplayManager("gdm3.service", True)
    words = asked_of(bring(machine, "driver=580", desktop, offers=ubuntu_offers("580.95.05")))
    assert words[0].startswith("nvidia-driver-580-open=")


def test_ready_made_modules_are_kept_and_need_no_headers(ubuntu_machine):
    ready = ("linux-modules-nvidia-570-open-6.14.0-37-generic", "linux-modules-nvidia-570-open-generic-hwe-24.04")
    machine = ubuntu_machine("nvidia-driver-570-open", *ready)
    steps = bring(machine, "driver=580", offers=ubuntu_offers("580.95.05"))
    words = asked_of(steps)
    assert "linux-modules-nvidia-580-open-6.14.0-37-generic=6.14.0-37.37+1" in words
    assert "linux-modules-nvidia-580-open-generic-hwe-24.04=6.14.0-37.37+1" in words
    assert {f"{name}-" for name in ready} <= set(words)
    assert not any(step.phase is Phase.BUILD for step in steps)


def test_secure_boot_asks_for_signed_modules(ubuntu_machine):
    signed = SecureBoot(True, "integrity", ())
    words = asked_of(bring(ubuntu_machine(), "driver=580", signed, offers=ubuntu_offers("580.95.05")))
    assert "linux-modules-nvidia-580-open-6.14.0-37-generic=6.14.0-37.37+1" in words
    assert "nvidia-dkms-570-open-" in words


def test_of_several_revisions_the_newest(ubuntu_machine):
    """A release and its updates are two lists, in whatever order."""
    newer = ubuntu_offers("580.95.05", revision="0ubuntu0.24.04.10")
    for offers in ((*newer, *ubuntu_offers("580.95.05")), (*ubuntu_offers("580.95.05"), *newer)):
        words = asked_of(bring(ubuntu_machine(), "driver=580", offers=offers))
        chosen = {word.partition("=")[2] for word in words if not word.endswith("-")}
        assert chosen == {"580.95.05-0ubuntu0.24.04.10"}


def test_one_maker_is_kept(ubuntu_machine, by_hand):
    """The driver is Ubuntu's, and only NVIDIA has the branch that is asked for."""
    offers = (*ubuntu_offers("570.86.16", "580.95.05"), *nvidia("590.48.01"))
    steps = bring(ubuntu_machine(), "driver=590", offers=offers)
    assert len(steps) == 1
    assert "The driver here is Ubuntu's, and NVIDIA alone offers driver 590" in steps[0].why


def test_of_two_makers_the_distribution_is_asked_first(ubuntu):
    machine = (*ubuntu, NOBODY, DriverVersions("", "", "", "", "", "", ""))
    theirs = ubuntu_offers("580.95.05", maker="NVIDIA", revision="0ubuntu1")
    steps = bring(machine, "driver=580", offers=(*theirs, *ubuntu_offers("580.95.05")))
    assert "one maker (Ubuntu)" in next(
        step.why for step in steps if "nvidia-headless" in str(step.action) and step.phase
    )


def test_nvidias_repository_without_branches_in_the_names_is_pinned(ubuntu):
    machine = (*ubuntu, NOBODY, DriverVersions("", "", "", "", "", "", ""))
    offers = nvidia("590.44.01", "590.48.01", "595.45.04", pins=("590", "595"))
    words = asked_of(bring(machine, "driver=590", offers=offers))
    assert "nvidia-open=590.48.01-1ubuntu1" in words
    assert "nvidia-kernel-open-dkms=590.48.01-1ubuntu1" in words
    assert "nvidia-driver-pinning-590=590-1ubuntu1" in words


def test_a_pin_on_another_branch_is_taken_off(ubuntu, a_package):
    theirs = "NVIDIA <cudatools@nvidia.com>"
    names = ("nvidia-open", "nvidia-kernel-open-dkms", "nvidia-driver-cuda", "libnvidia-compute")
    driver = tuple(a_package(name, "590.48.01-1ubuntu1", vendor=theirs) for name in names)
    packages = Packages("dpkg", (*driver, a_package("nvidia-driver-pinning-590", "590-1ubuntu1", vendor=theirs)))
    offers = nvidia("590.48.01", "595.45.04", pins=("590", "595"))
    words = asked_of(bring((*ubuntu, packages), "driver=595", offers=offers))
    assert "nvidia-open=595.45.04-1ubuntu1" in words
    assert "nvidia-driver-pinning-590-" in words


@pytest.mark.parametrize("version", ["580.95.05;reboot", "580.95.05 -o x", "580.95.05\n"])
def test_a_version_that_is_no_version_never_becomes_a_command(ubuntu, by_hand, version):
    machine = (*ubuntu, NOBODY, DriverVersions("", "", "", "", "", "", ""))
    forged = tuple(offer._replace(version=f"580.95.05-{version}") for offer in ubuntu_offers("580.95.05"))
    steps = bring(machine, "driver=580", offers=forged)
    assert all(isinstance(step.action, Manual) for step in steps)
    assert "is no version of a package" in by_hand(steps)


# Other package managers


def changes(steps):
    return [str(step.action) for step in steps if step.phase is Phase.INSTALL and isinstance(step.action, Run)]


def fedora_with(machine, a_package, *names, version="3:590.48.01-1.fc42", vendor="RPM Fusion"):
    packages = tuple(a_package(name, version, architecture="x86_64", vendor=vendor) for name in names)
    return (*machine, Packages("rpm", packages))


FUSION = ("akmod-nvidia", "xorg-x11-drv-nvidia", "xorg-x11-drv-nvidia-cuda")


def test_rpm_fusion_has_old_branches_under_names_of_their_own(fedora, a_package):
    machine = fedora_with(fedora, a_package, *FUSION)
    headers, exchange = changes(bring(machine, "driver=580", gpus=(PASCAL,)))
    assert headers.startswith("dnf -y install kernel-devel-")
    assert exchange == (
        "dnf -y install --allowerasing akmod-nvidia-580xx xorg-x11-drv-nvidia-580xx xorg-x11-drv-nvidia-580xx-cuda"
    )


def test_rpm_fusions_newest_is_an_upgrade_away(fedora, a_package):
    machine = fedora_with(fedora, a_package, *FUSION, version="3:580.95.05-1.fc42")
    assert changes(bring(machine, "driver=590"))[-1].startswith("dnf -y upgrade akmod-nvidia xorg-x11-drv-nvidia")


def test_nvidias_packages_for_fedora_come_in_the_version_that_was_asked_for(fedora, a_package):
    theirs = ("nvidia-open", "kmod-nvidia-open-dkms", "nvidia-driver-cuda-libs")
    machine = fedora_with(fedora, a_package, *theirs, vendor="NVIDIA Corporation")
    assert changes(bring(machine, "driver=580.95.05"))[-1] == (
        "dnf -y install nvidia-open-580.95.05 kmod-nvidia-open-dkms-580.95.05 nvidia-driver-cuda-libs-580.95.05"
    )


@pytest.mark.parametrize(("gpu", "stream"), [(HOPPER, "nvidia-driver:580-open"), (PASCAL, "nvidia-driver:580-dkms")])
def test_red_hat_has_streams(fedora, a_package, gpu, stream):
    system = fedora[0]._replace(id="rhel", version="9.5")
    bare = (*fedora, system, Packages("rpm", ()))
    assert changes(bring(bare, "driver=580", gpus=(gpu,)))[-1] == f"dnf -y module install {stream}"
    there = fedora_with(fedora, a_package, "kmod-nvidia-latest-dkms", "nvidia-driver-cuda-libs", vendor="NVIDIA")
    steps = bring((*there, system), "driver=580", gpus=(gpu,))
    assert changes(steps)[-1] == f"dnf -y module switch-to {stream} --allowerasing"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("fedora", "driver=580", "dnf versionlock"),
        ("suse", "driver=550", "zypper addlock"),
        ("arch", "driver=550", "AUR"),
    ],
)
def test_what_is_not_known_for_certain_is_left_to_a_person(machines, by_hand, name, text, words):
    machine = machines[name]
    if name == "fedora":
        machine = (*machine, Packages("rpm", ()))
    steps = bring(machine, text)
    assert words in by_hand(steps)
    assert all(isinstance(step.action, Manual) for step in steps)


@pytest.mark.parametrize(
    ("name", "package_of_module", "build"),
    [
        ("fedora", "akmod-nvidia", "akmods --force --kernels 6.11.4-301.fc41.x86_64"),
        ("fedora", "kmod-nvidia-open-dkms", "dkms autoinstall -k 6.11.4-301.fc41.x86_64"),
        ("suse", "nvidia-driver-G06-kmp-default", ""),
        ("arch", "nvidia-open-dkms", ""),  # pacman's hooks do, for the kernels that are there after the upgrade
    ],
)
def test_what_compiles_the_module(machines, a_package, name, package_of_module, build):
    machine = fedora_with(machines[name], a_package, package_of_module, vendor="")
    offers = (Offer("nvidia-utils", "595.45.04-1", "Arch Linux"),)
    steps = bring(machine, "driver=595", offers=offers)
    assert [str(step.action) for step in steps if step.phase is Phase.BUILD] == ([build] if build else [])
    assert [step.phase for step in steps].count(Phase.REBUILD) == 1


def test_suse_moves_to_the_newest(suse):
    assert changes(bring(suse, "driver=580"))[-1] == (
        "zypper --non-interactive update --auto-agree-with-licenses nvidia-driver-G06-kmp-default nvidia-compute-G06"
    )


def test_arch_is_upgraded_as_a_whole(arch):
    offers = (Offer("nvidia-utils", "590.48.01-2", "Arch Linux"), Offer("nvidia-open", "590.48.01-12", "Arch Linux"))
    machine = (*arch, Packages("pacman", ()))
    steps = bring(machine, "driver=590", offers=offers)
    assert changes(steps)[-1] == "pacman -Syu --noconfirm --needed nvidia-open nvidia-utils"
    assert "pacman -Su --print --noconfirm --needed nvidia-open nvidia-utils" in [str(step.action) for step in steps]
    lts = Kernel("6.12.63-1-lts", True, None, ())
    assert "nvidia-open-lts" in changes(bring((*machine, lts), "driver=590", offers=offers))[-1]


def test_a_system_that_is_changed_as_one_image(fedora, by_hand):
    image = PackageManager("", "Fedora Silverblue is changed through rpm-ostree")
    steps = bring((*fedora, image), "driver=580")
    assert steps[0].why == "Fedora Silverblue is changed through rpm-ostree."
    assert "one origin only" in by_hand(steps)


# The proof, and the frameworks


def trained(steps):
    """What the last step says on the frameworks."""
    return next(step.why for step in steps if str(step.action) == BENCH)


@pytest.mark.parametrize("own", [OWN._replace(cupy=False), OWN._replace(program="")])
def test_where_nothing_can_be_trained_the_last_step_says_so(bare, own):
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), "sm_90"),))
    steps = sorted(bring(bare, "driver=535", builds, own, offers=bookworm()), key=lambda step: step.phase)
    assert BENCH not in [str(step.action) for step in steps]
    assert str(steps[-1].action) == "modprobe -a nvidia nvidia_uvm"
    assert "No framework has to be installed anew" in steps[-1].why
    assert steps[-1].why.endswith("had it CuPy (its extra cuda12 or cuda13).")
    assert sum("CuPy" in step.why for step in steps) == 1


def test_a_program_in_a_folder_with_an_odd_name_never_becomes_a_command(bare):
    steps = bring(bare, "driver=535", OWN._replace(program="/home/a b;c/gpudoctor"), offers=bookworm())
    assert all(isinstance(step.action, Manual) for step in steps)


def test_frameworks_stay_as_they_are_where_the_driver_runs_their_cuda(bare):
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), "sm_90"),))
    steps = bring(bare, "driver=535", builds, offers=bookworm())
    assert "No framework has to be installed anew: torch 2.5.1+cu121 brings its own CUDA" in trained(steps)
    assert not any("pip" in str(step.action) for step in steps)


def test_a_framework_that_is_too_new_for_the_driver_is_installed_anew(bare):
    """A driver of branch 470 runs no CUDA 12, and serves a V100."""
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), "sm_70"),))
    steps = bring(bare, "driver=470", builds, gpus(V100), offers=bookworm())
    (anew,) = [step for step in steps if "pip" in str(step.action)]
    assert str(anew.action).startswith("/home/ada/venv/bin/python -m pip install")
    assert "torch" in str(anew.action)
    assert anew.why.startswith(
        "torch 2.5.1+cu121 in /home/ada/venv is built for CUDA 12.1, which driver 470 does not run"
    )
    assert "1 of 1 frameworks had to be installed anew" in trained(steps)


def test_where_no_build_fits_the_old_driver_it_is_said(bare, by_hand):
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), "sm_90"),))
    kepler = gpus(gpu("GeForce GTX 680", (3, 0)))
    steps = bring(bare, "driver=470", builds, kepler, offers=bookworm(), gpus=(KEPLER,))
    assert "Install a torch for an older CUDA" in by_hand(steps)


def test_a_framework_in_an_environment_that_nobody_uses_is_not_touched(bare):
    builds = FrameworkBuilds((torch("2.5.1+cu121", (12, 1), "sm_90", in_use=False),))
    steps = bring(bare, "driver=470", builds, offers=bookworm(), gpus=(KEPLER,))
    assert [str(step.action) for step in steps if step.phase is Phase.AFTERWARDS] == [BENCH]
