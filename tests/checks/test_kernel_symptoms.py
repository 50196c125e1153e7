"""Messages as users see them lead to the check that explains them."""

import re

import pytest

from gpudoctor.registry import load_plugins, registry

load_plugins()

SECURE_BOOT = ("kernel.secure-boot-blocks-module", "kernel.mok-enrolment-pending")
FAILED_BUILD = ("kernel.driver-too-old-for-kernel", "kernel.module-build-failed", "kernel.headers-missing")
UVM = ("kernel.uvm-not-loaded", "kernel.uvm-wedged")

MESSAGES = [
    (
        ("kernel.module-missing",),
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
        "NVIDIA driver is installed and running.",
    ),
    (
        ("kernel.module-missing",),
        "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0-87-generic",
    ),
    (("kernel.module-missing",), "NVIDIA kernel module missing. Falling back to nouveau"),
    (("kernel.module-stale",), "Failed to initialize NVML: Driver/library version mismatch"),
    (
        ("kernel.module-stale",),
        "NVRM: API mismatch: the client has the version 367.44, but\nNVRM: this kernel module has the version 367.35.",
    ),
    (("kernel.module-stale",), "nvidia-modeset: Version mismatch: nvidia.ko(410.73) nvidia-modeset.ko(390.87)"),
    (
        ("kernel.headers-missing",),
        "Error! Your kernel headers for kernel 6.1.0-56-amd64 cannot be found at /lib/modules/6.1.0-56-amd64/build",
    ),
    (
        ("kernel.headers-missing",),
        "dkms: autoinstall for kernel 6.1.0-56-amd64 was skipped since the kernel headers for this kernel do not "
        "seem to be installed.",
    ),
    (
        ("kernel.headers-missing",),
        "Module build for kernel 6.1.0-56-amd64 was skipped since the\nkernel headers for this kernel do not seem to "
        "be installed.",
    ),
    (FAILED_BUILD, "Error! Bad return status for module build on kernel: 6.12.95+deb12-amd64 (x86_64)"),
    (
        ("kernel.driver-too-old-for-kernel",),
        "nv-mm.h:262:8: error: 'struct vm_area_struct' has no member named '__vm_flags'",
    ),
    (
        ("kernel.driver-too-old-for-kernel",),
        "/build/kernel/nvidia/nv-dma.c:631:37: error: implicit declaration of function 'get_dma_ops' [-Werror]",
    ),
    (("kernel.module-build-failed",), "DKMS module 'nvidia-410.73' failed to build, please check /var/lib/dkms"),
    (("kernel.module-build-failed",), "Building DKMS module: nvidia ... FAILED!"),
    (
        ("kernel.compiler-mismatch",),
        "gcc: error: unrecognized command-line option \u2018-ftrivial-auto-var-init=zero\u2019",
    ),
    (
        ("kernel.compiler-mismatch",),
        "warning: the compiler differs from the one used to build the kernel\n"
        "  The kernel was built by: gcc-12 (Debian 12.2.0-14) 12.2.0\n  You are using:          gcc-11 (Debian) 11.3.0",
    ),
    (
        ("kernel.compiler-mismatch",),
        "make[2]: *** [/var/lib/dkms/nvidia/390.87/build/Kbuild:180: cc_version_check] Error 1",
    ),
    (SECURE_BOOT, "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"),
    (SECURE_BOOT, "modprobe: ERROR: could not insert 'nvidia': Required key not available"),
    (SECURE_BOOT, "Loading of unsigned module is rejected"),
    (SECURE_BOOT, "PKCS#7 signature not signed with a trusted key"),
    (("kernel.nouveau-bound",), "NVRM: GPU 0000:01:00.0 is already bound to nouveau."),
    (("kernel.nouveau-bound",), "NVRM: The NVIDIA probe routine was not called for 1 device(s)."),
    (
        ("kernel.nouveau-bound",),
        "NVRM: This can occur when another driver was loaded and\nNVRM: obtained ownership of the NVIDIA device(s).",
    ),
    (("kernel.nouveau-bound",), "\tKernel driver in use: nouveau"),
    (("kernel.nouveau-bound", "kernel.other-driver-bound"), "NVRM: GPU 0000:01:00.0 is already bound to NovaCore."),
    (("kernel.other-driver-bound",), "No devices were found"),
    (("kernel.other-driver-bound",), "\tKernel driver in use: vfio-pci"),
    (
        ("kernel.module-blacklisted",),
        "modprobe: ERROR: ../libkmod/libkmod-module.c:990 command_do() Error running install command '/bin/false' for "
        "module nvidia: retcode 1",
    ),
    (("kernel.module-blacklisted",), "Module nvidia is blacklisted"),
    (("kernel.module-not-loaded",), "modprobe: ERROR: could not insert 'nvidia': No such device"),
    (("kernel.module-not-loaded",), "NVRM: No NVIDIA GPU found."),
    (("kernel.module-not-loaded",), "nvidia: disagrees about version of symbol module_layout"),
    (
        UVM,
        "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
        "CUDA_VISIBLE_DEVICES after program start.",
    ),
    (UVM, "Check failed: error == cudaSuccess (30 vs. 0)  unknown error"),
    (("kernel.uvm-not-loaded",), "modprobe: ERROR: could not insert 'nvidia_331_uvm': Function not implemented"),
    (
        ("kernel.uvm-hmm",),
        "nvidia-uvm: uvm_pmm_gpu.c:3392 devmem_alloc_pagemap[pid:1] request_free_mem_region() err -34",
    ),
]

HARMLESS = [
    # Both compilers are the same one, under two names.
    (
        "kernel.compiler-mismatch",
        "The kernel was built by: gcc (GCC) 11.3.1\n  You are using:           cc (GCC) 11.3.1",
    ),
    ("kernel.compiler-mismatch", "cc1: note: unrecognized command-line option '-Wno-format-overflow' may have been"),
    ("kernel.module-not-loaded", "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"),
    ("kernel.module-not-loaded", "modprobe: ERROR: could not insert 'nvidia_uvm': Unknown symbol in module"),
    ("kernel.driver-too-old-for-kernel", "main.c:3:5: error: implicit declaration of function 'foo'"),
    ("kernel.nouveau-bound", "Kernel driver in use: nvidia"),
]


def explains(check: str, message: str) -> bool:
    return any(re.search(pattern, message) for pattern in registry.checks[check].symptoms)


@pytest.mark.parametrize(("checks", "message"), MESSAGES)
def test_a_message_leads_to_its_checks(checks: tuple[str, ...], message: str) -> None:
    assert [check for check in checks if not explains(check, message)] == []


@pytest.mark.parametrize(("check", "message"), HARMLESS)
def test_a_message_of_something_else_does_not(check: str, message: str) -> None:
    assert not explains(check, message)


KERNEL_CHECKS = sorted(check for check in registry.checks if check.startswith("kernel."))


@pytest.mark.parametrize("check", KERNEL_CHECKS)
def test_each_check_has_symptoms_or_says_why_not(check: str) -> None:
    assert bool(registry.checks[check].symptoms) != bool(registry.checks[check].no_symptom)


@pytest.mark.parametrize("check", KERNEL_CHECKS)
def test_each_explanation_has_its_headings(check: str) -> None:
    headings = re.findall(r"^(\w+): ", registry.checks[check].explanation, re.MULTILINE)
    assert headings == ["What", "Proof", "Repair", "Reference"]
