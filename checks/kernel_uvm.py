"""The module nvidia_uvm, which CUDA needs and nvidia-smi does not: is it there, and does it answer?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, check, hint, likely, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.devices import DeviceNodes
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.loaded import LoadedDriver, LoadedModules
from gpudoctor.facts.system import Confinement

from ._known import known
from ._scope import own_driver
from ._surroundings import AFTER_SLEEP, ASLEEP, TROUBLE

# Codes of cuInit with a cause of their own: stub library, device busy, fabric not ready, version mismatches.
OTHER_CAUSES = (34, 46, 802, 803, 804)
UNKNOWN_ERROR = 999  # CUDA_ERROR_UNKNOWN

TORCH_SYMPTOM = r"CUDA unknown error - this may be due to an incorrectly set up environment"
# Taken out and put back, which mends one that a sleep has left in disorder.
UNLOADED = r"\b(rmmod|modprobe (-r|--remove)) nvidia[-_]uvm"
OLD_SYMPTOM = r"error == cudaSuccess \(30 vs\. 0\)|cudaGetDeviceCount returned 30"


@check(
    "kernel.uvm-not-loaded",
    severity=Severity.ERROR,
    after=["driver.library-mismatch"],
    symptoms=[
        likely(OLD_SYMPTOM, without=ASLEEP),
        sure(r"Kernel module nvidia[-_]uvm is not loaded"),
        r"could not insert 'nvidia\w*_uvm'",
        r"could not find module by name='nvidia\w*_uvm'",
        likely(r"Could not load UVM kernel module", without=r"Module nvidia\S* not found"),
        r"modprobe: FATAL: Error inserting nvidia\w*_uvm",
        hint(r"Module nvidia[-_\w]*[-_]uvm not found"),
        hint(TORCH_SYMPTOM),
        likely(r"\b(until|unless|after|once)\b.{0,20}modprobe nvidia[-_]uvm", without=UNLOADED),
        likely(r"modprobe nvidia[-_]uvm.{0,15}\b(fix|help|solve|work)", without=UNLOADED),
        hint(r"CUDA_ERROR_UNKNOWN"),
        likely(r"\b(no|without|lacks?|missing) (the )?(module )?nvidia[-_]uvm\b", beside=r"CUDA|cuInit"),
        r"could not load kernel module nvidia_uvm",
    ],
)
def uvm_not_loaded(
    confinement: Confinement, driver: LoadedDriver, modules: LoadedModules, cuda: Cuda | Unavailable
) -> Iterator[Finding]:
    """The module nvidia_uvm is not loaded, and CUDA cannot start without it.

    What: CUDA needs a second module, nvidia_uvm, besides the driver's own; nvidia-smi does not.
    It is loaded on demand by the helper nvidia-modprobe. Where that helper is missing or may not
    run as root, CUDA fails with an unknown error while nvidia-smi looks healthy.

    Proof: nvidia is in /proc/modules, nvidia_uvm is not, and cuInit fails.

    Repair: `modprobe nvidia_uvm` (or `nvidia-modprobe -c 0 -u`, which also makes the device
    nodes); install nvidia-modprobe so that it happens by itself.

    Reference: https://github.com/pytorch/pytorch/issues/49081
    """
    own_driver(confinement)
    if not driver.loaded or "nvidia_uvm" in modules.users or modules.of_tegra:
        return
    answer = known(cuda)
    if answer.return_code in (None, 0, *OTHER_CAUSES):
        return
    yield Finding(
        f"nvidia_uvm is not loaded beside the driver {driver.version}, so CUDA cannot start ({_cu_init(answer)}).",
        "nvidia_uvm",
        (Evidence("/proc/modules", "nvidia, no nvidia_uvm"), Evidence("cuInit", _cu_init(answer))),
        "Run `modprobe nvidia_uvm` (or `nvidia-modprobe -c 0 -u`); install nvidia-modprobe, which does it on demand.",
    )


@check(
    "kernel.uvm-hmm",
    severity=Severity.ERROR,
    symptoms=[
        sure(r"devmem_alloc_pagemap"),
        sure(r"nvidia-uvm: .*pagemap"),
        r"request_free_mem_region\(\) err",
    ],
)
def uvm_hmm(
    confinement: Confinement, driver: LoadedDriver, cuda: Cuda | Unavailable, log: KernelLog | Unavailable
) -> Iterator[Finding]:
    """The module nvidia_uvm found no room in the address space for its memory map, so CUDA cannot start.

    What: for Linux's heterogeneous memory management (HMM) nvidia_uvm reserves a range of
    physical addresses as large as the GPU's memory. On some machines none is free, mostly because
    of where the kernel placed itself, and cuInit fails.

    Proof: the line of nvidia-uvm with devmem_alloc_pagemap or request_free_mem_region() in the
    kernel's log.

    Repair: switch that feature of the module off (`options nvidia_uvm uvm_disable_hmm=1` in
    modprobe.d) and load it again. The boot parameter nokaslr helps too, but weakens the kernel's
    protection.

    Reference: CUDA release notes, known issues
    (https://docs.nvidia.com/cuda/cuda-toolkit-release-notes)
    """
    own_driver(confinement)
    if not driver.loaded or (isinstance(cuda, Cuda) and cuda.return_code in (None, 0, *OTHER_CAUSES)):
        return
    said = known(log)
    lines = said.matching("devmem_alloc_pagemap", "request_free_mem_region")
    if not lines:
        return
    answer = (Evidence("cuInit", _cu_init(cuda)),) if isinstance(cuda, Cuda) and cuda.return_code is not None else ()
    yield Finding(
        "nvidia_uvm found no free address range for the GPU's memory (HMM), so CUDA cannot start.",
        "nvidia_uvm",
        (Evidence(said.source, lines[-1]), *answer),
        "Write `options nvidia_uvm uvm_disable_hmm=1` into /etc/modprobe.d/nvidia-uvm-hmm.conf; then, with no CUDA "
        "program running, `modprobe -r nvidia_uvm` and `modprobe nvidia_uvm`, or reboot.",
    )


@check(
    "kernel.uvm-wedged",
    severity=Severity.ERROR,
    after=[
        "kernel.uvm-not-loaded",
        "kernel.uvm-hmm",
        "devices.uvm-node-missing",
        "devices.permission-denied",
        "driver.library-mismatch",
    ],
    symptoms=[
        sure(TORCH_SYMPTOM, beside=ASLEEP),
        sure(r"CUDA_ERROR_UNKNOWN|cuInit.{0,40}\b999\b|init failure: 999\b|UNKNOWN_ERROR\(99\)", beside=ASLEEP),
        likely(TORCH_SYMPTOM),
        likely(r"cuInit.{0,60}CUDA_ERROR_UNKNOWN"),
        r"cuInit\S* (failed|returned)\D*999",
        r"cuInit\(\d?\)\W{1,3}999\b",
        r"(library|cuda\w*) (init failure|failed to get device context):? 999",
        r"\bcuda[A-Z]\w+ err: 999\b",  # of ollama
        r"cuInit\(?\d?\)?:? .{0,30}unknown error(?! \(303)",
        r"(cuda runtime error \(30\)|error=30) : unknown error|cudaGetDevice\(\) failed\. Status: unknown error",
        r"failed to initialize CUDA: unknown error|initialization error: cuda error: unknown error",
        likely(OLD_SYMPTOM, beside=ASLEEP),
        likely(r"unspecified launch failure", beside=AFTER_SLEEP),
        hint(OLD_SYMPTOM),
        hint(r"CUDA_ERROR_UNKNOWN|cudaErrorUnknown|CUDA error: unknown error"),
        hint(r"cudaGetDeviceCount returned 3\b|cudaErrorInitializationError"),
        hint(AFTER_SLEEP, beside=TROUBLE),
        likely(UNLOADED, beside=r"\bfix|help|solve|work|unknown error"),
        likely(r"\b(error|code|returned|cuInit)\W{1,3}999\b", beside=r"cuda|cuInit"),
        r"Encountered a global fatal error: NV_ERR|uvm encountered global fatal error",
    ],
)
def uvm_wedged(
    confinement: Confinement,
    modules: LoadedModules,
    nodes: DeviceNodes,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
    log: KernelLog | Unavailable,
) -> Iterator[Finding]:
    """The module nvidia_uvm is stuck, mostly since the machine slept: CUDA fails while nvidia-smi looks healthy.

    What: after suspend and resume, nvidia_uvm may no longer answer. CUDA programs then stop with
    an unknown error (999) though nvidia-smi lists the GPU, all modules are loaded and all device
    nodes are right.

    Proof: cuInit returns 999, NVML answers for the GPUs, nvidia_uvm is loaded, and
    /dev/nvidia-uvm has the number that /proc/devices gives for it.

    Repair: end the CUDA programs and load nvidia_uvm anew; no reboot is needed, and the display
    is not touched. Against the next time: NVreg_PreserveVideoMemoryAllocations=1 and NVIDIA's
    suspend and resume services.

    Reference: https://github.com/ollama/ollama/issues/2934; NVIDIA driver README, chapter on
    power management
    (https://download.nvidia.com/XFree86/Linux-x86_64/550.163.01/README/powermanagement.html)
    """
    own_driver(confinement)
    node, major = nodes.get("/dev/nvidia-uvm"), nodes.majors.get("nvidia-uvm")
    if "nvidia_uvm" not in modules.users or node is None or node.device[0] != major:
        return
    answer = known(cuda)
    if answer.return_code != UNKNOWN_ERROR:
        return
    listed = known(nvml)
    answering = [gpu for gpu in listed.gpus if gpu.return_code == 0]
    if listed.return_code != 0 or not answering:
        return
    slept = log.matching("suspend", "PM: ") if isinstance(log, KernelLog) else ()
    yield Finding(
        f"CUDA fails with {_cu_init(answer)} though NVML answers for {len(answering)} GPU(s) and nvidia_uvm is loaded: "
        f"nvidia_uvm is stuck.",
        "nvidia_uvm",
        (
            Evidence("cuInit", _cu_init(answer)),
            Evidence("NVML", ", ".join(gpu.name or gpu.pci_address for gpu in answering)),
            Evidence(node.path, f"major {major}, as in /proc/devices"),
            *(Evidence(log.source, line) for line in slept[-1:] if isinstance(log, KernelLog)),
        ),
        "End the CUDA programs, then `modprobe -r nvidia_uvm` and `modprobe nvidia_uvm`; no reboot is needed.",
    )


def _cu_init(cuda: Cuda) -> str:
    return f"{cuda.return_code} {cuda.return_name}".strip()
