"""Which packages matter to the GPU: the one place that the list of packages, their history and the checks ask."""

# Kernels are "linux-*" on Debian and Ubuntu, "linux" on Arch, "kernel*" with Red Hat and SUSE.
_NAMES = ("linux", "dkms", "mokutil")
_PREFIXES = (
    "cuda",
    "libcuda",
    "libnvcuvid",
    "libnvoptix",
    "cudnn",
    "libcudnn",
    "nccl",
    "libnccl",
    "linux-",
    "kernel",
    "akmod",
    "shim",
    "datacenter-gpu-manager",
)

_KERNEL = ("linux-image", "linux-headers", "linux-modules", "linux-kbuild", "kernel", "initramfs-tools", "dracut")
_GPU = ("dkms", "akmod", "kmod-", "libcuda1", "libnvcuvid", "libnvoptix", "cuda-", "glx-", "update-glx")


def is_of_interest(name: str) -> bool:
    """NVIDIA's driver, CUDA and container packages, kernels and headers, module builders, gcc and Secure Boot tools."""
    return "nvidia" in name or name.startswith(_PREFIXES) or name in _NAMES or _is_compiler(name)


def concerns_gpu(name: str) -> bool:
    """Would the GPU be missed if this package were broken: the driver, a kernel, and what builds modules?"""
    return "nvidia" in name or name.startswith((*_KERNEL, *_GPU))


def globs() -> tuple[str, ...]:
    """The same as shell patterns, for SQLite and rpm. They catch a few packages more: gcc's companions."""
    return ("*nvidia*", *(f"{prefix}*" for prefix in _PREFIXES), *_NAMES, "gcc*")


def sql_condition(column: str) -> str:
    """The same as an SQL expression over a column of names; as wide as `globs`."""
    return "(" + " OR ".join(f"{column} GLOB '{pattern}'" for pattern in globs()) + ")"


def _is_compiler(name: str) -> bool:
    """gcc, gcc-12 (Debian), gcc13 (SUSE), but not gcc-12-base."""
    return name.startswith("gcc") and (name == "gcc" or name[3:].removeprefix("-").isdigit())
