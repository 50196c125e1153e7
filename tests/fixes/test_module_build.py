"""A kernel without its NVIDIA module: headers, build, load; on five distributions."""

import pytest

from gpudoctor import Manual, Phase, Reboot, Risk, Run
from gpudoctor.facts.compilers import HostCompilers
from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.headers_on_offer import HeadersOnOffer
from gpudoctor.facts.kernels import InstalledKernel, InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.runfile import RunfileTraces
from gpudoctor.facts.system import Compiler, Confinement, Kernel
from gpudoctor.testing import steps_of

APT = "apt-get -y --no-remove -o Dpkg::Options::=--force-confold install"


@pytest.mark.parametrize(
    ("name", "install", "build", "module"),
    [
        (
            "debian",
            f"{APT} linux-headers-6.1.0-56-amd64 linux-headers-amd64",
            "dkms autoinstall -k 6.1.0-56-amd64",
            "nvidia-current",
        ),
        (
            "ubuntu",
            f"{APT} linux-headers-6.14.0-37-generic linux-headers-generic-hwe-24.04",
            "dkms autoinstall -k 6.14.0-37-generic",
            "nvidia",
        ),
        (
            "fedora",
            "dnf -y install kernel-devel-6.11.4-301.fc41.x86_64 kernel-devel-matched-6.11.4-301.fc41.x86_64",
            "akmods --force --kernels 6.11.4-301.fc41.x86_64",
            "nvidia",
        ),
        (
            "suse",
            "zypper --non-interactive install --auto-agree-with-licenses kernel-default-devel=6.4.0-150600.23.25.1",
            "dkms autoinstall -k 6.4.0-150600.23.25-default",
            "nvidia",
        ),
        (
            "arch",
            "pacman -S --noconfirm --needed linux-headers",
            "dkms autoinstall -k 6.12.1-arch1-1",
            "nvidia",
        ),
    ],
)
def test_headers_then_build_then_load(machines, commands, name, install, build, module):
    steps = steps_of("install-headers", *machines[name])
    assert commands(steps) == [install, build, "modprobe -a nvidia nvidia_uvm"]
    assert [step.phase for step in steps] == [Phase.SIMULATE, Phase.INSTALL, Phase.BUILD, Phase.RELOAD]
    release = next(fact.release for fact in machines[name] if isinstance(fact, Kernel))
    assert str(steps[1].verify) == f"test -e /lib/modules/{release}/build"
    assert str(steps[2].verify) == f"modinfo -k {release} {module}"
    assert str(steps[3].verify) == "test -e /proc/driver/nvidia/version"
    assert all(step.undo for step in steps[1:])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("debian", ["apt-get", "-s"]),
        ("fedora", ["dnf", "--setopt=tsflags=test"]),
        ("suse", ["zypper", "--non-interactive", "install", "--dry-run"]),
        ("arch", ["pacman", "-S", "--print"]),
    ],
)
def test_the_trial_comes_first(machines, name, words):
    trial = steps_of("install-headers", *machines[name])[0].action
    assert isinstance(trial, Run)
    assert list(trial.argv[: len(words)]) == words


def test_headers_package_that_is_installed_already_is_not_asked_for_again(debian, a_package, commands):
    packages = Packages("dpkg", (a_package("linux-image-amd64"), a_package("linux-headers-amd64")))
    (install, *_) = commands(steps_of("install-headers", *debian, packages))
    assert install == f"{APT} linux-headers-6.1.0-56-amd64"


@pytest.mark.parametrize(
    ("release", "packages", "expected"),
    [
        ("6.12.95+deb12-cloud-amd64", ["linux-image-cloud-amd64"], "linux-headers-cloud-amd64"),
        ("6.8.0-1021-aws", ["linux-image-aws-lts-24.04"], "linux-headers-aws-lts-24.04"),
        ("6.8.0-48-generic", ["linux-image-generic", "linux-image-unsigned-6.8.0-48-generic"], "linux-headers-generic"),
        ("6.8.12-4-pve", [], "proxmox-default-headers"),
    ],
)
def test_the_package_that_follows_the_kernel(debian, a_package, commands, release, packages, expected):
    kernels = InstalledKernels((InstalledKernel(release, "", False, "", "", None),), release, "")
    known = Packages("dpkg", tuple(a_package(name) for name in packages))
    steps = steps_of("install-headers", *debian, Kernel(release, True, None, ()), kernels, known)
    headers = "proxmox-headers" if release.endswith("pve") else "linux-headers"
    assert commands(steps)[0] == f"{APT} {headers}-{release} {expected}"


@pytest.mark.parametrize(
    ("release", "version", "expected"),
    [
        ("4.18.0-553.el8_10.x86_64", "8.10", "kernel-devel-4.18.0-553.el8_10.x86_64"),
        (
            "5.14.0-503.el9.x86_64",
            "9.5",
            "kernel-devel-5.14.0-503.el9.x86_64 kernel-devel-matched-5.14.0-503.el9.x86_64",
        ),
        ("5.14.0-503.el9.x86_64+rt", "9.5", "kernel-rt-devel-5.14.0-503.el9.x86_64"),
        ("5.14.0-503.el9.aarch64+64k", "9.5", "kernel-64k-devel-5.14.0-503.el9.aarch64"),
        ("5.15.0-200.131.el9uek.x86_64", "9.5", "kernel-uek-devel-5.15.0-200.131.el9uek.x86_64"),
    ],
)
def test_red_hat_names(fedora, commands, release, version, expected):
    system = fedora[0]._replace(id="rhel", version=version)
    kernels = InstalledKernels((InstalledKernel(release, "", False, "", "", None),), release, "")
    steps = steps_of("install-headers", *fedora, system, Kernel(release, True, None, ()), kernels)
    assert commands(steps)[0] == f"dnf -y install {expected}"


def test_suse_without_the_version_of_the_kernel_is_left_to_a_person(suse, by_hand, a_package):
    packages = Packages("rpm", (a_package("nvidia-compute-G06", "570.86.16-1.1"),))
    assert "headers of kernel 6.4.0-150600.23.25-default" in by_hand(steps_of("install-headers", *suse, packages))


def test_on_a_mounted_disk_nothing_is_loaded(debian, commands):
    steps = steps_of("install-headers", *debian, Kernel("6.1.0-56-amd64", False, None, ()))
    assert commands(steps)[-1] == "dkms autoinstall -k 6.1.0-56-amd64"


def test_a_rival_driver_in_place_asks_for_a_restart(debian):
    steps = steps_of("install-headers", *debian, LoadedModules({"nouveau": ()}))
    assert steps[-1].action == Reboot()
    assert "nouveau" in steps[-1].why


def test_only_the_next_kernel_lacks_headers(debian, commands):
    kernel = Kernel("6.1.0-50-amd64", True, None, ())
    steps = steps_of("install-headers", *debian, kernel)
    assert commands(steps)[1:] == ["dkms autoinstall -k 6.1.0-56-amd64"]


def test_interrupted_packages_are_finished_first(debian, a_package):
    packages = Packages("dpkg", (a_package("linux-image-amd64"), a_package("nvidia-kernel-dkms", state="unpacked")))
    steps = sorted(steps_of("install-headers", *debian, packages), key=lambda step: step.phase)
    assert [str(step.action) for step in steps[:2]][1] == "dpkg --force-confold --configure -a"
    assert steps[1].phase < Phase.INSTALL


def test_nothing_without_a_source_to_build_or_a_package_manager(debian, arch):
    assert steps_of("install-headers", *debian, Dkms(True, ())) == ()
    manager = next(fact for fact in debian if type(fact).__name__ == "PackageManager")
    assert steps_of("install-headers", *debian, manager._replace(kind="", reason="an image")) == ()
    assert steps_of("install-headers", *arch, Confinement("docker", False)) == ()


def test_newest_kernel_with_its_headers(debian, commands):
    steps = steps_of("install-kernel-with-headers", *debian)
    assert commands(steps) == [f"{APT} linux-image-amd64 linux-headers-amd64"]
    assert steps[1].risk is Risk.HIGH
    assert steps[-1].action == Reboot()


def test_headers_that_the_archive_has_no_more_are_not_asked_for(debian, commands):
    gone, there = HeadersOnOffer(()), HeadersOnOffer(("6.1.0-56-amd64",))
    assert steps_of("install-headers", *debian, gone) == ()
    assert commands(steps_of("install-headers", *debian, there))[0].startswith(f"{APT} linux-headers-6.1.0-56-amd64")


def test_the_newest_kernel_waits_for_the_next_restart_where_the_running_one_has_its_module(debian, commands):
    running = Kernel("6.1.0-50-amd64", True, None, ())
    steps = steps_of("install-kernel-with-headers", *debian, running)
    assert commands(steps) == [f"{APT} linux-image-amd64 linux-headers-amd64"]
    assert steps[-1].action != Reboot()


def with_headers(debian):
    kernels = InstalledKernels(
        (InstalledKernel("6.1.0-56-amd64", "", True, "", "/boot/initrd.img-6.1.0-56-amd64", 1.0),),
        *("6.1.0-56-amd64", "/vmlinuz"),
    )
    return (*debian, kernels)


def test_build(debian, commands):
    steps = steps_of("build-module", *with_headers(debian))
    assert commands(steps) == ["dkms autoinstall -k 6.1.0-56-amd64", "modprobe -a nvidia nvidia_uvm"]
    assert str(steps[0].undo) == "dkms uninstall nvidia-current/535.309.01 -k 6.1.0-56-amd64"
    assert steps_of("build-module", *debian) == (), "without headers nothing can be built"


def test_what_dkms_takes_for_installed_is_forced(debian, commands):
    source = DkmsSource("nvidia-current", "535.309.01", True, (DkmsBuild("6.1.0-56-amd64", "built", "", ()),))
    steps = steps_of("build-module", *with_headers(debian), Dkms(True, (source,)))
    assert commands(steps)[0] == "dkms install --force nvidia-current/535.309.01 -k 6.1.0-56-amd64"


def test_a_failed_build_is_read_before_it_is_repeated(debian, by_hand):
    log = "/var/lib/dkms/nvidia-current/535.309.01/build/make.log"
    build = DkmsBuild("6.1.0-56-amd64", "failed", log, ("nvidia/nv.c:1: fatal: \x1b[31mno space",))
    source = DkmsSource("nvidia-current", "535.309.01", True, (build,))
    steps = steps_of("build-module", *with_headers(debian), Dkms(True, (source,)))
    assert log in by_hand(steps)
    assert "\x1b" not in by_hand(steps)


def interrupted(*errors):
    log = "/var/lib/dkms/nvidia-current/535.309.01/build/make.log"
    build = DkmsBuild("6.1.0-56-amd64", "failed", log, errors)
    return Dkms(True, (DkmsSource("nvidia-current", "535.309.01", True, (build,)),))


def test_a_build_that_was_interrupted_is_just_repeated(debian, commands):
    steps = steps_of("build-module", *with_headers(debian), interrupted())
    assert commands(steps) == ["dkms autoinstall -k 6.1.0-56-amd64", "modprobe -a nvidia nvidia_uvm"]
    assert len(steps) == 2


def test_packages_that_a_failed_build_left_half_configured_are_finished_before_the_build(debian, a_package):
    packages = Packages("dpkg", (a_package("nvidia-kernel-dkms", state="half-configured"),))
    steps = steps_of("build-module", *with_headers(debian), packages, interrupted("no rule to make target"))
    assert [str(step.action) for step in sorted(steps, key=lambda step: step.phase)][1:3] == [
        "dpkg --force-confold --configure -a",
        "dkms autoinstall -k 6.1.0-56-amd64",
    ]


@pytest.mark.parametrize("fix", ["build-module", "install-headers", "install-compiler"])
def test_a_driver_in_memory_of_the_version_that_is_built_goes_on(debian, fix):
    facts = debian if fix == "install-headers" else with_headers(debian)
    kernel = Kernel("6.1.0-56-amd64", True, Compiler("gcc", 12, "gcc-12"), ())
    for version, last in (("535.309.01", Phase.BUILD), ("535.261.03", Phase.REBOOT)):
        loaded = LoadedDriver(version, "proprietary", "/proc/driver/nvidia/version", version, {})
        assert steps_of(fix, *facts, kernel, HostCompilers(None, ()), loaded)[-1].phase is last


def test_a_name_that_is_none_is_never_put_into_a_command(debian, by_hand):
    evil = "6.1.0; reboot"
    kernels = InstalledKernels((InstalledKernel(evil, "", False, "", "", None),), evil, "")
    for fix in ("install-headers", "install-kernel-with-headers"):
        steps = steps_of(fix, *debian, Kernel(evil, True, None, ()), kernels)
        assert [type(step.action) for step in steps] == [Manual]
        assert "kernel release" in by_hand(steps)
    source = DkmsSource("nvidia --all", "535.309.01", True, ())
    steps = steps_of("build-module", *with_headers(debian), Dkms(True, (source,)))
    assert [type(step.action) for step in steps] == [Manual]


def test_the_installer_is_run_again_by_its_owner(debian, by_hand):
    runfile = RunfileTraces(("/var/lib/nvidia/log",), "550.54.14", "/usr/bin/nvidia-uninstall", "")
    facts = (*with_headers(debian), runfile, Dkms(False, ()), Packages("dpkg", ()))
    text = by_hand(steps_of("rerun-installer", *facts))
    assert "550.54.14" in text
    assert "--kernel-name=6.1.0-56-amd64" in text
    assert steps_of("rerun-installer", *debian) == ()


@pytest.mark.parametrize(
    ("name", "package", "path"),
    [
        ("debian", "gcc-13", "/usr/bin/gcc-13"),
        ("fedora", "gcc", "/usr/bin/gcc"),
        ("suse", "gcc13", "/usr/bin/gcc-13"),
        ("arch", "gcc", "/usr/bin/gcc"),
    ],
)
def test_install_compiler(machines, commands, name, package, path):
    kernel = next(fact for fact in machines[name] if isinstance(fact, Kernel))
    kernel = kernel._replace(compiler=Compiler("gcc", 13, "gcc-13"))
    steps = steps_of("install-compiler", *machines[name], kernel, HostCompilers(12, (12,)))
    install, build, load = commands(steps)
    assert install.split()[-1] == package
    assert build.startswith(("dkms autoinstall", "akmods --force"))
    assert load == "modprobe -a nvidia nvidia_uvm"
    assert str(steps[1].verify) == f"test -e {path}"


def test_compiler_that_is_there_is_chosen_by_a_person(debian, by_hand):
    kernel = Kernel("6.1.0-56-amd64", True, Compiler("gcc", 12, "gcc-12"), ())
    steps = steps_of("install-compiler", *debian, kernel, HostCompilers(11, (11, 12)))
    assert "gcc-12" in by_hand(steps)
    kernel = kernel._replace(compiler=Compiler("clang", 18, "clang 18"))
    assert "lld" in by_hand(steps_of("install-compiler", *debian, kernel, HostCompilers(11, (11,))))


def test_a_file_of_another_kernel_gives_the_name_of_the_module(debian):
    file = ModuleFile(
        "6.1.0-50-amd64", "/lib/modules/6.1.0-50-amd64/updates/dkms/nvidia.ko", "dkms", "535", "", "", "", 0
    )
    source = DkmsSource("nvidia", "535.309.01", True, ())
    steps = steps_of("install-headers", *debian, ModuleFiles((file,)), Dkms(True, (source,)))
    assert str(steps[2].verify) == "modinfo -k 6.1.0-56-amd64 nvidia"
