"""Does what a container's image brings fit the host's driver? Its own driver libraries, and the CUDA it asks for."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, likely, sure
from gpudoctor.container_words import of_images
from gpudoctor.facts.answers import Cuda, Nvml
from gpudoctor.facts.container import ContainerMounts
from gpudoctor.facts.environment import Environment
from gpudoctor.facts.libraries import DriverLibraries, DriverLibrary
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.system import Confinement
from gpudoctor.facts.versions import DriverVersions

from ._container import host_has_driver, inside, variable, works
from ._surroundings import CONTAINER, HOST_WORKS

_REBUILD = (
    "Rebuild the image without driver packages (nvidia-utils-*, libnvidia-*, libcuda1): the host's libraries are "
)
_REBUILD += "handed in when the container is started with its GPU."


@check(
    "container.driver-baked-in",
    symptoms=[
        likely(r"Driver/library version mismatch|API mismatch: the client", beside=HOST_WORKS),
        likely(r"\bRUN .{0,120}\binstall\b.{0,80} (nvidia-(driver|utils)-\d|libnvidia-compute-\d|cuda-drivers)"),
        likely(r"Mismatching nvidia kernel module loaded", beside=CONTAINER),
        sure(r"unable to make backup link of '\S*lib(cuda|nvidia)\S*' .{0,80}cross-device link"),
        sure(r"mount error: file creation failed: .{1,200}\.so\S*: file exists"),
        sure(r"mount error: file creation failed: \S*/nvidia-[\w-]+: file exists"),
    ],
)
def driver_baked_in(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    libraries: DriverLibraries,
    versions: DriverVersions | Unavailable,
    mounts: ContainerMounts,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The image brings driver libraries of its own, and programs take them instead of the host's.

    What: libcuda and libnvidia-ml must be of the version of the kernel module, which is the host's. So they are
    handed into a container when it starts. An image in which a driver package was installed (nvidia-utils,
    libnvidia-compute, often as a dependency of something else) brings others, which fit one host by luck.

    Proof: The file behind libcuda.so.1 or libnvidia-ml.so.1 is of another version than the loaded driver, and
    /proc/self/mountinfo shows that it was not mounted from the host, or a package of the image owns it.

    Repair: Rebuild the image without driver packages. Do not install another driver version in it: the next
    update of the host breaks it again. CUDA's cuda-compat packages are something else, and may stay.

    Reference: https://github.com/NVIDIA/nvidia-container-toolkit (libraries are mounted from the host);
    https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/
    """
    inside(confinement)
    if not host_has_driver(loaded) or not of_images(confinement.container):
        return
    assert isinstance(loaded, LoadedDriver)
    packaged = isinstance(versions, DriverVersions) and versions.packaged not in ("", loaded.version)
    package = f"{versions.packaged_name} {versions.packaged}" if isinstance(versions, DriverVersions) else ""
    if works(nvml, cuda):
        if packaged:
            yield Finding(
                f"The image brings a driver package of its own ({package}) beside the libraries of the host's driver "
                f"{loaded.version}: it works, until programs find the wrong ones first.",
                "",
                (Evidence("packages", package), Evidence(loaded.source, loaded.version)),
                _REBUILD,
                Severity.INFO,
            )
        return
    taken = [libraries.get("libcuda.so.1"), libraries.get("libnvidia-ml.so.1")]
    foreign = [one for one in taken if one and _is_foreign(one, loaded) and not mounts.brought(one.path, one.real_path)]
    if not foreign:
        return
    if not mounts.told and not packaged:
        yield Undecided(f"whether {foreign[0].real_path} was mounted from the host is not known", matters=False)
        return
    owner = f" (package {package})" if packaged else ""
    yield Finding(
        f"The image brings driver libraries {foreign[0].version} of its own{owner}, and the host's driver is "
        f"{loaded.version}.",
        foreign[0].real_path,
        (
            *(Evidence(one.real_path, one.version) for one in foreign),
            Evidence(loaded.source, loaded.version),
            *([Evidence("packages", package)] if packaged else []),
            *([Evidence("/proc/self/mountinfo", "not mounted from the host")] if mounts.told else []),
            *([Evidence("NVML", f"{nvml.return_code} {nvml.return_name}")] if isinstance(nvml, Nvml) else []),
        ),
        _REBUILD,
    )


def _is_foreign(library: DriverLibrary, loaded: LoadedDriver) -> bool:
    # CUDA's forward compatibility package puts a newer libcuda beside an older driver on purpose.
    return library.version not in ("", loaded.version) and "/compat" not in library.real_path


@check(
    "container.requires-newer-driver",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"requirement error: unsatisfied condition: (?:cuda|driver|brand|arch)"),
        sure(r"nvidia-container-cli: requirement error"),
        sure(r"unsupported CUDA version: driver (?!0\.0)[\d.]+ < image"),  # nvidia-docker 1
        sure(r"please update your driver to a newer version, or use an earlier cuda container"),
        sure(r"This container was built for NVIDIA Driver Release \S+ or later, but"),
        sure(r"was detected and compatibility mode is UNAVAILABLE"),
        sure(r"unsatisfied condition: (cuda|driver|brand|arch)\b"),
    ],
)
def requires_newer_driver(
    confinement: Confinement,
    loaded: LoadedDriver | Unavailable,
    environment: Environment,
    nvml: Nvml | Unavailable,
    cuda: Cuda | Unavailable,
) -> Iterator[Finding | Undecided]:
    """The image was made for a newer CUDA than the host's driver serves.

    What: Images say in NVIDIA_REQUIRE_CUDA which CUDA their programs need. NVIDIA's runtime refuses to start a
    container whose host does not have it; CDI and others do not look, and then its programs fail.
    Within one CUDA major they mostly run on older drivers all the same, but for code that the driver
    itself must compile.

    Proof: NVIDIA_REQUIRE_CUDA of this process against the CUDA of libcuda, which counts the forward compatibility
    libraries of the image in, and against the loaded driver's version.

    Repair: Take an image for an older CUDA, or update the driver of the host. Set NVIDIA_DISABLE_REQUIRE=1 only
    where both are of the same CUDA major.

    Reference: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html;
    https://docs.nvidia.com/deploy/cuda-compatibility/
    """
    from gpudoctor.compatibility import Fit, driver_level, driver_runs  # here for start-up: only containers ask
    from gpudoctor.image_requirements import is_met, requirements, wanted_cuda

    inside(confinement)
    if environment.unknown:
        yield Undecided("the variables of this process could not be read", matters=False)
        return
    asked = requirements(environment.variables)
    if not host_has_driver(loaded) or not asked:
        return
    assert isinstance(loaded, LoadedDriver)
    level = driver_level(loaded.version)
    observed = isinstance(cuda, Cuda) and cuda.return_code == 0 and cuda.driver_version is not None
    if isinstance(cuda, Cuda) and observed and cuda.driver_version:
        served, source = (cuda.driver_version // 1000, cuda.driver_version % 1000 // 10), "libcuda"
    elif isinstance(nvml, Nvml) and nvml.cuda_version:
        served, source = (nvml.cuda_version // 1000, nvml.cuda_version % 1000 // 10), "NVML"
    elif level and level.certain:
        served, source = level.cuda, "the table of driver branches"
    else:
        yield Undecided(f"which CUDA driver {loaded.version} serves is not known", matters=False)
        return
    known = {"cuda": f"{served[0]}.{served[1]}", "driver": loaded.version}
    for name, requirement in asked.items():
        wanted, met = wanted_cuda(requirement), is_met(requirement, known)
        if wanted is None or served >= wanted or met:
            continue
        # Branches of the driver are let in for the image's forward compatibility libraries; libcuda would show them.
        if met is None and not observed:
            yield Undecided(f"whether {name} is met depends on what nobody could tell", matters=False)
            continue
        same_major = driver_runs(loaded.version, wanted) is Fit.RUNS
        waived = (variable(environment, "NVIDIA_DISABLE_REQUIRE") or "").lower() in ("1", "true", "yes", "on")
        if same_major and waived:
            continue
        words = f"CUDA {wanted[0]}.{wanted[1]}"
        yield Finding(
            f"The image asks for {words}, and the host's driver {loaded.version} serves CUDA {known['cuda']}"
            + (": within one major most programs run all the same." if same_major else ": its programs cannot start."),
            name,
            (
                Evidence(name, requirement if len(requirement) < 80 else f"{requirement[:76]}..."),
                Evidence(source, f"CUDA {known['cuda']}"),
                Evidence(loaded.source, loaded.version),
            ),
            f"Take an image for CUDA {known['cuda']} or older, or update the driver of the host to one for {words}.",
            Severity.INFO if same_major else None,
        )
