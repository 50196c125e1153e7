"""Device files, groups, modprobe settings, and what only a person can do."""

import pytest

from gpudoctor import Manual, Reboot, Risk, WriteFile
from gpudoctor.facts.answers import Nvml, NvmlGpu
from gpudoctor.facts.devices import DeviceNode, DeviceNodes
from gpudoctor.facts.kernels import ModuleFile, ModuleFiles
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.modprobe import ModprobeConfig, ModprobeLine
from gpudoctor.facts.pci import PciGpu, PciGpus
from gpudoctor.facts.processes import DeviceUsers, Holder, StaleProcess
from gpudoctor.facts.system import Confinement, Identity
from gpudoctor.registry import Facts, load_plugins
from gpudoctor.registry import registry as everything
from gpudoctor.snapshot import SnapshotHost
from gpudoctor.testing import steps_of

GPU = PciGpu("0000:01:00.0", "2335", "nvidia", "NVIDIA H200", "Hopper", "either", None, "")
TWO = PciGpus((GPU, GPU._replace(address="0000:02:00.0")))
CONTROL = DeviceNode("/dev/nvidiactl", 0o660, 0, 44, (195, 255))
MAJORS = {"nvidia": 195, "nvidia-uvm": 511}


@pytest.fixture
def running(debian, with_module):
    return with_module(debian, loaded="535.309.01")


def test_all_nodes_are_missing(running, commands):
    steps = steps_of("create-device-nodes", *running, DeviceNodes((), MAJORS, False), TWO)
    assert commands(steps) == ["nvidia-modprobe -c 0 -c 1 -c 255", "nvidia-modprobe -u -c 0"]
    assert str(steps[0].verify) == "test -e /dev/nvidia0"
    assert str(steps[1].verify) == "test -e /dev/nvidia-uvm"


def test_only_the_number_of_uvm_is_wrong(running, commands):
    nodes = [DeviceNode(f"/dev/nvidia{i}", 0o666, 0, 0, (195, i)) for i in range(2)]
    nodes += [CONTROL, DeviceNode("/dev/nvidia-uvm", 0o666, 0, 0, (508, 0))]
    steps = steps_of("create-device-nodes", *running, DeviceNodes(tuple(nodes), MAJORS, False), TWO)
    assert commands(steps) == ["nvidia-modprobe -u -c 0"]


def test_nodes_need_a_driver(debian):
    assert steps_of("create-device-nodes", *debian, DeviceNodes((), {}, False), TWO) == ()


def test_load_uvm(running, commands):
    modules = LoadedModules({"nvidia": ()})
    assert commands(steps_of("load-uvm", *running, modules)) == ["modprobe nvidia_uvm", "nvidia-modprobe -u -c 0"]
    assert steps_of("load-uvm", *running) == (), "it is loaded"


def test_uvm_without_hmm(running, commands):
    path = "/lib/modules/6.1.0-56-amd64/updates/dkms/nvidia-current.ko"
    file = ModuleFile("6.1.0-56-amd64", path, "dkms", "535.309.01", "open", "", "", 1.0)
    idle = DeviceUsers((), (), 0)
    steps = steps_of("disable-uvm-hmm", *running, ModuleFiles((file,)), idle)
    # modprobe takes options by the name of the file.
    text = "options nvidia_uvm uvm_disable_hmm=1\noptions nvidia_current_uvm uvm_disable_hmm=1\n"
    assert steps[0].action == WriteFile("/etc/modprobe.d/gpudoctor-uvm.conf", text)
    assert commands(steps) == ["modprobe -r nvidia_uvm", "modprobe nvidia_uvm"]
    busy = DeviceUsers((Holder(1, 0, "python", ("/dev/nvidia-uvm",)),), (), 0)
    assert steps_of("disable-uvm-hmm", *running, busy)[-1].action == Reboot()


def accounts_of(passwd, group):
    load_plugins(fixes=True)
    host = SnapshotHost({"read /etc/passwd": passwd, "read /etc/group": group})
    kind = next(kind for kind in everything.providers if kind.__name__ == "Accounts")
    return Facts(host).get(kind)


PASSWD = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n"


def test_join_the_group(running, commands):
    accounts = accounts_of(PASSWD, "root:x:0:\nvideo:x:44:bob\n")
    facts = (*running, Identity(1000, (1000,)), DeviceNodes((CONTROL,), MAJORS, False), accounts)
    steps = steps_of("join-device-group", *facts)
    assert commands(steps) == ["usermod -aG video ada"]
    assert str(steps[0].undo) == "gpasswd -d ada video"
    assert isinstance(steps[1].action, Manual)


@pytest.mark.parametrize(
    ("line", "member"),
    [("video:x:44:ada", 0), ("video:x:44:bob,ada,eve", 0), ("video:x:44:adam", 1), ("xvideo:x:44:ada", 1)],
)
def test_the_proof_of_membership(running, tmp_path, line, member):
    import subprocess

    accounts = accounts_of(PASSWD, "video:x:44:\n")
    facts = (*running, Identity(1000, (1000,)), DeviceNodes((CONTROL,), MAJORS, False), accounts)
    verify = steps_of("join-device-group", *facts)[0].verify
    (tmp_path / "group").write_text(line + "\n")
    argv = [*verify.argv[:-1], str(tmp_path / "group")]
    assert subprocess.run(argv, check=False).returncode == member


@pytest.mark.parametrize("name", ["ada;reboot", "-rf", "../x", "Ada Lovelace"])
def test_strange_account_names_are_left_to_a_person(running, name):
    accounts = accounts_of(f"{name}:x:1000:1000::/:/bin/sh\n", "video:x:44:\n")
    facts = (*running, Identity(1000, (1000,)), DeviceNodes((CONTROL,), MAJORS, False), accounts)
    assert all(isinstance(step.action, Manual) for step in steps_of("join-device-group", *facts))


def test_accounts_of_a_directory_service_are_left_to_a_person(running, by_hand):
    facts = (*running, Identity(70001, (70001,)), DeviceNodes((CONTROL,), MAJORS, False), accounts_of(PASSWD, ""))
    assert "70001" in by_hand(steps_of("join-device-group", *facts))


def test_nodes_of_root_only(running, by_hand):
    node = CONTROL._replace(mode=0o600, group=0)
    facts = (*running, Identity(1000, (1000,)), DeviceNodes((node,), MAJORS, False), accounts_of(PASSWD, ""))
    assert "NVreg_DeviceFileMode" in by_hand(steps_of("join-device-group", *facts))
    assert steps_of("join-device-group", *facts, Identity(0, (0,))) == ()


# Settings


def test_load_the_module(debian, with_module, commands):
    assert commands(steps_of("load-module", *with_module(debian))) == ["modprobe -a nvidia nvidia_uvm"]
    assert steps_of("load-module", *debian) == (), "there is none"
    assert steps_of("load-module", *with_module(debian, loaded="535.309.01")) == ()


NOUVEAU = PciGpus((GPU._replace(driver="nouveau"),))


def test_nouveau_is_forbidden_again(debian, with_module, commands):
    steps = steps_of("restore-nouveau-blacklist", *with_module(debian), NOUVEAU, ModprobeConfig((), ""))
    text = "blacklist nouveau\noptions nouveau modeset=0\n"
    assert steps[0].action == WriteFile("/etc/modprobe.d/gpudoctor-nouveau.conf", text)
    assert commands(steps) == ["update-initramfs -u -k 6.1.0-56-amd64"]
    assert steps[-1].action == Reboot()
    assert steps[-1].risk is Risk.HIGH


def test_nouveau_that_is_forbidden_already_comes_from_the_initramfs(debian, with_module):
    config = ModprobeConfig((ModprobeLine("/etc/modprobe.d/x.conf", "blacklist", "nouveau", ""),), "")
    steps = steps_of("restore-nouveau-blacklist", *with_module(debian), NOUVEAU, config)
    assert not any(isinstance(step.action, WriteFile) for step in steps)


def test_nouveau_stays_where_nothing_could_take_its_place(debian):
    assert steps_of("restore-nouveau-blacklist", *debian, NOUVEAU) == ()


def test_nova_is_forbidden_by_its_own_names(debian, with_module):
    gpus = PciGpus((GPU._replace(driver="nova_core"),))
    action = steps_of("restore-nouveau-blacklist", *with_module(debian), gpus)[0].action
    assert isinstance(action, WriteFile)
    assert action.text == "blacklist nova_core\nblacklist nova_drm\n"


def test_prime_is_switched_on(debian, with_module, commands):
    steps = steps_of("allow-module", *with_module(debian), ModprobeConfig((), "off"))
    assert commands(steps) == ["prime-select on-demand"]
    assert str(steps[0].undo) == "prime-select intel"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            ModprobeLine("/etc/modprobe.d/b.conf", "blacklist", "nvidia", ""),
            ("`blacklist nvidia` out of /etc/modprobe.d/b.conf", "update-initramfs -u -k 6.1.0-56-amd64"),
        ),
        # As it stands there; and the initramfs has nothing to do with it.
        (
            ModprobeLine("/proc/cmdline", "module_blacklist", "nvidia", ""),
            ("`module_blacklist=nvidia` out of the kernel's command line", "update-grub"),
        ),
        (
            ModprobeLine("/proc/cmdline", "blacklist", "nvidia", ""),
            ("`modprobe.blacklist=nvidia` out of", "update-grub"),
        ),
    ],
)
def test_what_somebody_forbade_is_undone_by_a_person(debian, with_module, by_hand, line, words):
    text = by_hand(steps_of("allow-module", *with_module(debian), ModprobeConfig((line,), "")))
    assert all(word in text for word in words), text
    assert ("initramfs" in text) == (line.path != "/proc/cmdline")


# What only a person can do


def test_a_gpu_for_virtual_machines(debian, by_hand):
    gpus = PciGpus((GPU._replace(driver="vfio-pci"), GPU))
    steps = steps_of("explain-other-driver", *debian, gpus)
    assert len(steps) == 1
    assert "10de:2335" in by_hand(steps)


@pytest.mark.parametrize(
    ("fix", "id", "words"),
    [
        ("look-for-gpu", "pci.no-gpu", "power cables"),
        ("power-cycle", "health.fallen-off-bus", "0000:01:00.0"),
        ("set-firmware-bars", "pci.bar-unassigned", "Above 4G"),
    ],
)
def test_hands_on(debian, by_hand, asked, fix, id, words):
    assert words in by_hand(steps_of(fix, *debian, asked((id, "0000:01:00.0"))))
    assert steps_of(fix, *debian, asked(id), Confinement("docker", False)) == ()


def test_reset_of_a_gpu_names_who_uses_it(running, by_hand):
    sick = NvmlGpu(1, 15, "NVML_ERROR_GPU_IS_LOST", "", "", "0000:02:00.0", None, None, None, {}, {})
    nvml = Nvml(0, "", "", "", "", "", None, (sick,))
    users = DeviceUsers((Holder(41, 1000, "python3", ("/dev/nvidia1",)),), (), 0)
    text = by_hand(steps_of("reset-gpu", *running, nvml, users, TWO._replace(nvswitches=4)))
    for words in ("nvidia-smi -i 0000:02:00.0 -r", "python3 (41)", "NVSwitch"):
        assert words in text
    assert steps_of("reset-gpu", *running, nvml._replace(gpus=()), TWO) == ()


def test_programs_with_old_libraries(running, by_hand):
    users = DeviceUsers((), (StaleProcess(99, 0, "Xorg\x1b[2J", ("/usr/lib/libcuda.so.535.261.03",)),), 0)
    text = by_hand(steps_of("restart-processes", *running, users))
    assert "Xorg?[2J (99)" in text, "no terminal commands from the names of processes"


def test_wsl_belongs_to_windows(debian, by_hand):
    assert "wsl --update" in by_hand(steps_of("repair-the-host", *debian, Confinement("", True)))
    assert steps_of("repair-the-host", *debian) == ()
