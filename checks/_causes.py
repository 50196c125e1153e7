"""Findings that explain a silent driver. What lies behind them in turn is found by following their own causes."""

# Only what is wrong now belongs here: a warning about the next boot explains no failure of today.
WHY_NVML_FAILS = (
    "pci.no-gpu",
    "driver.library-mismatch",
    "kernel.module-stale",
    "driver.not-installed",
    "driver.library-missing",
    "kernel.module-missing",
    "kernel.secure-boot-blocks-module",
    "kernel.mok-enrolment-pending",
    "kernel.nouveau-bound",
    "kernel.module-blacklisted",
    "driver.open-module-required",
    "driver.open-module-unsupported",
    "driver.gpu-needs-legacy-branch",
    "driver.gpu-newer-than-driver",
    "driver.gsp-firmware-missing",
    "pci.bar-unassigned",
    "health.fallen-off-bus",
    "driver.rm-init-failed",
    "kernel.module-not-loaded",
    "devices.permission-denied",
    "devices.nodes-missing",
    "kernel.other-driver-bound",
)
