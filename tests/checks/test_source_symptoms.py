"""Sentences as the sources of drivers, installers, package managers and container tools have them."""

import pytest
from diagnoses import told

TEXTS = [
    (
        "kernel.nouveau-bound",
        "ERROR: Unable to alter the nouveau modprobe configuration. Please disable Nouveau manually",
    ),
    ("kernel.nouveau-bound", "nouveau 0000:01:00.0: gsp ctor failed: -2"),
    ("kernel.nouveau-bound", "NVRM: Try unloading the conflicting kernel module (and/or"),
    ("kernel.other-driver-bound", "NVRM: request_mem_region failed for 0M @ 0x0. This can"),
    ("pci.no-gpu", "NVIDIA: no NVIDIA devices found"),
    ("pci.no-gpu", "systemd-modules-load[312]: Failed to insert module 'nvidia_drm': No such device"),
    ("pci.bar-unassigned", "NVRM: BAR1 is 256M @ 0x0 (PCI:0000:0b:00.0)"),
    ("pci.bar-unassigned", "NVRM: FATAL: Failed to re-allocate BAR1."),
    ("pci.bar-unassigned", "NVRM: GPU 0000:01:00.0: No interrupts of any type are available. Cannot use this GPU."),
    (
        "pci.bar-unassigned",
        "nvidia 0000:01:00.0: enable device failed: can't enable device: BAR 1 [mem size 0x10000000] not assigned",
    ),
    ("pci.link-degraded", "GPU 1 host-side PCIe replay violation, see dmesg for more information"),
    ("driver.rm-init-failed", "NVRM: krcWatchdogInit failed, bailing out of RmInitAdapter"),
    ("driver.rm-init-failed", "NVRM: RmInitNvDevice: *** Cannot load state into the device"),
    ("driver.rm-init-failed", "NVRM: _kgspBootGspRm: unexpected WPR2 already up, cannot proceed with booting GSP"),
    (
        "driver.rm-init-failed",
        "NVRM: GPU0 gpuWaitForGfwBootComplete_TU102: failed to wait for GFW_BOOT: (progress 0x0)",
    ),
    ("driver.rm-init-failed", "NVRM: The NVIDIA probe routine failed for 1 device(s)."),
    ("driver.gsp-firmware-missing", "NVRM: RmFetchGspRmImages: No firmware image found"),
    ("driver.gpu-needs-legacy-branch", "NVRM: ignoring the legacy GPU 0000:01:00.0"),
    (
        "driver.open-module-unsupported",
        "WARNING: The unknown GPU with PCI device ID 0x1B06 is unlikely to support the open GPU kernel "
        "modules; assuming",
    ),
    ("driver.library-mismatch", "failed to initialize NVML: ERROR_LIB_RM_VERSION_MISMATCH"),
    ("driver.library-missing", 'failed to locate driver libraries: failed to locate "libnvidia-ml.so.1"'),
    ("driver.gpu-missing-in-nvml", "gres/gpu count reported lower than configured (3 < 4)"),
    (
        "driver.vgpu-unlicensed",
        "Mar 31 06:53:50 lab nvidia-gridd[1039]: Failed to decode signature from token received",
    ),
    ("health.fallen-off-bus", "XidCriticalError: Xid=79 on Device=GPU-123; marking device as unhealthy."),
    ("health.fallen-off-bus", "NVRM: A GPU crash dump has been created. If possible, please run"),
    ("health.gsp-timeout", "NVRM: =============== GSP-RM unresponsive =================="),
    ("health.nvlink-error", "NVRM: Xid (PCI:0000:3b:00): 108, NVLink remote translation error: faulted @ 0x7f_1234."),
    ("health.nvlink-error", "Detected symbol BER 1.00e-05 exceeds minimum threshold on GPU 3's NVLink."),
    ("health.ecc-uncorrectable", "SRAM Threshold Count exceeded on GPU 2: 12"),
    ("health.ecc-uncorrectable", "nvidia-uvm: ECC error encountered, GPU GPU-123"),
    ("health.row-remap", "GPU 2 exceeded uncorrectable row remap limit with 600 remapped rows"),
    ("health.thermal-throttle", "Temperature 95 of GPU 1 exceeded user-specified maximum allowed temperature 90"),
    (
        "health.power-throttle",
        "Enforced power limit on GPU 1 set to 100.0, which is too low to attempt to achieve target power 300.0",
    ),
    (
        "gpu.reset-required",
        "GPU 3 fault may have left the OS in an inconsistent state. Recovery action: 2 (NODE_REBOOT).",
    ),
    ("gpu.persistence-off", "Persistence mode for GPU 1 is disabled."),
    ("gpu.compute-mode-exclusive", "exclusive-thread device already in use by a different thread"),
    (
        "gpu.mps-stale",
        "[Control 73] Starting new server 95 for user 0, /tmp/nvidia-mps/control\n[Control 73] Server 95 "
        "exited with status 1",
    ),
    (
        "gpu.mig-no-instances",
        "Invalid configuration: all devices on the node must be configured with the same migEnabled value",
    ),
    ("fabric.manager-not-ready", "Could not Enable UVM Persistence mode because the NVLink fabric is not ready: 0x3"),
    (
        "fabric.manager-not-ready",
        "NCCL WARN Failed to bind NVLink SHARP (NVLS) Multicast memory of size 2097152 : CUDA error 401",
    ),
    ("env.cuda-visible-devices", "Make sure CUDA_VISIBLE_DEVICES is not preventing visibility of this GPU."),
    ("kernel.module-not-loaded", "insmod: ERROR: could not insert module nvidia.ko: Invalid module format"),
    ("kernel.module-not-loaded", "nvidia: Unknown symbol drm_gem_object_free (err -2)"),
    ("kernel.module-stale", "nvidia_uvm: disagrees about version of symbol nvUvmInterfaceDisableAccessCntr"),
    ("kernel.module-stale", "*ERROR* Version mismatch: nvidia-modeset.ko(550.54) nvidia-drm.ko(550.90)"),
    ("kernel.module-blacklisted", "Is nvidia loaded? no\nIs nvidia blacklisted? yes"),
    ("kernel.module-missing", "failed to initialize NVML: ERROR_DRIVER_NOT_LOADED"),
    ("kernel.uvm-wedged", "nvidia-uvm: Encountered a global fatal error: NV_ERR_RC_ERROR"),
    ("kernel.uvm-not-loaded", "could not load kernel module nvidia_uvm"),
    (
        "kernel.secure-boot-blocks-module",
        "The signed kernel module failed to load because the kernel does not trust any key which is "
        "capable of verifying the module signature.",
    ),
    (
        "kernel.secure-boot-blocks-module",
        "nvidia-installer cannot sign nvidia.ko without the `sign-file` module signing program",
    ),
    ("kernel.mok-enrolment-pending", "SKIP: /var/lib/dkms/mok.pub is already in the enrollment request"),
    (
        "kernel.headers-missing",
        "Kernel configuration is invalid. include/generated/autoconf.h or include/config/auto.conf are missing.",
    ),
    ("kernel.headers-missing", "ERROR: The kernel output path '/lib/modules/5.4/build' does not exist."),
    (
        "kernel.compiler-mismatch",
        "Warning: The kernel was built with gcc version 12.3.0, but the current compiler version is cc 11.4.0.",
    ),
    ("kernel.compiler-mismatch", "*** Failed CC sanity check. Bailing out! ***"),
    ("kernel.module-build-failed", "Autoinstall on 6.8.0-40-generic failed for module(s) nvidia(10)."),
    ("kernel.module-build-failed", "*** Failed PREEMPT_RT sanity check. Bailing out! ***"),
    ("kernel.module-build-failed", "run-parts: /etc/kernel/postinst.d/dkms exited with return code 11"),
    (
        "kernel.module-build-failed",
        "Could not find module source directory. Directory: /usr/src/nvidia-470.42 does not exist.",
    ),
    ("packages.runfile-and-packages", "The installed file '/usr/lib/libcuda.so.550' no longer exists."),
    (
        "packages.runfile-and-packages",
        "ERROR: The installation was canceled due to the availability or presence of an alternate driver installation.",
    ),
    (
        "packages.held-or-broken",
        " libnvidia-compute-570 : Conflicts: libnvidia-compute-550 but 550.54 is to be installed",
    ),
    ("packages.held-or-broken", ":: installing linux (6.9.3) breaks dependency 'linux=6.9.2' required by nvidia"),
    (
        "packages.held-or-broken",
        " cuda-12-4 : Depends: cuda-runtime-12-4 (>= 12.4.1) but it is not going to be installed",
    ),
    ("packages.half-configured", "warning: %post(nvidia-driver-3:550.54-1.el9.x86_64) scriptlet failed, exit status 1"),
    (
        "packages.overwrite-conflict",
        "File /usr/bin/nvidia-smi from install of nvidia-a-550.x86_64 (NVIDIA) conflicts with file from "
        "package nvidia-b",
    ),
    ("packages.disk-full", "Warning: dkms will not function properly without some free space in $TMPDIR (/tmp)."),
    (
        "container.toolkit-missing",
        "[ERROR] Command not found: nvidia-container-cli, see https://github.com/NVIDIA/libnvidia-container",
    ),
    (
        "container.runtime-not-configured",
        'unable to get OCI runtime for sandbox: runtime handler "nvidia" not supported',
    ),
    ("container.runtime-not-configured", "error validating toolkit installation: exec failed"),
    ("container.runtime-not-configured", 'could not select device driver "cdi" with capabilities: []'),
    ("container.cdi-stale", "could not resolve CDI devices: nvidia.com/gpu=0"),
    ("container.cdi-stale", "crun: cannot stat `/run/nvidia-persistenced/socket`: No such file or directory"),
    ("container.requires-newer-driver", "unsatisfied condition: driver>=550"),
    (
        "container.visible-devices-void",
        "Ignoring devices requested by environment variable(s) in unprivileged container: [all]",
    ),
    ("container.driver-capabilities", "[ERROR] Unknown NVIDIA driver capability: cuda"),
    ("container.no-cgroups", "nvidia-container-cli: mount error: failed to get devices cgroup version"),
    (
        "container.driver-baked-in",
        "nvidia-container-cli: mount error: file creation failed: /overlay/merged/usr/bin/nvidia-smi: file exists",
    ),
    (
        "container.shared-memory-small",
        "NCCL WARN Error: failed to extend /dev/shm/nccl-DQ8jUv to 33030532 bytes, error: Cannot allocate memory (12)",
    ),
    ("devices.nodes-missing", "slurmd: fatal: can't stat gres.conf file /dev/nvidia3: No such file"),
    ("health.application-xid", "NVRM: Xid (PCI:0000:3b:00): 39, pid=1234, name=python3, Ch 00000008"),
    ("nccl.init-failed", "NCCL WARN NET/Socket : no interface found"),
    (
        "nccl.init-failed",
        "NCCL WARN NET/IB: Got completion from peer 10.0.0.2<48123> with status=IBV_WC_RETRY_EXC_ERR(12)",
    ),
    ("pci.p2p-blocked", "NCCL WARN P2P is disabled between NVLINK connected GPUs 0 and 1."),
    ("kernel.module-missing", "NCCL WARN nvmlInit_v2() failed: Driver Not Loaded"),
    ("wsl.host-too-old", "failed to find NVIDIA driver store path: no driver store path found"),
]

HEALTHY = [
    "warning: the compiler differs from the one used to build the kernel\n  The kernel was built by: "
    "gcc 13.3.0\n  You are using:           gcc 13.2.0\n  LD [M]  nvidia.ko",
    "Sep 16 01:16:29 host nvidia-gridd[3239]: Failed to open file /etc/nvidia/gridd.conf (No such file or directory)",
    "[2026-02-06 09:34:36.380 Control 261] User did not send valid credentials\n[Control 261] NEW "
    "SERVER 337: Ready, /tmp/nvidia-mps",
    "Is nvidia loaded? yes\nWas nvidia unloaded? no\nIs nvidia blacklisted? no",
    "GPU 0: Fabric State is Completed (3).",
    "gres/gpu count reported lower than configured (0 < 8)",
]


@pytest.mark.parametrize(("first", "text"), TEXTS)
def test_what_a_sentence_is_told_first(first: str, text: str) -> None:
    assert told(text)[:1] == [first]


@pytest.mark.parametrize("text", HEALTHY)
def test_nothing_is_told_of_what_works(text: str) -> None:
    assert told(text) == []
