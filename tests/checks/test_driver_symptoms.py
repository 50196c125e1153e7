"""Texts about driver, packages, GPUs and containers as people paste them: what each is told first."""

import pytest
from diagnoses import told

TEXTS = [
    ("health.fallen-off-bus", "1c:00.0 VGA compatible controller: NVIDIA Corporation TU102GL [RTX 6000] (rev ff)"),
    ("health.fallen-off-bus", "Unable to determine the device handle for GPU3: 0000:B1:00.0: Unknown Error"),
    ("driver.rm-init-failed", "NVRM: GPU 0000:01:00.0: failed to copy vbios to system memory."),
    ("pci.bar-unassigned", "NVRM: Can't find an IRQ for your NVIDIA card!"),
    ("pci.no-gpu", "lspci shows no NVIDIA device, the card sits in its slot"),
    (
        "packages.held-or-broken",
        "error: unresolvable package conflicts detected\n:: nvidia-dkms and nvidia are in conflict",
    ),
    (
        "packages.held-or-broken",
        "nothing provides 'kernel-default = 6.4.0' needed by the to be installed nvidia-open-G06",
    ),
    ("container.no-cgroups", "nvidia-container-cli: container error: cgroup subsystem devices not found: unknown."),
    ("container.visible-devices-void", "nvidia-container-cli: device error: 2: unknown device: unknown."),
    ("kernel.secure-boot-blocks-module", "NVIDIA kernel module not found. Falling back to Nouveau."),
    (
        "kernel.nouveau-bound",
        "WARNING: One or more modprobe configuration files to disable Nouveau are already present at: "
        "/etc/modprobe.d/nvidia-installer-disable-nouveau.conf.",
    ),
    ("kernel.nouveau-bound", "Graphics: Device-1: NVIDIA GA106 [GeForce RTX 3060] driver: nouveau v: kernel"),
    (
        "driver.open-module-required",
        "This system requires the open GPU kernel modules, but contains GPUs which are not supported by them.",
    ),
    (
        "driver.open-module-unsupported",
        "dmesg | grep required\nnvidia.ko because it does not include the required GPU",
    ),
    (
        "driver.gpu-needs-legacy-branch",
        "The following NVIDIA GPUs are supported through NVIDIA legacy Linux graphics drivers and will be ignored by "
        "the NVIDIA 595.58.03 Linux graphics driver: GeForce GTX 960",
    ),
    (
        "driver.gpu-needs-legacy-branch",
        "Quadro P2000, nvidia-dkms went to 590.48.01 today and now nvidia-smi can't communicate with the driver",
    ),
    (
        "kernel.secure-boot-blocks-module",
        "ERROR: The kernel module failed to load because it was not signed by a key that is trusted by the kernel.",
    ),
    ("kernel.secure-boot-blocks-module", "boot screen: NVIDIA kernel module missing. Falling back to nouveau"),
    (
        "kernel.secure-boot-blocks-module",
        "secure boot is enabled\nnvidia-smi cannot communicate with the NVIDIA driver",
    ),
    (
        "kernel.module-missing",
        "Secure Boot: disabled. After a kernel upgrade: NVIDIA kernel module missing. Falling back to nouveau",
    ),
    ("kernel.headers-missing", "ERROR: The kernel source path '/lib/modules/6.8.0-60-generic/build' does not exist."),
    ("kernel.headers-missing", "nvidia-driver-daemonset-x2k: Could not resolve Linux kernel version"),
    ("kernel.headers-missing", "Error: Unable to find a match: kernel-headers-5.14.0-503 kernel-devel-5.14.0-503"),
    (
        "kernel.driver-too-old-for-kernel",
        "/var/lib/dkms/nvidia/340.108/build/nv-dma.c:44:11: error: no previous prototype for 'nv_create_dma_map'",
    ),
    ("kernel.driver-too-old-for-kernel", "nvidia-uvm/uvm_pmm_gpu.c:2659:9: 错误: 隐式声明函数'hmm_range_fault_retry'"),
    (
        "kernel.module-build-failed",
        "Error! nvidia/525.60.11 is broken! Missing the source directory or the symbolic link pointing to it.",
    ),
    ("kernel.module-blacklisted", "$ prime-select query\nintel\nnvidia-smi can't communicate with the NVIDIA driver"),
    ("kernel.uvm-wedged", "after laptop sleep ollama is slow\ncudaSetDevice err: 999"),
    ("kernel.uvm-not-loaded", "nvidia-smi is fine, lsmod shows no nvidia_uvm, cuInit gives CUDA_ERROR_UNKNOWN"),
    (
        "health.gsp-timeout",
        "NVRM: _kgspRpcRecvPoll: GSP RM heartbeat timed out\n"
        "NVRM: Xid (PCI:0000:01:00): 109, pid=51, name=game, channel 0x3e, errorString CTX SWITCH TIMEOUT",
    ),
    ("gpu.reset-required", "GPU 00000000:07:00.0: GPU requires restart"),
    ("devices.permission-denied", "NVIDIA-SMI has failed because you do not have sufficient permissions."),
    ("packages.held-or-broken", "E: Unmet dependencies. Try 'apt --fix-broken install' with no packages.\ncuda-12-4"),
    ("container.shared-memory-small", "shm.h:28 NCCL WARN Call to posix_fallocate failed : No space left on device"),
    (
        "container.shared-memory-small",
        "Error while creating shared memory segment nccl-shm-recv-25-0-1-3 (size 9637888)",
    ),
    ("fabric.manager-not-ready", "NCCL WARN Failed to bind NVLink SHARP (NVLS) Multicast memory of size 2097152"),
    ("wsl.host-too-old", "WSL2, driver 551.76 on Windows\n$ nvidia-smi\nSegmentation fault"),
    (
        "kernel.module-missing",
        "After upgrading Ubuntu to the new kernel 6.8.0-60 nvidia-smi says NVIDIA-SMI has failed "
        "because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
        "driver is installed and running.",
    ),
    (
        "kernel.module-missing",
        "modinfo: ERROR: Module nvidia not found.\nsystemd-modules-load[312]: Failed to find module 'nvidia-drm'",
    ),
    (
        "kernel.module-missing",
        "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.",
    ),
    (
        "kernel.module-missing",
        "[  12.1] (EE) NVIDIA: Failed to load the NVIDIA kernel module. Please check your\n"
        "(EE) NVIDIA:     system's kernel log for additional error messages.",
    ),
    (
        "kernel.nouveau-bound",
        "ERROR: The Nouveau kernel driver is currently in use by your system.  This driver is "
        "incompatible with the NVIDIA driver, and must be disabled before proceeding.\n"
        "ERROR: Installation has failed.",
    ),
    (
        "kernel.nouveau-bound",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
        "01:00.0 VGA compatible controller: NVIDIA Corporation GA104\n"
        "	Kernel driver in use: nouveau\n"
        "	Kernel modules: nvidiafb, nouveau, nvidia_drm, nvidia",
    ),
    (
        "kernel.other-driver-bound",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
        "	Kernel driver in use: vfio-pci\n"
        "	Kernel modules: nouveau, nvidia",
    ),
    (
        "kernel.secure-boot-blocks-module",
        "ERROR: The kernel module failed to load. Secure boot is enabled on this system, so this is "
        "likely because it was not signed by a key that is trusted by the kernel. Please try "
        "installing the driver again, and sign the kernel module when prompted to do so.\n"
        "ERROR: Unable to load the kernel module 'nvidia.ko'.  This happens most frequently when "
        "this kernel module was built against the wrong or improperly configured kernel sources",
    ),
    (
        "kernel.secure-boot-blocks-module",
        "insmod: ERROR: could not insert module nvidia.ko: Required key not available",
    ),
    (
        "kernel.secure-boot-blocks-module",
        "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7\n"
        "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
    ),
    (
        "kernel.mok-enrolment-pending",
        "mokutil --test-key /var/lib/shim-signed/mok/MOK.der\n"
        "/var/lib/shim-signed/mok/MOK.der is not enrolled\n"
        "nvidia does not load",
    ),
    (
        "kernel.headers-missing",
        "ERROR: Unable to find the kernel source tree for the currently running kernel.  Please make "
        "sure you have installed the kernel source files for your kernel and that they are properly "
        "configured",
    ),
    (
        "kernel.headers-missing",
        "Could not find files needed to compile modules for 6.5.6-300.fc39.x86_64\n"
        "Are the development files for kernel 6.5.6-300.fc39.x86_64 or the appropriate kernel-devel "
        "package installed?",
    ),
    (
        "kernel.headers-missing",
        "make[1]: *** /lib/modules/5.4.0-1045-aws/build: No such file or directory.  Stop.\nnvidia-dkms",
    ),
    (
        "kernel.headers-missing",
        "Error! Your kernel headers for kernel 5.15.0-1050-gcp cannot be found.\n"
        "Please install the linux-headers-5.15.0-1050-gcp package,\n"
        "or use the --kernelsourcedir option to tell DKMS where it's located",
    ),
    (
        "kernel.compiler-mismatch",
        "cc: error: unrecognized command-line option '-ftrivial-auto-var-init=zero'\n"
        "make[3]: *** [scripts/Makefile.build:243: /tmp/selfgz/NVIDIA-Linux/kernel/nvidia/nv.o] "
        "Error 1\n"
        'ERROR: An error occurred while performing the step: "Building kernel modules".',
    ),
    (
        "kernel.compiler-mismatch",
        "ERROR: Unable to find the development tool `cc` in your path; please make sure that you "
        "have the package 'gcc' installed.",
    ),
    (
        "kernel.driver-too-old-for-kernel",
        "/tmp/selfgz1/NVIDIA-Linux-x86_64-470.63/kernel/nvidia-drm/nvidia-drm-drv.c:54:10: fatal "
        "error: drm/drm_irq.h: No such file or directory\n"
        "ERROR: Unable to build the NVIDIA kernel module.",
    ),
    (
        "kernel.driver-too-old-for-kernel",
        "ERROR: modpost: GPL-incompatible module nvidia.ko uses GPL-only symbol 'rcu_read_lock'",
    ),
    (
        "kernel.module-build-failed",
        "2025/05/01 10:11:12 akmods: Building rpms failed; see "
        "/var/cache/akmods/nvidia/570.144-1-for-6.14.4.failed.log for details\n"
        "Hint: Some kmods were ignored or failed to build or install.",
    ),
    (
        "kernel.module-blacklisted",
        "modprobe: ERROR: ../libkmod/libkmod-module.c:968 command_do() Error running install command "
        "'/bin/false' for module nvidia: retcode 1",
    ),
    (
        "kernel.module-blacklisted",
        "cat /etc/modprobe.d/blacklist-nvidia.conf\nblacklist nvidia\nblacklist nvidia_drm",
    ),
    (
        "kernel.module-stale",
        "I rebooted three times, still: Failed to initialize NVML: Driver/library version mismatch "
        "even after a reboot\n"
        "NVML library version: 535.183",
    ),
    (
        "driver.library-mismatch",
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.107",
    ),
    (
        "driver.library-mismatch",
        'level=INFO source=gpu.go msg="unable to load CUDA management library '
        '/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.107.02: nvml vram init failure: 18"',
    ),
    (
        "kernel.uvm-wedged",
        "torch.cuda.is_available() False\n"
        "UserWarning: CUDA initialization: CUDA unknown error - this may be due to an incorrectly "
        "set up environment, e.g. changing env variable CUDA_VISIBLE_DEVICES after program start. "
        "Setting the available devices to be zero.",
    ),
    (
        "kernel.uvm-wedged",
        'level=WARN msg="unknown error initializing cuda driver library '
        "/usr/lib/x86_64-linux-gnu/libcuda.so.575.64.03: cuda driver library init failure: 999. see "
        'troubleshooting"',
    ),
    (
        "kernel.uvm-wedged",
        "ggml_cuda_init: failed to initialize CUDA: unknown error",
    ),
    (
        "kernel.uvm-wedged",
        "[h264_nvenc @ 0x55] cu->cuInit(0) failed -> CUDA_ERROR_UNKNOWN: unknown error",
    ),
    (
        "kernel.uvm-wedged",
        "E external/local_xla/xla/stream_executor/cuda/cuda_driver.cc:152] failed call to cuInit: "
        "CUDA_ERROR_UNKNOWN: unknown error",
    ),
    (
        "kernel.uvm-wedged",
        "CUDA works after a reboot until the laptop goes to sleep; after waking up Blender shows no "
        "GPU. nvidia-smi fine",
    ),
    (
        "driver.library-missing",
        "numba.cuda.cudadrv.error.CudaSupportError: Error at driver init: \n"
        "CUDA driver library cannot be found.\n"
        "If you are sure that a CUDA driver is installed,\n"
        "try setting environment variable NUMBA_CUDA_DRIVER",
    ),
    (
        "driver.library-missing",
        "[hevc_nvenc @ 0x5] Cannot load libcuda.so.1\nError initializing output stream",
    ),
    (
        "driver.library-missing",
        "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the "
        "NVIDIA Display Driver is properly installed and present in your system.",
    ),
    (
        "container.driver-capabilities",
        "docker run --gpus all jellyfin ...\n"
        "[h264_nvenc @ 0x5] Cannot load libnvidia-encode.so.1\n"
        "The minimum required Nvidia driver for nvenc is 570.0 or newer",
    ),
    (
        "driver.open-module-required",
        "nvidia-smi\nNo devices were found\nRTX 5070 Ti, driver 570.133.07 (proprietary)",
    ),
    (
        "driver.open-module-required",
        "NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:2c05)\n"
        "NVRM: installed in this system requires use of the NVIDIA open kernel modules.\n"
        "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x22:0x56:884)",
    ),
    (
        "driver.gpu-needs-legacy-branch",
        "NVRM: The NVIDIA GeForce GTX 1080 GPU installed in this system is\n"
        "NVRM:  supported through the NVIDIA 580.xx Legacy drivers. Please\n"
        "NVRM:  visit http://www.nvidia.com/object/unix.html for more\n"
        "NVRM:  information.  The 590.48.01 NVIDIA driver will ignore\n"
        "NVRM:  this GPU.  Continuing probe...\n"
        "NVRM: No NVIDIA GPU found.\n"
        "modprobe: ERROR: could not insert 'nvidia': No such device",
    ),
    (
        "health.fallen-off-bus",
        "nvidia-smi -> Unable to determine the device handle for GPU 0000:0B:00.0: GPU is lost.  "
        "Reboot the system to recover this GPU",
    ),
    (
        "health.fallen-off-bus",
        "training crashed, dmesg: Xid 79 on GPU 3",
    ),
    (
        "health.fallen-off-bus",
        "NVRM: The NVIDIA GPU 0000:5d:00.0\n"
        "NVRM: (PCI ID: 10de:2330) installed in this system has\n"
        "NVRM: fallen off the bus and is not responding to commands.",
    ),
    (
        "health.gsp-timeout",
        "NVRM: Xid (PCI:0000:41:00): 119, pid=1234, name=python, Timeout after 45s of waiting for "
        "RPC response from GPU3 GSP! Expected function 76 (GSP_RM_CONTROL)",
    ),
    (
        "health.ecc-uncorrectable",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    ),
    (
        "health.application-xid",
        "RuntimeError: CUDA error: an illegal memory access was encountered\n"
        "CUDA kernel errors might be asynchronously reported",
    ),
    (
        "health.application-xid",
        "NVRM: Xid (PCI:0000:01:00): 31, pid=4242, name=python3, Ch 00000008, intr 00000000. MMU "
        "Fault: ENGINE GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f_0",
    ),
    (
        "fabric.manager-not-ready",
        "cudaErrorSystemNotReady: system not yet initialized\n8x H100 SXM",
    ),
    (
        "fabric.manager-unneeded",
        "nv-fabricmanager[1]: request to query NVSwitch device information from NVSwitch driver "
        "failed with error:WARNING Nothing to do [NV_WARN_NOTHING_TO_DO]\n"
        "systemd[1]: nvidia-fabricmanager.service: Failed with result 'exit-code'.",
    ),
    (
        "devices.permission-denied",
        "NVIDIA: could not open the device file /dev/nvidiactl (Permission denied).\n"
        "Failed to initialize NVML: Insufficient Permissions",
    ),
    (
        "devices.nodes-missing",
        "ls: cannot access '/dev/nvidia*': No such file or directory\nlsmod shows nvidia loaded",
    ),
    (
        "packages.driver-removed",
        "after apt autoremove:\nnvidia-smi: command not found",
    ),
    (
        "driver.not-installed",
        "Command 'nvidia-smi' not found, but can be installed with:\nsudo apt install nvidia-utils-535",
    ),
    (
        "packages.half-configured",
        "dpkg: error processing package nvidia-dkms-535 (--configure):\n"
        " installed nvidia-dkms-535 package post-installation script subprocess returned error exit "
        "status 10\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    ),
    (
        "packages.held-or-broken",
        "The following packages have unmet dependencies:\n"
        " cuda-drivers-550 : Depends: nvidia-dkms-550 (>= 550.54.15) but it is not installable\n"
        "E: Unable to correct problems, you have held broken packages.",
    ),
    (
        "packages.disk-full",
        "cp: error writing '/boot/initrd.img': No space left on device\n"
        "update-initramfs: failed for /boot/initrd.img-6.8.0",
    ),
    (
        "packages.disk-full",
        "OSError: [Errno 28] No space left on device\n"
        "run-parts: /etc/kernel/postinst.d/zz-kernelstub exited with return code 1\n"
        "dpkg: error processing package linux-image-6.16.3-76061603-generic (--configure):",
    ),
    ("kernel.secure-boot-blocks-module", "since I turned it on the nvidia driver does not load because of Secure Boot"),
    ("packages.driver-removed", "ran apt autoremove, it took nvidia packages along, and now glxinfo says llvmpipe"),
    (
        "cuda.forward-compat-unsupported",
        "CUDA Version: 12.4 on a GTX 1080, and cudaGetDeviceCount() failed with error 804",
    ),
    (
        "tensorflow.no-kernels-for-gpu",
        "tf 2.20, RTX 5090\n'cuModuleLoadData(&module, data)' failed with 'CUDA_ERROR_INVALID_PTX'",
    ),
    (
        "kernel.uvm-wedged",
        "whenever I suspend the laptop: RuntimeError: CUDA error: unspecified launch failure",
    ),
    ("health.application-xid", "RuntimeError: CUDA error: unspecified launch failure"),
    ("health.power-throttle", "the clock drops, and SW Power Cap is Active at 240 W of 400"),
    (
        "container.shared-memory-small",
        "torch.multiprocessing: unable to write to file </torch_1_2>: No space left on device (28)",
    ),
    (
        "container.shared-memory-small",
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
    ),
    (
        "container.toolkit-missing",
        'Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu]]',
    ),
    (
        "container.toolkit-missing",
        "docker: Error response from daemon: failed to discover GPU vendor from CDI: no known GPU vendor found",
    ),
    (
        "container.docker-snap",
        "docker installed as a snap.\n"
        'docker: Error response from daemon: could not select device driver "" with capabilities: '
        "[[gpu]].",
    ),
    (
        "container.docker-desktop",
        "Docker Desktop 4.25 on Ubuntu 22.04\n"
        "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot "
        "open shared object file",
    ),
    (
        "container.runtime-not-configured",
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox "
        'runtime: no runtime for "nvidia" is configured',
    ),
    (
        "container.runtime-not-configured",
        "Detected non-NVML platform: could not load NVML library: libnvidia-ml.so.1: cannot open "
        "shared object file: No such file or directory\n"
        "Incompatible platform detected\n"
        "If this is a GPU node, did you configure the NVIDIA Container Toolkit?",
    ),
    (
        "container.no-gpu-requested",
        "docker run -it pytorch/pytorch python -c 'import torch; torch.zeros(1).cuda()'\n"
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA "
        "GPU and installed a driver",
    ),
    (
        "container.no-gpu-requested",
        "docker run --rm nvidia/cuda:12.2.0-base nvidia-smi\n"
        'exec: "nvidia-smi": executable file not found in $PATH: unknown',
    ),
    (
        "container.cgroup-access-lost",
        "my ollama docker container uses the CPU only after being idle for a day. Restarting the "
        "docker container resolves the issue.",
    ),
    (
        "container.cdi-stale",
        "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
    ),
    (
        "container.requires-newer-driver",
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update "
        "your driver to a newer version, or use an earlier cuda container: unknown",
    ),
    (
        "wsl.host-too-old",
        "WSL2 Ubuntu: Failed to initialize NVML: GPU access blocked by the operating system",
    ),
    (
        "wsl.linux-driver-installed",
        "WSL2. I ran apt-get -y install cuda and apt install nvidia-utils-510. nvidia-smi:\n"
        "Failed to initialize NVML: GPU access blocked by the operating system\n"
        "Failed to properly shut down NVML: GPU access blocked by the operating system",
    ),
    (
        "gpu.mig-no-instances",
        "nvidia-smi -mig 1: MIG mode is enabled\nRuntimeError: No CUDA GPUs are available",
    ),
    (
        "gpu.compute-mode-exclusive",
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable\nCompute Mode : Exclusive_Process",
    ),
    (
        "gpu.memory-without-process",
        "nvidia-smi shows 22 GiB used but no running processes found",
    ),
    (
        "pci.no-gpu",
        "lspci | grep -i nvidia shows nothing, ubuntu VM",
    ),
    (
        "pci.bar-unassigned",
        "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\n"
        "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:08:00.0)\n"
        "NVRM: The NVIDIA probe routine failed for 1 device(s).\n"
        "NVRM: None of the NVIDIA devices were initialized.",
    ),
    (
        "driver.vgpu-unlicensed",
        "vGPU Software Licensed Product\n    License Status : Unlicensed (Unrestricted)",
    ),
    (
        "devices.selinux-denied",
        'type=AVC msg=audit(1): avc:  denied  { read write } for  pid=1 comm="nvidia-smi" '
        'path="/dev/nvidiactl" dev="devtmpfs" tcontext=system_u:object_r:xserver_misc_device_t:s0 '
        "tclass=chr_file permissive=0",
    ),
    (
        "packages.runfile-and-packages",
        "ERROR: An alternate method of installing the NVIDIA driver was detected. (This is usually a "
        "package provided by your distributor.) A driver installed via that method may integrate "
        "better",
    ),
    (
        "packages.overwrite-conflict",
        "dpkg: error processing archive "
        "/var/cache/apt/archives/libnvidia-compute-535_535.104_amd64.deb (--unpack):\n"
        " trying to overwrite '/usr/lib/x86_64-linux-gnu/libcuda.so', which is also in package "
        "libnvidia-compute-525:amd64\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    ),
    (
        "gpu.persistence-off",
        "nvidia-container-cli: initialization error: driver rpc error: timed out: unknown",
    ),
    (
        "container.driver-baked-in",
        "nvidia-container-cli: mount error: file creation failed: "
        "/var/lib/docker/overlay2/ab/merged/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1: file exists: "
        "unknown",
    ),
    (
        "container.cdi-stale",
        "podman run --device nvidia.com/gpu=all\nError: stat nvidia.com/gpu=all: no such file or directory",
    ),
    (
        "driver.library-missing",
        "apptainer exec --nv x.sif\nINFO:    Could not find any nv files on this host!",
    ),
    (
        "kernel.compiler-mismatch",
        "WARNING: The CC version check failed: The kernel was built with gcc-12, but the current "
        "compiler version is cc 11.4.0.",
    ),
    (
        "packages.held-or-broken",
        "Problem: package nvidia-driver-3:580.65.06-1.fc42.x86_64 requires nvidia-kmod = "
        "3:580.65.06, but none of the providers can be installed",
    ),
    (
        "pci.p2p-blocked",
        "Two 4090: DDP hangs at init. With NCCL_P2P_DISABLE=1 it works.",
    ),
    (
        "fabric.manager-not-ready",
        "cuInit returned 802 on HGX H100",
    ),
    (
        "kernel.uvm-wedged",
        "hashcat: cuInit(): 999",
    ),
    (
        "health.ecc-uncorrectable",
        "Xid (PCI:0000:3b:00): 48, pid=1, Double Bit ECC Error",
    ),
    (
        "health.row-remap",
        "NVRM: Xid (PCI:0000:3b:00): 63, pid=1, Row Remapper: New row (0x1) marked for remapping, "
        "reset gpu to activate.",
    ),
    (
        "health.row-remap",
        "Xid 64 on one A100, remap failed",
    ),
    (
        "gpu.reset-required",
        "Failed to initialize NVML: GPU requires reset",
    ),
    (
        "health.nvlink-error",
        "NVRM: Xid (PCI:0000:0f:00): 74, pid=1, NVLink: fatal error detected on link 6(0x10000, 0x0, "
        "0x0, 0x0, 0x0, 0x0, 0x0)",
    ),
    (
        "driver.gsp-firmware-missing",
        "nvidia 0000:01:00.0: Direct firmware load for nvidia/550.163.01/gsp_ga10x.bin failed with "
        "error -2\n"
        "NVRM: RmInitAdapter: Cannot initialize GSP firmware RM\n"
        "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x61:0x56:1697)\n"
        "nvidia-smi: No devices were found",
    ),
    (
        "driver.rm-init-failed",
        "NVRM: GPU 0000:98:00.0: RmInitAdapter failed! (0x62:0x65:1792)\n"
        "NVRM: GPU 0000:98:00.0: rm_init_adapter failed, device minor number 0\n"
        "No devices were found",
    ),
    (
        "driver.gpu-newer-than-driver",
        "NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:2684)\n"
        "NVRM: installed in this system is not supported by the\n"
        "NVRM: NVIDIA 515.105.01 driver release.\n"
        "NVRM: Please see 'Appendix A'\n"
        "nvidia: probe of 0000:01:00.0 failed with error -1\n"
        "NVRM: None of the NVIDIA devices were initialized.\n"
        "modprobe: ERROR: could not insert 'nvidia': No such device",
    ),
    (
        "kernel.uvm-hmm",
        "nvidia-uvm: uvm_pmm_gpu.c:3392 devmem_alloc_pagemap[pid:1] request_free_mem_region() err -34\n"
        "cuInit: CUDA_ERROR_UNKNOWN",
    ),
    (
        "kernel.uvm-not-loaded",
        "modprobe: ERROR: could not insert 'nvidia_uvm': Unknown symbol in module, or unknown parameter",
    ),
    (
        "kernel.module-not-loaded",
        "nvidia: version magic '6.1.0-17-amd64 SMP' should be '6.1.0-18-amd64 SMP'\n"
        "modprobe: ERROR: could not insert 'nvidia': Exec format error",
    ),
    (
        "packages.mixed-origins",
        "The following packages have unmet dependencies:\n"
        " nvidia-driver-550 : Depends: libnvidia-gl-550 (= 550.54.15-0ubuntu1) but "
        "550.90.07-0ubuntu0.22.04.1 is to be installed\n"
        "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204",
    ),
    (
        "container.no-cgroups",
        "config.toml: no-cgroups = true\n"
        "sudo docker run --gpus all nvidia/cuda nvidia-smi\n"
        "Failed to initialize NVML: Unknown Error",
    ),
    (
        "container.visible-devices-void",
        "docker exec x env: NVIDIA_VISIBLE_DEVICES=void\nRuntimeError: No CUDA GPUs are available",
    ),
    (
        "fabric.nvlink5-modules-missing",
        'Kernel module "ib_umad" has not been loaded, fabric manager cannot start\n'
        "nvidia-fabricmanager.service: Failed\n"
        "CUDA error: system not yet initialized",
    ),
    (
        "driver.vgpu-guest-host-mismatch",
        "NVRM: Guest VGX version is newer than the maximum version supported by the Host\nNVRM: RmInitAdapter failed!",
    ),
]

HEALTHY = [
    "laptop on battery, prime offload works: 01:00.0 3D controller: NVIDIA Corporation GP107M (rev ff)",
    "It worked on the old GTX 1080 as well. Now RTX 5070, driver 595.58.03: all is fine, 140 it/s",
    "Secure Boot: enabled. Driver 580.95.05 signed and loaded, nvidia-smi shows the RTX 4070.",
    "Graphics: Device-1: NVIDIA GA106 [GeForce RTX 3060] driver: nvidia v: 570.133.07",
    "| NVIDIA-SMI 550.54.15              Driver Version: 550.54.15      CUDA Version: 12.4     |\n"
    "|   0  Tesla T4  On | 00000000:00:1E.0 Off | 0 |\n"
    "| N/A 30C P8 9W / 70W | 0MiB / 15360MiB | 0% Default |\n"
    "| No running processes found |",
    "docker run --rm --gpus all nvidia/cuda:12.4.1-base-ubuntu22.04 nvidia-smi\n"
    "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |",
    "nvidia: loading out-of-tree module taints kernel.\n"
    "nvidia: module verification failed: signature and/or required key missing - tainting kernel\n"
    "nvidia-nvlink: Nvlink Core is being initialized, major device number 510\n"
    "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.15\n"
    "nvidia-modeset: Loading NVIDIA Kernel Mode Setting Driver\n"
    "[drm] Initialized nvidia-drm 0.0.0\n"
    "nvidia_uvm: module uses symbols from proprietary module nvidia\n"
    "nvidia-uvm: Loaded the UVM driver, major device number 508.",
    "*** System restart required ***\nWelcome to Ubuntu 22.04\nnvidia-smi works",
    "PM: suspend entry (deep)\nPM: suspend exit\nnvidia-smi works, torch.cuda.is_available() True",
    "/sbin/ldconfig.real: /usr/lib/wsl/lib/libcuda.so.1 is not a symbolic link\n"
    "Setting up libc6\n"
    "| NVIDIA-SMI 550.90.07 Driver Version: 552.86 CUDA Version: 12.4 |",
    "blacklist nouveau\n"
    "options nouveau modeset=0\n"
    "Kernel driver in use: nvidia\n"
    "Kernel modules: nvidiafb, nouveau, nvidia_drm, nvidia",
    "Clocks Event Reasons\n"
    " Idle : Active\n"
    " SW Power Cap : Not Active\n"
    " HW Slowdown : Not Active\n"
    " HW Thermal Slowdown : Not Active\n"
    " HW Power Brake Slowdown : Not Active\n"
    " Remapped Rows\n"
    " Correctable Error : 0\n"
    " Pending : No\n"
    " Remapping Failure Occurred : No\n"
    "ECC Mode\n"
    " Current : Enabled\n"
    " Pending : Enabled\n"
    " MIG Mode\n"
    " Current : Disabled\n"
    " Pending : Disabled\n"
    "Compute Mode : Default\n"
    "Persistence Mode : Disabled",
    "SecureBoot enabled\n"
    "nvidia/550.54, 6.8.0, x86_64: installed\n"
    "ii  nvidia-driver-550\n"
    "ii  linux-modules-nvidia-550-generic",
    "Xorg log: NVIDIA(0): NVIDIA GPU NVIDIA GeForce RTX 3080 (GA102-A) at PCI:1:0:0\n"
    "dkms status\n"
    "nvidia/550.54.15, 6.8.0-31-generic, x86_64: installed\n"
    "nouveau is blacklisted",
    "kubectl get pods -n gpu-operator\n"
    "nvidia-device-plugin-daemonset-abc 1/1 Running 0 4d\n"
    "nvidia-smi in the pod works fine",
    "After resuming from suspend everything works, torch 2.5 cuda True",
]


@pytest.mark.parametrize(("first", "text"), TEXTS)
def test_what_a_text_is_told_first(first: str, text: str) -> None:
    assert told(text)[:1] == [first]


@pytest.mark.parametrize("text", HEALTHY)
def test_nothing_is_told_of_what_works(text: str) -> None:
    assert told(text) == []
