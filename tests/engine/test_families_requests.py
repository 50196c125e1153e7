"""What `fix --to` plans on whole machines: from their package databases, repositories' lists, kernels and GPUs."""

from pathlib import Path

import pytest
from driver_answers import Gpu
from family_machines import ARCH, DEBIAN, FEDORA, UBUNTU, Family, Machine, Module, dkms, machine
from offered_packages import LISTS, as_list, cudnns, pacman_database, toolkits
from offered_packages import ubuntu as ubuntu_offers
from package_machines import arch, bookworm, fedora_rpmfusion, package, ubuntu
from run_files import driver_run, toolkit_folder, toolkit_run
from ubuntu_machines import GTX_1080_TI, KERNEL, NEW, RTX_4090, kernels

from gpudoctor.cli.check import diagnose_with
from gpudoctor.facts.own_installation import OwnInstallation
from gpudoctor.facts.packages import Package
from gpudoctor.facts.wanted import Wanted, wanted_of
from gpudoctor.findings import Report
from gpudoctor.registry import Facts, load_plugins, registry
from gpudoctor.repair import Phase, Plan, make_plan

APT = "/var/lib/apt/lists"
DEBIANS = f"{APT}/archive.invalid_debian_dists_bookworm"
UBUNTUS = f"{APT}/archive.ubuntu.com_ubuntu_dists_noble-updates"
NVIDIAS = f"{APT}/developer.download.nvidia.com_compute_cuda_repos_ubuntu2404_x86%5f64"
OWN = OwnInstallation("/opt/gpudoctor/bin/gpudoctor", True)


def asked(host: Machine, *texts: str, runfile: str = "") -> tuple[Report, Plan]:
    facts = Facts(host, {Wanted: wanted_of(texts, runfile), OwnInstallation: OWN})
    report = diagnose_with(facts, ("request",))
    load_plugins(fixes=True)
    return report, make_plan(report, registry.fixes.values(), facts)


def steps(host: Machine, *texts: str, runfile: str = "") -> list[str]:
    """What would be done, without the trials."""
    report, plan = asked(host, *texts, runfile=runfile)
    assert plan.unknown == ()
    assert plan.left == (), [ranked.finding.summary for ranked in report.findings]
    return [str(step.action) for step in plan.steps if step.phase is not Phase.SIMULATE]


def refusal(host: Machine, *texts: str, runfile: str = "") -> str:
    report, plan = asked(host, *texts, runfile=runfile)
    assert plan.steps == ()
    (ranked,) = report.findings
    return ranked.finding.summary


def debian(folder: Path, version: str = "", gpu: str = RTX_4090) -> Machine:
    """Debian 12 with its own driver of a version, or with none, and the lists of its archive."""
    kernel = "6.1.0-50-amd64"
    packages = bookworm(f"{version}-1~deb12u1") if version else bookworm()
    here = [one for one in packages.values() if version or one.name.startswith(("linux-", "gcc", "dkms"))]
    release = "Origin: Debian\nSuite: oldstable\n"
    files: dict[str, str | bytes] = {
        f"{DEBIANS}_InRelease": release,
        f"{DEBIANS}_non-free_binary-amd64_Packages": (LISTS / "bookworm.txt").read_text("utf-8"),
        f"{DEBIANS}-security_InRelease": release,
        f"{DEBIANS}-security_non-free_binary-amd64_Packages": (LISTS / "bookworm-security.txt").read_text("utf-8"),
    }
    return machine(
        folder,
        DEBIAN,
        kernel,
        packages=here,
        modules={kernel: [Module(version, name="nvidia-current")]} if version else {},
        loaded=version,
        user_space=version,
        gpus=[Gpu(gpu, "nvidia" if version else "")],
        files=files | (dkms("nvidia-current", version, [kernel]) if version else {}),
    )


def noble(folder: Path, gpu: str = RTX_4090, loaded: str = "", **files: str | bytes) -> Machine:
    """Ubuntu 24.04 with its own driver 580 and NVIDIA's repository beside its own."""
    lists: dict[str, str | bytes] = {
        f"{UBUNTUS}_InRelease": "Origin: Ubuntu\n",
        f"{UBUNTUS}_restricted_binary-amd64_Packages": as_list(ubuntu_offers("570.211.01", NEW, "590.48.01")),
        f"{NVIDIAS}_InRelease": "Origin: NVIDIA\n",
        f"{NVIDIAS}_Packages": as_list((*toolkits("12.8.1", "13.0.2"), *cudnns("9.10.2.21", "9.12.0.46"))),
    }
    return machine(
        folder,
        UBUNTU,
        KERNEL,
        packages=[*ubuntu().values(), *kernels(KERNEL)],
        modules={KERNEL: [Module(NEW, open=True, signed=True)]},
        loaded=loaded,
        open_module=True,
        user_space=NEW,
        gpus=[Gpu(gpu, "nvidia" if loaded else "")],
        files={**lists, **dkms("nvidia", NEW, [KERNEL]), **files},
    )


# Debian


def test_debian_gets_its_own_newest_of_the_branch(tmp_path: Path) -> None:
    install, *rest = steps(debian(tmp_path), "driver=535")
    assert "nvidia-kernel-dkms=535.309.01-0+deb12u1 libcuda1=535.309.01-0+deb12u1" in install
    assert rest == [
        "dkms autoinstall -k 6.1.0-50-amd64",
        "update-initramfs -u -k 6.1.0-50-amd64",
        "modprobe -a nvidia nvidia_uvm",
        "/opt/gpudoctor/bin/gpudoctor bench --quick",
    ]


def test_debians_driver_moves_within_its_branch(tmp_path: Path) -> None:
    install, *rest = steps(debian(tmp_path, "535.161.07"), "driver=535.261.03")
    assert "nvidia-smi=535.261.03-1" in install
    assert not any(word.endswith("-") for word in install.split())
    assert "systemctl reboot" in rest


def test_debians_toolkit_comes_without_what_it_recommends(tmp_path: Path) -> None:
    install, nvcc, _ = steps(debian(tmp_path, "535.161.07"), "cuda=11.8")
    assert "--no-install-recommends 'nvidia-cuda-toolkit=11.8.89~11.8.0-5~deb12u1'" in install
    assert nvcc == "nvcc -V"


# Ubuntu


def test_ubuntus_names_carry_the_branch(tmp_path: Path) -> None:
    install, *rest = steps(noble(tmp_path, loaded=NEW), "driver=590")
    assert install.split()[5] == "nvidia-driver-590-open=590.48.01-0ubuntu0.24.04.1"
    assert "nvidia-driver-580-open-" in install.split()
    assert rest[:3] == [f"dkms autoinstall -k {KERNEL}", f"update-initramfs -u -k {KERNEL}", "systemctl reboot"]


def test_the_gpu_decides_on_the_modules(tmp_path: Path) -> None:
    assert "nvidia-driver-570=570.211.01-0ubuntu0.24.04.1" in steps(noble(tmp_path, GTX_1080_TI), "driver=570")[0]


def test_three_requests_are_one_plan_in_their_order(tmp_path: Path) -> None:
    made = steps(noble(tmp_path, loaded=NEW), "cudnn=9", "cuda=12.8", "driver=590")
    assert "nvidia-driver-590-open=" in made[0]
    assert "cuda-toolkit-12-8=" in made[1]
    assert "libcudnn9-cuda-12=" in made[2]
    assert made[3:] == [
        "update-alternatives --set cuda /usr/local/cuda-12.8",
        f"dkms autoinstall -k {KERNEL}",
        f"update-initramfs -u -k {KERNEL}",
        "systemctl reboot",
        "/usr/local/cuda-12.8/bin/nvcc -V",
        "/opt/gpudoctor/bin/gpudoctor bench --quick",
    ]


def test_what_one_request_leaves_to_a_person_comes_before_anything_is_touched(tmp_path: Path) -> None:
    """No cuDNN for CUDA 13 is offered."""
    _, plan = asked(noble(tmp_path, loaded=NEW), "cudnn=9", "cuda=13.0", "driver=590")
    (person,) = [number for number, step in enumerate(plan.steps) if "Add NVIDIA's repository" in str(step.action)]
    assert all(step.phase is Phase.SIMULATE for step in plan.steps[: person + 1])


# Others


def fedora(folder: Path) -> Machine:
    kernel = "6.16.8-200.fc42.x86_64"
    packages = [one for one in fedora_rpmfusion().values() if not one.name.startswith(("kmod-nvidia-6", "kernel-core"))]
    release = kernel.removesuffix(".x86_64")
    packages += [package(name, release, vendor="Fedora Project") for name in ("kernel-core", "kernel-devel")]
    return rolling(folder, FEDORA, kernel, packages, "extra/nvidia")


def rolling(
    folder: Path, family: Family, kernel: str, packages: list[Package], place: str, **files: str | bytes
) -> Machine:
    return machine(
        folder,
        family,
        kernel,
        packages=packages,
        modules={kernel: [Module(NEW, place, open=True, signed=True)]},
        loaded=NEW,
        open_module=True,
        user_space=NEW,
        gpus=[Gpu(RTX_4090)],
        files=files,
    )


def test_fedora_waits_for_akmods(tmp_path: Path) -> None:
    """Its package compiles in the background, and a restart would come before the end."""
    upgrade, *rest = steps(fedora(tmp_path), "driver=590")
    assert upgrade.startswith("dnf -y upgrade akmod-nvidia xorg-x11-drv-nvidia ")
    assert rest[:3] == [
        "akmods --force --kernels 6.16.8-200.fc42.x86_64",
        "dracut --force --kver 6.16.8-200.fc42.x86_64",
        "systemctl reboot",
    ]


def test_fedora_takes_toolkit_and_cudnn_from_nvidia(tmp_path: Path) -> None:
    made = steps(fedora(tmp_path), "cuda=12.8", "cudnn=9")
    assert made[:2] == [
        "dnf -y install cuda-toolkit-12-8",
        "dnf -y install libcudnn9-cuda-12 libcudnn9-devel-cuda-12",
    ]


def test_arch_is_upgraded_as_a_whole(tmp_path: Path) -> None:
    offered = pacman_database("nvidia-utils-590.48.01-2", "nvidia-open-590.48.01-12", "cuda-13.1.0-1")
    host = rolling(
        tmp_path,
        ARCH,
        "6.16.10-arch1-1",
        list(arch().values()),
        "extramodules",
        **{"/var/lib/pacman/sync/extra.db": offered},
    )
    upgrade, *rest = steps(host, "driver=590")
    assert upgrade == "pacman -Syu --noconfirm --needed nvidia-open nvidia-utils"
    assert rest[:2] == ["mkinitcpio -P", "systemctl reboot"]
    assert steps(host, "cuda=13.1")[:2] == ["pacman -Syu --noconfirm --needed cuda", "nvcc -V"]


# NVIDIA's files


def test_the_file_of_a_driver_is_run_where_no_package_is(tmp_path: Path) -> None:
    host = debian(tmp_path)
    driver_run(tmp_path / "root/driver.run")
    for folder in ("tmp", "var/tmp"):
        (tmp_path / folder).mkdir(parents=True)
    assert steps(host, "driver=580", runfile="/root/driver.run")[0] == (
        "sh /root/driver.run --silent --dkms --kernel-module-type=open"
    )
    assert "is 580.95.05, and driver 590 was asked for" in refusal(host, "driver=590", runfile="/root/driver.run")


def test_the_file_of_a_toolkit_goes_beside_packages(tmp_path: Path) -> None:
    host = noble(tmp_path, loaded=NEW)
    toolkit_run(tmp_path / "root/cuda.run", toolkit_folder(tmp_path / "packed"))
    for folder in ("tmp", "var/tmp"):
        (tmp_path / folder).mkdir(parents=True)
    made = steps(host, "cuda=12.8", runfile="/root/cuda.run")
    assert made[:2] == [
        "sh /root/cuda.run --silent --toolkit",
        "ln -sfn /usr/local/cuda-12.8 /usr/local/cuda",
    ]
    driver_run(tmp_path / "root/driver.run", "580.119.02")
    assert "undone by the next upgrade" in refusal(host, "driver=580.119.02", runfile="/root/driver.run")


# Refused, or nothing to do


@pytest.mark.parametrize(
    ("gpu", "text", "words"),
    [
        (GTX_1080_TI, "driver=590", "branch 580 is the last that serves it. Ask for driver=580 or an older one."),
        (RTX_4090, "driver=470", "525.47.06 is the first that lists it. Ask for driver=525 or a newer one."),
        (GTX_1080_TI, "cuda=13.0", "CUDA 13.0 builds for no GPU that is here"),
    ],
)
def test_what_would_be_of_no_use_is_refused_with_the_reason(tmp_path: Path, gpu: str, text: str, words: str) -> None:
    assert words in refusal(noble(tmp_path, gpu, loaded=NEW), text)


def test_what_is_there_is_nothing_to_do(tmp_path: Path) -> None:
    report, plan = asked(noble(tmp_path, loaded=NEW), "driver=580")
    assert report.findings == ()
    assert plan.steps == ()


def test_what_nobody_asked_for_is_in_no_report(tmp_path: Path) -> None:
    def named(*texts: str) -> set[str]:
        report, _ = asked(noble(tmp_path / str(len(texts)), loaded=NEW), *texts)
        return {outcome.check.id for outcome in report.outcomes if outcome.check.id.startswith("request.")}

    assert named("driver=580") == {"request.driver"}
    assert named() == set()
