"""The newest boards, whose NVLink switches are reached over InfiniBand: what the kernel and a daemon need for that."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Unavailable, check, sure
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.fabric import Nvlink5Board
from gpudoctor.facts.loaded import LoadedModules
from gpudoctor.facts.system import Confinement, OperatingSystem

from ._fabric import signs_of_links


@check(
    "fabric.nvlink5-modules-missing",
    symptoms=[
        sure(r"Kernel module \"?(ib_umad|mlx5_ib)\"? has not been loaded, fabric manager cannot start"),
        sure(r"nvlsm/sbin/nvlsm\"? does not exist"),
        sure(r"NVLink Subnet Manager\"? \(nvlsm\) package"),
        sure(r"umad_init: can't read ABI version from /sys/class/infiniband_mad"),
    ],
)
def nvlink5_modules_missing(
    confinement: Confinement,
    board: Nvlink5Board | Unavailable,
    modules: LoadedModules,
    cuda: Cuda | Unavailable,
    nvml: Nvml | Unavailable,
    system: OperatingSystem | Unavailable,
) -> Iterator[Finding]:
    """What leads to the NVLink switches of an HGX B200 or B300 is missing: InfiniBand modules, or nvlsm.

    What: On these boards the switches are no PCI devices of NVIDIA's. Two ConnectX adapters lead to them, the kernel
    needs mlx5_ib and ib_umad to show those as InfiniBand devices, and beside the fabric manager runs a subnet manager,
    nvlsm, from a package of its own. Kernels for clouds come without the modules. The fabric manager then takes the
    machine for one without switches ("Nothing to do") or does not start; nvidia-smi looks healthy, and every CUDA
    program fails with error 802.

    Proof: Error 802, or a fabric state that is not completed; and /proc/modules without mlx5_ib or ib_umad, or no
    /opt/nvidia/nvlsm/sbin/nvlsm.

    Repair: On Ubuntu install linux-modules-extra of the running kernel; load mlx5_ib and ib_umad, now and at each
    start; install nvlsm; restart nvidia-fabricmanager.

    Reference: https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html ("Systems using fourth
    generation NVSwitches"); https://github.com/NVIDIA/gpu-operator/issues/2781
    """
    if confinement.wsl:
        raise NotApplicable("WSL: such boards are not driven by Windows")
    signs = signs_of_links(cuda, nvml)
    if not signs:
        return  # whatever is missing, nobody waits for it
    if isinstance(board, Unavailable):
        raise board
    if not board.name:
        return
    missing = tuple(name for name in board.modules if name not in modules.users)
    # A container has its own files, and the host's kernel.
    lacks_manager = not board.subnet_manager_there and not confinement.container
    if not missing and not lacks_manager:
        return
    parts = [f"the kernel module{'s' * (len(missing) > 1)} {' and '.join(missing)}"] * bool(missing)
    parts += ["the subnet manager nvlsm"] * lacks_manager
    evidence = [Evidence("/proc/modules", f"no {', no '.join(missing)}")] if missing else []
    evidence += [Evidence(board.subnet_manager, "not there")] if lacks_manager else []
    absent = [name for name in missing if name not in board.loadable]
    ubuntu = isinstance(system, OperatingSystem) and system.id == "ubuntu"
    todo = []
    if absent and not confinement.container:
        todo.append("install linux-modules-extra of this kernel" if ubuntu else f"install {' and '.join(absent)}")
    todo += [f"load {' and '.join(missing)} (modprobe, and /etc/modules-load.d)"] * bool(missing)
    todo += ["install nvlsm"] * lacks_manager
    text = f"{', '.join(todo)}; then restart nvidia-fabricmanager."
    yield Finding(
        f"The NVLink switches of this {board.name} cannot be set up without {' and '.join(parts)}.",
        board.name,
        (*evidence, *signs[:3]),
        f"On the host: {text}" if confinement.container else f"{text[0].upper()}{text[1:]}",
    )
