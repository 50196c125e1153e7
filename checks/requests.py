"""What the user asked for with `fix --to`: is it there? Nothing is said where nothing was asked for."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotAsked, Severity, Unavailable, check
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.cudnn import CudnnLibraries
from gpudoctor.facts.packages import Packages
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.requested_runfile import RequestedRunfile
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.toolkits import CudaToolkits, Toolkit
from gpudoctor.facts.versions import DriverVersions
from gpudoctor.facts.wanted import Request, Wanted

_NO_SYMPTOM = "it is a wish, and nothing is broken where it is not fulfilled"
_LINK = "/usr/local/cuda"


@check("request.driver", no_symptom=_NO_SYMPTOM)
def driver_asked_for(
    wanted: Wanted,
    versions: DriverVersions | Unavailable,
    gpus: PciGpus | Unavailable,
    confinement: Confinement | Unavailable,
    packages: Packages | Unavailable,
    archive: RequestedRunfile | Unavailable,
) -> Iterator[Finding]:
    """The driver that was asked for is not the one that is here.

    What: `gpudoctor fix --to driver=580` (or a whole version) asks for a driver. This finding stays until its
    libraries, its module on the disk and the module in memory are of that branch.

    Proof: The versions of the four parts of a driver, and the GPU table: a driver that would leave a GPU of this
    machine alone is not installed, and neither is a .run file that is not what was asked for.

    Repair: `gpudoctor fix --to driver=580` plans it: headers first, all packages from one repository in one
    transaction, module, initramfs, restart.

    Reference: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/
    """
    request = _request(wanted, "driver")
    from gpudoctor.request_limits import driver_obstacle  # here for start-up: only requests ask

    obstacle = driver_obstacle(request, gpus, confinement, packages, archive)
    if obstacle is not None:
        yield _refused(request, f"{obstacle.reason} {obstacle.advice}")
        return
    if isinstance(versions, Unavailable):
        raise versions
    parts = {
        "libraries": (versions.user_space_path, versions.user_space),
        "module on the disk": (versions.on_disk_path, versions.on_disk),
        "module that boots next": ("the kernel that boots next", versions.next_boot),
        "loaded module": ("/proc/driver/nvidia/version", versions.loaded),
    }
    wrong = {part: told for part, told in parts.items() if told[1] and not request.is_met_by(told[1])}
    missing = [part for part in ("libraries", "module on the disk") if not parts[part][1]]
    if not wrong and not missing:
        return
    if len(missing) == 2 and not wrong:
        here = "no driver is here"
    elif wrong.keys() == {"loaded module"} and not missing:
        here = f"it is installed, but {versions.loaded} stays loaded until a restart"
    else:
        different = dict.fromkeys(version for _, version in wrong.values())
        here = f"{' and '.join(different)} is here" if wrong else f"the {missing[0]} is missing"
    yield Finding(
        f"Driver {request.version} is asked for, and {here}.",
        request.text,
        tuple(Evidence(source or part, f"{part}: {version}") for part, (source, version) in wrong.items()),
        f"`gpudoctor fix --to {request.text}` installs it.",
        Severity.WARNING,
    )


@check("request.cuda", no_symptom=_NO_SYMPTOM)
def toolkit_asked_for(
    wanted: Wanted,
    toolkits: CudaToolkits | Unavailable,
    gpus: ComputeGpus | Unavailable,
    cards: PciGpus | Unavailable,
    driver: DriverCuda | Unavailable,
    confinement: Confinement | Unavailable,
    archive: RequestedRunfile | Unavailable,
) -> Iterator[Finding]:
    """The CUDA toolkit that was asked for is not the one that is here.

    What: `gpudoctor fix --to cuda=12.8` asks for a toolkit: nvcc with headers and libraries, for compiling. Frameworks
    bring their own CUDA libraries, and need none. This finding stays until the toolkit is there, /usr/local/cuda leads
    to it, and the driver runs what it builds.

    Proof: The toolkits in /usr/local, /opt and /usr, the link, and the least driver of that CUDA release.

    Repair: `gpudoctor fix --to cuda=12.8` plans it: a newer driver first if this CUDA needs one, the toolkit's
    packages without a driver, the link, and nvcc as proof.

    Reference: https://docs.nvidia.com/cuda/cuda-installation-guide-linux/
    """
    request = _request(wanted, "cuda")
    from gpudoctor.compatibility import Fit, driver_runs  # here for start-up: only requests ask
    from gpudoctor.knowledge.cuda import minimum_driver, version_pair
    from gpudoctor.request_limits import cuda_obstacle

    obstacle = cuda_obstacle(request, wanted, gpus, cards, driver, confinement, archive)
    if obstacle is not None:
        yield _refused(request, f"{obstacle.reason} {obstacle.advice}".strip())
        return
    if isinstance(toolkits, Unavailable):
        raise toolkits
    there = next((one for one in toolkits.toolkits if _is_toolkit(one, request)), None)
    release = version_pair(request.version)
    minimum = minimum_driver(release)
    if there is None:
        others = [one for one in toolkits.toolkits if one.nvcc and one.version]
        here = f"{', '.join(one.version for one in others)} is here" if others else "no toolkit is here"
        evidence = tuple(Evidence(one.version_source, one.version) for one in others[:4])
    elif there.origin == "local" and (toolkits.default_link is None or toolkits.default_link.toolkit != there):
        leads = toolkits.default_link.real_folder or "nothing" if toolkits.default_link else "nothing"
        here = f"it is in {there.folder}, but {_LINK} leads to {leads}"
        evidence = (Evidence(_LINK, leads),)
    elif isinstance(driver, DriverCuda) and driver_runs(driver.driver, release) is Fit.TOO_OLD and minimum:
        here = f"it is here, but {driver.words} is too old for it: it needs {minimum.version} or newer"
        evidence = (Evidence(driver.source, driver.driver),)
    else:
        return
    yield Finding(
        f"CUDA {request.version} is asked for, and {here}.",
        request.text,
        evidence,
        f"`gpudoctor fix --to {request.text}` installs it.",
        Severity.WARNING,
    )


def _is_toolkit(toolkit: Toolkit, request: Request) -> bool:
    """One of the machine's own, with a compiler: those of conda and of wheels belong to their environments."""
    return bool(toolkit.nvcc) and toolkit.origin in ("local", "distribution") and request.is_met_by(toolkit.version)


@check("request.cudnn", no_symptom=_NO_SYMPTOM)
def cudnn_asked_for(
    wanted: Wanted,
    cudnn: CudnnLibraries | Unavailable,
    toolkits: CudaToolkits | Unavailable,
    driver: DriverCuda | Unavailable,
    gpus: ComputeGpus | Unavailable,
) -> Iterator[Finding]:
    """The cuDNN that was asked for is not the one that programs of this machine find.

    What: `gpudoctor fix --to cudnn=9` asks for cuDNN as the system's packages bring it, for programs that are compiled
    here. Frameworks in Python environments take the cuDNN of their own wheels, and none of this one.

    Proof: The libcudnn.so that the loader finds, and the version in its name.

    Repair: `gpudoctor fix --to cudnn=9` plans it, for the CUDA of the toolkit that is here or is asked for too.

    Reference: https://docs.nvidia.com/deeplearning/cudnn/installation/latest/linux.html
    """
    request = _request(wanted, "cudnn")
    from gpudoctor.knowledge.cuda import version_numbers  # here for start-up: only requests ask
    from gpudoctor.request_limits import cuda_major_for_cudnn, cudnn_obstacle, cudnn_serves_gpu

    major = cuda_major_for_cudnn(wanted, toolkits, driver)
    obstacle = cudnn_obstacle(request, gpus, major)
    if obstacle is not None:
        yield _refused(request, f"{obstacle.reason} {obstacle.advice}")
        return
    if isinstance(cudnn, Unavailable):
        raise cudnn
    known = [gpu for gpu in gpus.distinct if gpu.capability] if isinstance(gpus, ComputeGpus) else []
    found = [one for one in cudnn.taken if one.version]
    for one in found:
        version = version_numbers(one.version)[:3]
        serves = not known or any(cudnn_serves_gpu(version, gpu.capability, major) for gpu in known)
        if request.is_met_by(one.version) and serves:
            return
    here = f"{', '.join(one.version for one in found)} is here" if found else "programs find none here"
    yield Finding(
        f"cuDNN {request.version} is asked for, and {here}.",
        request.text,
        tuple(Evidence(one.path, one.version) for one in found),
        f"`gpudoctor fix --to {request.text}` installs it.",
        Severity.WARNING,
    )


def _request(wanted: Wanted, kind: str) -> Request:
    """Raises NotAsked where nobody asked for that kind."""
    request = wanted.get(kind)
    if request is None:
        raise NotAsked("nothing was asked for with --to")
    return request


def _refused(request: Request, words: str) -> Finding:
    return Finding(f"{request.words[0].upper()}{request.words[1:]} is not installed. {words}", request.text, (), words)
