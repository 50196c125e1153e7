"""The loaded module is not the one on the disk: reload where nothing would notice, restart otherwise."""

import pytest
from gpu_machines import ADDRESS, gpu

from gpudoctor import Manual, Reboot, Risk
from gpudoctor.facts.answers import Cuda
from gpudoctor.facts.dkms import Dkms, DkmsBuild, DkmsSource
from gpudoctor.facts.kernels import InstalledKernel, InstalledKernels, ModuleFile, ModuleFiles
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.processes import DeviceUsers, Holder
from gpudoctor.facts.reboot import RebootRequired
from gpudoctor.facts.system import Confinement, Kernel
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.testing import steps_of

NOBODY = DeviceUsers((), (), 0)
ALL = "nvidia_uvm nvidia_drm nvidia_modeset nvidia"


def mismatch(debian, with_module):
    return with_module(debian, loaded="535.261.03")


def test_reload_in_the_order_of_use(debian, with_module, commands):
    steps = steps_of("reload-driver", *mismatch(debian, with_module), NOBODY)
    assert commands(steps) == [f"modprobe -r {ALL}", "modprobe -a nvidia nvidia_modeset nvidia_drm nvidia_uvm"]
    unload, load = steps
    assert str(unload.verify) == "test '!' -e /sys/module/nvidia"
    assert str(unload.undo) == str(load.action), "what was taken out is put back if the rest fails"
    assert str(load.verify) == "grep -qF 535.309.01 /proc/driver/nvidia/version"


def test_services_are_stopped_and_started_again(debian, with_module, commands):
    holders = (
        Holder(812, 0, "nvidia-persiste", ("/dev/nvidia0", "/dev/nvidiactl")),
        Holder(900, 0, "nv-hostengine", ("/dev/nvidiactl",)),
    )
    typed = commands(steps_of("reload-driver", *mismatch(debian, with_module), DeviceUsers(holders, (), 0)))
    assert typed[:2] == [
        "systemctl stop nvidia-persistenced.service",
        "systemctl stop nvidia-dcgm.service",
    ]
    assert typed[-2:] == [
        "systemctl start nvidia-dcgm.service",
        "systemctl start nvidia-persistenced.service",
    ]


@pytest.mark.parametrize(
    "users",
    [
        DeviceUsers((Holder(1, 1000, "python3", ("/dev/nvidia0",)),), (), 0),
        DeviceUsers((Holder(1, 0, "Xorg", ("/dev/nvidiactl",)),), (), 0),
        DeviceUsers((), (), 3),
    ],
    ids=["a job", "the display", "processes that could not be looked into"],
)
def test_no_reload_where_somebody_may_notice(debian, with_module, asked, users):
    facts = (*mismatch(debian, with_module), users, asked("driver.library-mismatch"))
    assert steps_of("reload-driver", *facts) == ()
    (step,) = steps_of("reboot", *facts)
    assert step.action == Reboot()
    assert "535.261.03" in step.why
    assert str(step.verify) == "grep -qF 535.309.01 /proc/driver/nvidia/version"


def test_no_reload_for_a_module_with_foreign_users(debian, with_module):
    modules = LoadedModules({"nvidia": ("nvidia_uvm", "nvidia_fs"), "nvidia_uvm": (), "nvidia_fs": ()})
    assert steps_of("reload-driver", *mismatch(debian, with_module), NOBODY, modules) == ()


def test_no_reload_while_the_disk_does_not_fit(debian, with_module):
    versions = DriverVersions("535.261.03", "535.261.03", "/lib/x.ko", "535.309.01", "", "", "")
    assert steps_of("reload-driver", *mismatch(debian, with_module), NOBODY, versions) == ()


def test_nothing_in_a_container(debian, with_module, asked):
    facts = (*mismatch(debian, with_module), NOBODY, asked("driver.library-mismatch"), Confinement("docker", False))
    assert steps_of("reload-driver", *facts) == ()
    assert steps_of("reboot", *facts) == ()
    (step,) = steps_of("repair-the-host", *facts)
    assert isinstance(step.action, Manual)
    assert "--gpus all" in step.action.instruction


def test_reboot_warns_of_a_next_kernel_without_module(debian, with_module, asked):
    kernel = InstalledKernel("6.1.0-57-amd64", "", True, "", "", None)
    kernels = InstalledKernels((kernel,), "6.1.0-57-amd64", "/vmlinuz")
    (step,) = steps_of("reboot", *mismatch(debian, with_module), kernels, asked("driver.library-mismatch"))
    assert step.risk is Risk.HIGH
    assert "6.1.0-57-amd64" in step.why


def test_reboot_that_the_system_asks_for(debian, with_module, asked):
    required = RebootRequired(True, ("linux-image-6.1.0-56-amd64",), "/run/reboot-required")
    facts = (*with_module(debian, loaded="535.309.01"), required, asked("packages.reboot-required"))
    (step,) = steps_of("reboot", *facts)
    assert "linux-image-6.1.0-56-amd64" in step.why


def test_boot_the_kernel_that_has_the_module(debian):
    old = "6.1.0-50-amd64"
    kernels = InstalledKernels((InstalledKernel(old, "", True, "", "", None),), old, "GRUB_DEFAULT")
    (step,) = steps_of("boot-kernel-with-module", *debian, kernels)
    assert step.action == Reboot()
    assert old in step.why
    assert steps_of("boot-kernel-with-module", *debian) == (), "the kernel that boots next has no module either"


def test_restart_for_a_failure_without_a_reason(debian, with_module, asked):
    facts = with_module(debian, loaded="535.309.01")
    steps = steps_of("restart-anew", *facts, asked("driver.nvml-failed"))
    assert isinstance(steps[0].action, Manual)
    assert steps[-1].action == Reboot()


def test_before_a_restart_it_is_asked_whether_the_gpu_was_drained_on_purpose(debian, with_module, asked):
    facts = with_module(debian, loaded="535.309.01")
    missing = asked(("driver.gpu-missing-in-nvml", ADDRESS))
    ask, keep, again = steps_of("restart-anew", *facts, PciGpus((gpu(driver=""),)), missing)
    assert f"{ADDRESS} was taken away on purpose (`nvidia-smi drain`), stop here" in str(ask.action)
    assert "dmesg" in str(keep.action)
    assert "The driver serves other GPUs here" in again.why
    silent = steps_of("restart-anew", *facts, PciGpus((gpu(),)), missing)
    assert not any("drain" in str(step.action) for step in silent)
    assert "No file or setting explains" in silent[-1].why


def test_a_module_of_a_generation_that_was_not_booted_yet_waits_for_a_restart(debian, with_module):
    facts = with_module(debian)
    *_, files = (fact for fact in facts if isinstance(fact, ModuleFiles))
    for booted, waits in ((None, False), (files.files, False), ((), True)):
        known = (*facts, files._replace(booted=booted))
        assert bool(steps_of("boot-new-generation", *known)) is waits
        assert bool(steps_of("load-module", *known)) is not waits


@pytest.mark.parametrize(("code", "restarts"), [(999, True), (802, False), (803, False)])
def test_no_restart_for_what_it_cannot_cure(debian, with_module, asked, code, restarts):
    cuda = Cuda(code, "", "", "", "", 12020, 0)
    facts = (*with_module(debian, loaded="535.309.01"), cuda, asked("driver.cuda-init-failed"))
    assert bool(steps_of("restart-anew", *facts)) is restarts


@pytest.mark.parametrize(("name", "words"), [("debian", "grub-reboot"), ("fedora", "grubby --set-default /boot/")])
def test_boot_the_previous_kernel(machines, by_hand, asked, name, words):
    text = by_hand(steps_of("boot-previous-kernel", *machines[name], asked("kernel.driver-too-old-for-kernel")))
    assert words in text
    old = machines[name][4].kernels[1].release
    assert old in text


def test_a_kernel_without_initramfs_is_not_to_be_booted(debian, by_hand, asked):
    new = InstalledKernel("7.3.4-amd64", "", True, "", "", None)
    kernels = InstalledKernels((new, *debian[4].kernels), "7.3.4-amd64", "/vmlinuz")
    failed = asked("kernel.module-build-failed")
    assert "Do not boot 7.3.4-amd64" in by_hand(steps_of("boot-previous-kernel", *debian, kernels, failed))


def test_reload_of_uvm(debian, with_module, commands):
    facts = with_module(debian, loaded="535.309.01")
    job = DeviceUsers((Holder(7, 1000, "python3", ("/dev/nvidia-uvm", "/dev/nvidia0")),), (), 0)
    display = DeviceUsers((Holder(7, 0, "Xorg", ("/dev/nvidia0",)),), (), 0)
    assert commands(steps_of("reload-uvm", *facts, display)) == ["modprobe -r nvidia_uvm", "modprobe nvidia_uvm"]
    assert steps_of("reload-uvm", *facts, job) == ()


# The module on the disk, or in the initramfs, is not the one of the libraries.

STALE = DriverVersions("535.261.03", "535.261.03", "", "535.309.01", "/usr/lib/libcuda.so.535.309.01", "", "")
OLD_COPY = DriverVersions("535.261.03", "535.309.01", "", "535.309.01", "/usr/lib/libcuda.so.535.309.01", "", "")


def test_rebuild_a_stale_module(debian, with_module, commands):
    facts = (*with_module(debian, loaded="535.261.03"), STALE)
    log = "/var/lib/dkms/nvidia-current/535.261.03/6.1.0-56-amd64/x86_64/log/make.log"
    old = DkmsSource("nvidia-current", "535.261.03", True, (DkmsBuild("6.1.0-56-amd64", "built", log, ()),))
    new = DkmsSource("nvidia-current", "535.309.01", True, ())
    steps = steps_of("rebuild-stale-module", *facts, Dkms(True, (old, new)))
    assert commands(steps) == [
        "dkms remove nvidia-current/535.261.03 --all",
        "dkms install --force nvidia-current/535.309.01 -k 6.1.0-56-amd64",
        "update-initramfs -u -k 6.1.0-56-amd64",
    ]
    # modinfo would find the old module just as well.
    assert str(steps[1].verify) == "test -e /var/lib/dkms/nvidia-current/535.309.01/6.1.0-56-amd64/x86_64/module"
    assert steps[-1].action == Reboot()
    assert steps_of("rebuild-stale-module", *facts, Dkms(True, ())) == ()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("debian", "update-initramfs -u -k 6.1.0-56-amd64"),
        ("fedora", "dracut --force --kver 6.11.4-301.fc41.x86_64"),
        ("suse", "dracut --force --kver 6.4.0-150600.23.25-default"),
        ("arch", "mkinitcpio -P"),
    ],
)
def test_an_old_copy_in_the_initramfs(machines, with_module, commands, name, command):
    facts = with_module(machines[name], loaded="500.10.10")
    steps = steps_of("refresh-initramfs", *facts)
    assert commands(steps) == [command]
    assert "-nt" in str(steps[0].verify), "the initramfs must be newer than the module"
    assert steps[-1].action == Reboot()


def test_remove_a_stale_dkms_entry(debian, with_module, commands):
    facts = (*with_module(debian, loaded="535.261.03"), OLD_COPY)
    sources = tuple(DkmsSource("nvidia-current", version, True, ()) for version in ("535.261.03", "535.309.01"))
    steps = steps_of("remove-stale-dkms-entry", *facts, Dkms(True, sources))
    assert commands(steps)[0] == "dkms remove nvidia-current/535.261.03 --all"
    assert str(steps[0].undo) == "dkms add nvidia-current/535.261.03"
    assert steps_of("remove-stale-dkms-entry", *facts) == (), "only the fitting source is there"


def test_a_second_file_of_the_module_is_looked_into_by_a_person(debian, with_module, by_hand):
    release = "6.1.0-56-amd64"
    file = ModuleFile(release, f"/lib/modules/{release}/extra/nvidia.ko", "extra", "535.261.03", "", "", "", 1.0)
    source = DkmsSource("nvidia-current", "535.309.01", True, ())
    facts = (*with_module(debian, loaded="535.261.03"), STALE, ModuleFiles((file,)), Dkms(True, (source,)))
    assert file.path in by_hand(steps_of("rebuild-stale-module", *facts))


def test_nothing_is_restarted_on_a_mounted_disk(debian, with_module, asked):
    facts = (*with_module(debian, loaded="535.261.03"), Kernel("6.1.0-56-amd64", False, None, ()))
    assert steps_of("reboot", *facts, asked("driver.library-mismatch")) == ()
    assert steps_of("restart-anew", *facts, asked("driver.nvml-failed")) == ()
