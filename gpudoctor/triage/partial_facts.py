"""The facts that a text states, in the types that checks read; all others are not known."""

from collections.abc import Mapping
from typing import NoReturn

from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.cuda_level import ComputeGpu, ComputeGpus, DriverCuda
from gpudoctor.facts.cuda_release import release_in
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.module_files import ModuleFile, ModuleFiles
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.system import FAMILIES, Confinement, Kernel, OperatingSystem
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.host import Unavailable
from gpudoctor.knowledge import is_data_centre
from gpudoctor.knowledge.cuda import branch_of, highest_cuda
from gpudoctor.knowledge.gpu_names import capability_of, gpus_called
from gpudoctor.registry import Facts
from gpudoctor.snapshot import SnapshotHost
from gpudoctor.triage.partial_python import python_facts
from gpudoctor.triage.shown import NOT_SAID, THE_TEXT, Shown, Stated, line_of


class PasteHost(SnapshotHost):
    """A machine of which nothing can be read: whatever a fact asks, the text does not say."""

    source = "text"

    def __init__(self) -> None:
        super().__init__({})

    def _answer(self, key: str) -> NoReturn:
        raise Unavailable(NOT_SAID)


_FAMILY_OF_MANAGER = {"dpkg": "debian", "rpm": "fedora", "pacman": "arch"}


def facts_of(shown: Shown) -> Facts:
    """What a text states, as facts of a machine."""
    known: dict[type, object] = {}
    system = shown.system
    known[Confinement] = Confinement(system.container, system.wsl)
    family = FAMILIES.get(system.id, _FAMILY_OF_MANAGER.get(shown.packages.manager, "") if shown.packages else "")
    known[OperatingSystem] = OperatingSystem(system.id, system.version, system.name, family)
    if system.kernel:
        known[Kernel] = Kernel(system.kernel, True, None, ())
    if system.kernel_lines:
        known[KernelLog] = KernelLog(system.kernel_lines, THE_TEXT)
    if shown.packages:
        known[Packages] = shown.packages
    if system.variables:
        values = {name: stated.value for name, stated in system.variables.items()}
        known[Environment] = Environment(values, ())
    known.update(_of_driver(shown))
    known.update(_of_halves(shown))
    known[ComputeGpus] = _gpus(shown)
    host = PasteHost()
    known.update(python_facts(host, shown))
    return Facts(host, known)


def _of_driver(shown: Shown) -> Mapping[type, object]:
    found: dict[type, object] = {}
    driver = shown.driver
    if driver.nvml is not None:
        found[Nvml] = driver.nvml
    module = driver.module or driver.version
    if module:
        found[LoadedDriver] = LoadedDriver(module.value, "", line_of(module), module.words, {})
    if shown.python.torch_sees_gpu:
        # Whatever a table says: this driver serves this torch.
        found[DriverCuda] = Unavailable("torch sees the GPU, so the driver is new enough for it")
    elif driver.version is None and driver.cuda:
        found.update(_by_level(driver.cuda))
    elif driver.version:
        level = highest_cuda(int(driver.version.value.partition(".")[0]))
        stated = release_in(driver.cuda.value) if driver.cuda else None
        cuda = stated or (level.cuda if level else None)
        found[DriverCuda] = DriverCuda(
            driver.version.value, cuda, line_of(driver.version), bool(stated) or level is None or level.certain
        )
    return found


def _by_level(cuda: Stated) -> Mapping[type, object]:
    """torch names the CUDA that the driver serves, and not the driver: a branch stands for a driver of it."""
    level = release_in(cuda.value)
    branch = branch_of(level) if level else None
    return {DriverCuda: DriverCuda(str(branch), level, line_of(cuda))} if branch else {}


def _of_halves(shown: Shown) -> Mapping[type, object]:
    """Where the text tells module, module file and libraries apart: which of the three is the odd one."""
    driver = shown.driver
    if not (driver.module and driver.library and driver.file):
        return {}
    if driver.file.value.partition(".")[0] != driver.library.value.partition(".")[0]:
        return {}  # libraries of another branch are left of another installation: the module is not what is stale
    kernel = shown.system.kernel or NOT_SAID
    file = ModuleFile(kernel, line_of(driver.file), "", driver.file.value, "", kernel, "", 0.0)
    library = DriverLibrary("libcuda.so.1", "", line_of(driver.library), driver.library.value, THE_TEXT, 0.0)
    return {
        Kernel: Kernel(kernel, True, None, ()),
        ModuleFiles: ModuleFiles((file,)),
        DriverLibraries: DriverLibraries((library,)),
        DriverVersions: DriverVersions(
            driver.module.value, file.version, file.path, library.version, library.real_path, "", ""
        ),
    }


def _gpus(shown: Shown) -> ComputeGpus | Unavailable:
    if shown.gpus:
        return ComputeGpus(tuple(_gpu(stated) for stated in shown.gpus))
    if shown.no_gpu:
        return ComputeGpus(())
    if not shown.speaks_of_gpu and shown.driver.version is None:
        return Unavailable(f"{NOT_SAID} which GPU there is")
    # Who speaks of CUDA means to use a GPU, even where no line names it.
    return ComputeGpus((ComputeGpu("", "", None, "not named", None),))


def _gpu(stated: Stated) -> ComputeGpu:
    rows = gpus_called(stated.value)
    kinds = {is_data_centre(row.name) for row in rows}
    return ComputeGpu(
        "", stated.value, capability_of(stated.value), line_of(stated), kinds.pop() if len(kinds) == 1 else None
    )
