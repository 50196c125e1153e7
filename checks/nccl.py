"""Does each framework get the NCCL that it was built with, and can NCCL start with the settings that are made here?"""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.framework_cudnn import FrameworkNccl, FrameworkNccls, minor
from gpudoctor.facts.nccl_settings import NcclSetting, NcclSettings, Networks, chosen
from gpudoctor.python.wheel_pins import pin_of

from ._cudnn import from_library_path, installing, led_by
from ._environments import computed, place, severity, undecided
from ._loader_words import LIBRARY_PATH, take_out

_SHARED_MEMORY = r"/dev/shm|No space left on device|shared memory"


@check(
    "nccl.shadowed",
    after=["python.nvidia-wheels-collide", "env.library-path-shadows"],
    symptoms=[
        sure(r"NCCL library is (not backwards compatible|too old)\. This application was compiled with NCCL"),
        sure(r"libtorch_cuda\S*\.so: undefined symbol: nccl[A-Z]\w+"),
        r"undefined symbol: nccl[A-Z]\w+",
        r"symbol nccl\w+,? version \S+ not defined in file libnccl",
        hint(r"NCCL\b.*\bmismatched? (NCCL )?versions?\b|\bNCCL version mismatch"),
        r"application was compiled with too old version of NCCL",
    ],
)
def shadowed(
    nccls: FrameworkNccls, environment: Environment | Unavailable, trials: DeepTrials | Unavailable
) -> Iterator[Finding | Undecided]:
    """A framework would load an NCCL that is older than the one it was built with.

    What: libnccl.so.2 keeps its name through all versions, and newer ones have more functions. Where
    the loader takes an older one, from LD_LIBRARY_PATH, the system or conda, `import torch` ends with
    "undefined symbol: ncclCommRegister". A library that another package of the same program loaded
    before has the same effect, and cannot be seen in files.

    Proof: The file that the loader takes for libnccl.so.2, its version (the file's name, nccl.h beside
    it), and the version of the wheel that the framework's METADATA asks for.

    Repair: Take the folder out of LD_LIBRARY_PATH, or install the nvidia-nccl wheel that the framework
    asks for. Another order of imports hides it only.

    Reference: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/index.html; ld.so(8)
    """
    for build, reason in nccls.problems:
        yield undecided(build.environment, reason)
    for one in nccls.nccls:
        pin = pin_of(one.build, "nvidia-nccl")
        if pin is None or not pin.least or computed(trials, one.build) or _own(one):
            continue
        path, by = (one.use.found.path, one.use.found.by) if one.use.found else ("", "")
        if not one.version:
            yield undecided(one.build.environment, f"nothing tells the version of {path}")
        elif minor(one.version) < minor(pin.least):
            folders = from_library_path([one.use.found] if one.use.found else [])
            yield Finding(
                f"{one.build.words} {place(one.build.environment)} was built with NCCL {pin.least} and would load the "
                f"older {one.version} from {path.rpartition('/')[0]}{led_by(one.use.found) if one.use.found else ''}.",
                one.build.words,
                (
                    Evidence(path, f"by {by}"),
                    Evidence(one.source, one.version),
                    Evidence(f"{one.build.distribution.folder}/METADATA", pin.requirement),
                ),
                take_out(LIBRARY_PATH, folders, environment, Unavailable("not asked"))
                if folders
                else installing(one.build.environment, one.build.framework, pin.requirement),
                severity(one.build.environment, Severity.ERROR),
                one.build.environment.prefix,
                one.build.framework,
            )


def _own(one: FrameworkNccl) -> bool:
    """Is it the environment's own wheel? Its version is judged where pins are."""
    path = one.use.found.path if one.use.found else ""
    return any(path.startswith(f"{folder}/nvidia/") for folder in one.build.environment.site_packages)


@check(
    "nccl.init-failed",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"Bootstrap : no (usable )?socket interface found"),
        likely(
            r"ncclSystemError: System call \(e\.g\. socket, malloc\) or external library call failed",
            without=_SHARED_MEMORY,
        ),
        likely(r"NCCL error in: .*unhandled system error", without=_SHARED_MEMORY),
        likely(r"unhandled (cuda|system) error.*NCCL", without=_SHARED_MEMORY),
        r"NCCL WARN .*(network \S+ not found|Failed to initialize (any )?NET plugin)",
        r"NCCL WARN .*(Connect to \S+ failed|Connection (refused|timed out|closed)|No route to host)",
        r"NCCL WARN .*(ibv_\w+ failed|NET/IB : Got completion)",
        r"NCCL WARN .*(peer access is not supported|invalid argument)",
        r"ncclInternalError: Internal check failed",
        r"NCCL error: remote process exited or there was a network error",
        r"ncclRemoteError",
        likely(r"ncclUnhandledCudaError", without=r"Cuda failure .*(out of memory|insufficient|no kernel image)"),
        hint(r"Watchdog caught collective operation timeout"),
        hint(r"NCCL WARN Missing \"iommu=pt\""),
        r"NET/(Socket|IB) ?: no (usable listening |IP )?interface found",
        r"NCCL WARN .*(NET/IB: Got completion|async fatal event|\[Proxy Service \d+\] Failed)",
        r"NCCL WARN .*(No transport found for rank|Could not find any local path from gpu)",
        hint(r"NCCL WARN .*communicator encountered a fatal error"),
    ],
)
def init_failed(
    settings: NcclSettings, networks: Networks | Unavailable, gpus: ComputeGpus
) -> Iterator[Finding | Undecided]:
    """NCCL is told to use a network that this machine does not have, or is kept from its fast ways.

    What: Several GPUs talk through NCCL, which takes its settings from variables and from nccl.conf.
    An interface that is not there makes every start of it fail ("no socket interface found"); settings
    that were copied from another machine are the usual reason. NCCL_P2P_DISABLE and its like make it
    slower without a word. Most other failures of NCCL leave no trace in files: run the program with
    NCCL_DEBUG=INFO, and see container.shared-memory-small.

    Proof: The variables of this process, ~/.nccl.conf and /etc/nccl.conf, against the interfaces in
    /sys/class/net and the devices in /sys/class/infiniband.

    Repair: Unset the variable, or name an interface of this machine. Without any setting NCCL chooses well.

    Reference: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html
    """
    if not gpus.gpus:
        raise NotApplicable("no NVIDIA GPU here")
    for reason in settings.unread:
        yield Undecided(reason, matters=False)
    several = Severity.ERROR if len(gpus.gpus) > 1 else Severity.WARNING
    wanted = settings.get("NCCL_SOCKET_IFNAME")
    network = settings.get("NCCL_NET")
    adapters = settings.get("NCCL_IB_HCA")
    if isinstance(networks, Unavailable):
        if wanted or network or adapters:
            yield Undecided(str(networks), matters=False)
    else:
        if wanted and wanted.value and not chosen(wanted.value, networks.interfaces):
            there = ", ".join(networks.interfaces) or "none"
            yield Finding(
                f"NCCL cannot start: {wanted.name} is {wanted.value!r}, and no network interface here is called so "
                f"({there}).",
                wanted.name,
                (Evidence(wanted.source, f"{wanted.name}={wanted.value}"), Evidence("/sys/class/net", there)),
                f"{_unset(wanted)}, or name one of these instead.",
                several,
            )
        if network and network.value.upper() == "IB" and not networks.fabrics:
            yield Finding(
                "NCCL cannot start: NCCL_NET asks for InfiniBand, and no such device is here.",
                network.name,
                (Evidence(network.source, f"NCCL_NET={network.value}"), Evidence("/sys/class/infiniband", "no device")),
                f"{_unset(network)}.",
                several,
            )
        elif adapters and adapters.value and networks.fabrics and not chosen(adapters.value, networks.fabrics):
            there = ", ".join(networks.fabrics)
            yield Finding(
                f"NCCL leaves the InfiniBand devices here unused: NCCL_IB_HCA is {adapters.value!r}, they are {there}.",
                adapters.name,
                (
                    Evidence(adapters.source, f"NCCL_IB_HCA={adapters.value}"),
                    Evidence("/sys/class/infiniband", there),
                ),
                f"{_unset(adapters)}, or name one of these instead.",
                Severity.WARNING,
            )
    if len(gpus.gpus) > 1:
        yield from _slower(settings)


# What each switch keeps NCCL from.
_SWITCHES = {
    "NCCL_P2P_DISABLE": "direct copies between GPUs",
    "NCCL_SHM_DISABLE": "shared memory between the processes of one machine",
    "NCCL_IB_DISABLE": "InfiniBand and RoCE",
}


def _slower(settings: NcclSettings) -> Iterator[Finding]:
    for name, use in _SWITCHES.items():
        setting = settings.get(name)
        if setting and setting.value.strip() not in ("", "0"):
            yield Finding(
                f"{name}={setting.value} keeps NCCL from {use}: it works, but slower.",
                name,
                (Evidence(setting.source, f"{name}={setting.value}"),),
                f"If nothing here needs it any more: {_unset(setting)[0].lower()}{_unset(setting)[1:]}.",
                Severity.INFO,
            )


def _unset(setting: NcclSetting) -> str:
    if setting.source == "environment":
        return f"`unset {setting.name}`"
    path, _, line = setting.source.rpartition(":")
    return f"Take {setting.name} out of {path} (line {line})"
