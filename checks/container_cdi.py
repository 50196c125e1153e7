"""The specification (CDI) from which containers get the driver's files, against the driver that is here."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, sure
from gpudoctor.facts.cdi import CdiSpecification, CdiSpecifications
from gpudoctor.facts.libraries import DriverLibraries
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement

from ._container_host import HostDriver, host_driver, on_the_host


@check(
    "container.cdi-stale",
    severity=Severity.WARNING,
    after=["driver.not-installed", "driver.library-missing", "container.toolkit-missing"],
    symptoms=[
        sure(r"unresolvable CDI devices"),
        sure(r"failed to (inject|stat) CDI (device|host device)"),
        sure(r"conflicting CDI (device|spec)|conflicting device \S+ in (spec )?\S*cdi"),
        r"CDI device injection failed",
        r"(mount|stat)\S* .*lib\w*(cuda|nvidia)[\w-]*\.so\.\d{3}\.\d+\S* ?.*no such file or directory",
        hint(r"failed to discover GPU vendor from CDI"),
        r"stat nvidia\.com/gpu=\S+: no such file or directory",
        r"could not resolve CDI devices|Refreshing the CDI registry generated errors",
        r"nvidia-cdi-hook\S*: (executable file not found|no such file)",
        r"failed to (load|read|parse) CDI spec",
        r"while adding custom device \W{0,2}nvidia\.com/gpu",
        r"(stat|mounting) \W?\S*/nvidia-(persistenced|smi|debugdump|cuda-mps)\S*: no such file",
        r"(mounting|fulfil mount request:? open|stat) \W?\S*libnvidia-[\w-]+\.so\S* ?.{0,200}no such file",
        r"mount\w* .{0,40}/firmware/nvidia/\S+\.bin.{0,200}no such file",
    ],
)
def cdi_stale(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries | Unavailable,
    cdi: CdiSpecifications,
) -> Iterator[Finding | Undecided]:
    """The specification of the GPUs for containers (CDI) names files or devices that are not there any more.

    What: Podman, and every engine with CDI, gives a container the files that a specification in /etc/cdi or /run/cdi
    lists, by name and version. After a change of the driver or of the GPUs those are gone, and no container
    with a GPU starts. Of the same device in both folders the one in /run counts; two files of one folder
    with the same device make it unusable.

    Proof: The version of libcuda that a file names against the driver's; the files and device nodes that it names and
    that are not there.

    Repair: `nvidia-ctk cdi generate --output=FILE`, or restart nvidia-cdi-refresh; delete a stale second file; switch
    on nvidia-cdi-refresh, which writes it anew after each change of the driver.

    Reference: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html;
    https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
    """
    on_the_host(confinement)
    driver = host_driver(loaded, libraries)
    fresh = {
        (one.kind, device)
        for one in cdi.specifications
        if one.folder == "/run/cdi" and not _stale(one, driver, cdi)
        for device in one.devices
    }
    for one in cdi.specifications:
        reason = _stale(one, driver, cdi)
        named = {(one.kind, device) for device in one.devices}
        if reason:
            yield _stale_finding(one, reason, driver, cdi, shadowed=bool(named) and named <= fresh)
    yield from _twice(cdi)
    for reason in cdi.unread:
        yield Undecided(reason, matters=False)


def _stale(one: CdiSpecification, driver: HostDriver, cdi: CdiSpecifications) -> str:
    """What is wrong with it, as a clause, "" nothing."""
    if one.version and one.version != driver.version:
        # What is written anew after each change of the driver is behind only if it fits the loaded one neither.
        if not (cdi.renewed and one.folder == "/run/cdi" and one.version == (driver.loaded or one.version)):
            return f"it lists files of driver {one.version}, the driver is {driver.version}"
        return ""
    if one.missing:
        more = f" and {len(one.missing) - 1} more" if len(one.missing) > 1 else ""
        return f"it lists {one.missing[0]}{more}, not there"
    return ""


def _stale_finding(
    one: CdiSpecification, reason: str, driver: HostDriver, cdi: CdiSpecifications, *, shadowed: bool
) -> Finding:
    if shadowed:
        what, remedy = "is behind, and a newer one in /run/cdi counts in its place", f"Delete it: `sudo rm {one.path}`."
    else:
        what = "is behind, and containers will not get the GPU"
        remedy = f"Write it anew: `sudo nvidia-ctk cdi generate --output={one.path}`."
        if cdi.renewed and one.folder == "/run/cdi":
            remedy = "Write it anew: `sudo systemctl restart nvidia-cdi-refresh.service`."
    return Finding(
        f"The specification of the GPUs for containers {what}: {reason}.",
        one.path,
        (
            *([Evidence(one.path, f"libcuda.so.{one.version}")] if one.version else []),
            *(Evidence(path, "not there") for path in one.missing[:3]),
            driver.proof,
        ),
        remedy,
        Severity.INFO if shadowed else None,
    )


def _twice(cdi: CdiSpecifications) -> Iterator[Finding]:
    """The same device in two files of one folder."""
    seen: dict[tuple[str, str, str], CdiSpecification] = {}
    told: set[str] = set()
    for one in cdi.specifications:
        for device in one.devices:
            first = seen.setdefault((one.folder, one.kind, device), one)
            if first is not one and one.path not in told:
                told.add(one.path)
                yield Finding(
                    f"{first.path} and {one.path} both describe {one.kind}={device}: engines then give it to no "
                    "container.",
                    one.path,
                    (Evidence(first.path, f"{one.kind}={device}"), Evidence(one.path, f"{one.kind}={device}")),
                    f"Delete the one that nothing writes anew, likely the older: {first.path} or {one.path}.",
                )
