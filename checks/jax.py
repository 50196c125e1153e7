"""Has JAX a CUDA plugin, only one, of the version of its jaxlib, and with libraries that are new enough?"""

import re
from collections.abc import Iterator

from gpudoctor import Evidence, Finding, Severity, Unavailable, Undecided, check, hint, likely, sure
from gpudoctor.facts.cuda_level import ComputeGpus, DriverCuda
from gpudoctor.facts.deep import DeepTrials
from gpudoctor.facts.framework_libraries import FrameworkLibraries, LibraryUse
from gpudoctor.facts.frameworks import FrameworkBuild, FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.python.jax_versions import jax_plugins, members, mismatches, numbers_of
from gpudoctor.python.library_wheels import version_of_file, wheel_piece
from gpudoctor.python.pep440 import parse_version
from gpudoctor.python.pep508 import normalised, parse_requirement
from gpudoctor.python.reinstallations import jax, jax_for_cpu, needs_of

from ._environments import computed, on_gpus, place, severity, undecided
from ._reinstall import remedy

_BY_HAND = "Install jax, jaxlib and the CUDA plugin of one version: `pip install 'jax[cuda12]'`."
_NONE_FITS = "No CUDA plugin for that jax is known to run here: see `gpudoctor recommend jax`."


@check(
    "jax.cpu-only",
    symptoms=[
        sure(
            r"An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed",
            without=r"jax-cuda\d+-plugin",
        ),
        hint(r"An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed"),
        sure(r"Unable to initialize backend '(cuda|gpu)': module 'jaxlib\.xla_extension' has no attribute"),
        r"No GPU/TPU found, falling back to CPU",
        r"Unable to initialize backend '(cuda|gpu)': NOT_FOUND",
        r"no platforms that are instances of (gpu|cuda) are present",
        r"Backend '(cuda|gpu)' is not in the list of known backends",
        r"Unknown backend:? '?(gpu|cuda)\b",
        hint(r"\bjax\.(local_)?devices\(\)\)?.{0,20}\[(TFRT_)?Cpu(Device|_)"),
        hint(r"\bjax\.devices\(\) .{0,20}only .{0,10}Cpu(Device|_)"),
        hint(r"jax\S*default_backend\(\)\)?\W*(returns |is |gives )*cpu\b"),
    ],
)
def cpu_only(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding]:
    """JAX is installed without a CUDA plugin.

    What: `pip install jax` brings jaxlib for the CPU. The GPU is reached through a plugin, jax-cuda12-plugin or
    jax-cuda13-plugin, that comes with the extra cuda12 or cuda13.

    Proof: jaxlib has metadata in the environment, and no plugin has; nor is it a build with CUDA of conda's.

    Repair: the same version with its extra: `pip install 'jax[cuda13]'` (driver 580 or later, compute capability 7.5 or
    later) or `'jax[cuda12]'` (driver 525 or later).

    Reference: https://docs.jax.dev/en/latest/installation.html
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    for build in builds.of("jax"):
        where = build.environment
        if build.distribution.name != "jaxlib" or build.cuda or jax_plugins(where) or computed(trials, build):
            continue
        package = where.conda_package("jaxlib")
        if package and "cuda" in package.build:
            continue
        yield Finding(
            f"jaxlib {build.version} {place(where)} has no CUDA plugin beside it, so JAX computes on the CPU.",
            f"jaxlib {build.version}",
            (Evidence(build.source, build.value),),
            remedy(where, jax(where, needs), _NONE_FITS),
            severity(where, Severity.ERROR, Severity.INFO),
            where.prefix,
            "jax",
        )


@check(
    "jax.plugin-mismatch",
    symptoms=[
        sure(r"JAX plugin \S+ version \S+ is installed, but (it is )?not compatible with (the installed )?jaxlib"),
        likely(r"jax_cuda\d+_plugin version \S+ .{0,30}not compatible with the installed jaxlib"),
        sure(r"Mismatched PJRT plugin PJRT API version"),
        sure(r"jaxlib version \S+ is newer than and incompatible with jax version"),
        sure(r"jaxlib is version \S+, but this version of jax requires version"),
        sure(r"This version of jax requires jaxlib version"),
        sure(r"jax-cuda1\d-(plugin|pjrt) \S+ requires jax\S+, but you have"),
        r"Unexpected PJRT_\w+ size: expected",
        r"Jax plugin configuration error: Plugin module \S+ could not be loaded",
        likely(r"cannot import name '\w+' from '(jax\._src|jaxlib|jax_cuda\d+_plugin)", beside=r"jax_plugins"),
        likely(r"module 'jaxlib\S*' has no attribute '(?!GpuAllocatorConfig)", beside=r"jax_plugins"),
        hint(r"cannot import name '\w+' from '(jaxlib|jax_cuda\d+_plugin)"),
        hint(r"module 'jaxlib\S*' has no attribute '(?!GpuAllocatorConfig)"),
        hint(r"cuda_plugin_extension is not found"),
        hint(r"Jax plugin configuration error: Exception when calling jax_plugins\.xla_cuda"),
    ],
)
def plugin_mismatch(
    pythons: PythonEnvironments, gpus: ComputeGpus | Unavailable, driver: DriverCuda | Unavailable
) -> Iterator[Finding | Undecided]:
    """jax, jaxlib and the CUDA plugin are not of one version.

    What: jax accepts a range of jaxlib versions, jaxlib only the plugin of its very own version, and the plugin only
    its own pjrt. Otherwise the plugin is not used, and JAX computes on the CPU; old releases crash.

    Proof: the versions in the metadata, against what the metadata of jax and of the plugin ask for and what jaxlib
    compares when it starts.

    Repair: install all of one version: `pip install 'jax[cuda12]==VERSION'`.

    Reference: https://docs.jax.dev/en/latest/installation.html; jaxlib/plugin_support.py;
    https://github.com/jax-ml/jax/issues/22416
    """
    needs = needs_of(driver, gpus)
    for where in pythons.environments:
        jaxlib, present = where.get("jaxlib"), members(where)
        if jaxlib is None:
            continue
        reasons, plugins = list(mismatches(where)), jax_plugins(where)
        untold = next((one for one in present if parse_version(one.version) is None), None)
        if reasons:
            first = next(iter(plugins), jaxlib)
            yield Finding(
                f"JAX {place(where)} does not fit together: {reasons[0]}.",
                f"{first.name} {first.version}",
                tuple(Evidence(one.folder, f"{one.name} {one.version}") for one in present),
                remedy(where, jax(where, needs) if plugins else jax_for_cpu(where), _BY_HAND),
                severity(where, Severity.ERROR),
                where.prefix,
                "jax",
            )
        elif untold:
            yield undecided(where, untold.problem or f"{untold.folder} tells no version")


@check(
    "jax.both-plugins",
    severity=Severity.WARNING,
    symptoms=[
        sure(r"PJRT_Api already exists for device type (cuda|gpu)"),
    ],
)
def both_plugins(
    pythons: PythonEnvironments, gpus: ComputeGpus | Unavailable, driver: DriverCuda | Unavailable
) -> Iterator[Finding]:
    """The CUDA plugins of JAX for two CUDA majors lie in one environment.

    What: each of them registers itself as the one for CUDA, and only the first can. With them come NVIDIA's wheels for
    both majors, of which cuDNN's and NCCL's write the same files.

    Proof: jax-cuda12-plugin and jax-cuda13-plugin both have metadata in the environment.

    Repair: uninstall the one that does not fit the driver, and what came with it; then install JAX anew with the
    other's extra.

    Reference: https://docs.jax.dev/en/latest/installation.html
    """
    needs = needs_of(driver, gpus)
    for where in pythons.environments:
        plugins = jax_plugins(where)
        if len(plugins) > 1:
            names = " and ".join(f"{one.name} {one.version}" for one in plugins)
            yield Finding(
                f"{names} are both {place(where)}, and JAX can use only one of them.",
                names,
                tuple(Evidence(one.folder, f"{one.name} {one.version}") for one in plugins),
                remedy(where, jax(where, needs), "Uninstall the plugin that does not fit the driver, and its pjrt."),
                severity(where, Severity.WARNING),
                where.prefix,
                "jax",
            )


@check(
    "jax.outdated-library",
    after=[
        "cuda.driver-too-old",
        *("jax.plugin-mismatch", "jax.both-plugins", "python.nvidia-wheels-collide", "env.library-path-shadows"),
        *("cuda.library-missing", "python.cuda-major-mismatch", "cudnn.version-mismatch", "cudnn.library-missing"),
    ],
    symptoms=[
        sure(r"Outdated \S+ installation found"),
        sure(r"Found (CUDA|cu\w+) version \S+, but JAX was built against version"),
        r"Unable to load (cuDNN|cuSPARSE|cuBLAS|cuFFT|cuSOLVER|cuPTI|CUDA)\. Is it installed",
        r"Unable to use CUDA because of the following issues with CUDA components",
        r"cuDNN 9\.10\.0 had a binary backward-compatibility issue",
        likely(r"Couldn't find a suitable version of ptxas", without=r"relying on driver|tensorflow"),
        hint(r"operation gpu(solver|sparse|blas)\w*Create\(.{0,20}\) failed"),
        r"versions_helpers\.cc:\d+: operation cu(sparse|blas|fft|solver|dnn|pti|da)\w*\(.*\) failed",
        likely(r"Loaded runtime CuDNN library: \S+ but source was compiled with", beside=r"\bjax"),
        hint(r"Jax plugin configuration error: Exception when calling jax_plugins\.xla_cuda"),
        hint(r"DNN library (initialization failed|is not found)", beside=r"\bjax"),
    ],
)
def outdated_library(
    gpus: ComputeGpus,
    builds: FrameworkBuilds,
    libraries: FrameworkLibraries,
    driver: DriverCuda | Unavailable,
    trials: DeepTrials | Unavailable,
) -> Iterator[Finding | Undecided]:
    """JAX's CUDA plugin would load a CUDA library that is older than it accepts, or finds none.

    What: the plugin compares cuDNN, cuSPARSE and others with those that it was built with, and refuses to work with
    older ones. They come from another framework's pins, from LD_LIBRARY_PATH, or from the system.

    Proof: the least versions in the plugin's metadata (extra with-cuda), against the version of the file that the
    loader would take.

    Repair: install JAX with its extra, which brings its libraries; take foreign folders out of LD_LIBRARY_PATH. Do not
    set JAX_SKIP_CUDA_CONSTRAINTS_CHECK: the results may be wrong then.

    Reference: https://docs.jax.dev/en/latest/installation.html; https://github.com/jax-ml/jax/issues/22416
    """
    on_gpus(gpus)
    needs = needs_of(driver, gpus)
    problems = dict(libraries.problems)
    for build in builds.of("jax"):
        where = build.environment
        if build.distribution.name == "jaxlib" or build.cuda is None or computed(trials, build):
            continue
        uses = libraries.of(build)
        missing = [use for use in uses if use.found is None]
        if where.prefix in problems and (missing or not uses):
            yield undecided(where, problems[where.prefix])
            continue
        cure = remedy(where, jax(where, needs), _BY_HAND)
        outdated = list(_outdated(build, uses))
        if missing:
            named = missing[0].soname + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            summary = f"{build.words} {place(where)} finds no {named}, so JAX computes on the CPU."
            evidence = tuple(Evidence(use.wanted_by, f"loads {use.soname}: not found") for use in missing[:4])
        elif outdated:
            use, version, least, folder = outdated[0]
            summary = f"{build.words} {place(where)} asks for {use.soname} {least} or later, and would load {version}."
            evidence = (
                *(
                    Evidence(use.found.path, f"{version}, by {use.found.by}")
                    for use, version, *_ in outdated
                    if use.found
                ),
                Evidence(folder, f"asks for {least}"),
            )
            if use.found and use.found.by == "LD_LIBRARY_PATH":
                folder = use.found.path.rpartition("/")[0]
                cure = f"Take {folder} out of LD_LIBRARY_PATH; `unset LD_LIBRARY_PATH` tries it."
        else:
            continue
        yield Finding(summary, build.words, evidence, cure, severity(where, Severity.ERROR), where.prefix)


def _outdated(build: FrameworkBuild, uses: tuple[LibraryUse, ...]) -> Iterator[tuple[LibraryUse, str, str, str]]:
    """Each library that is too old, its version, the least one, and what asks for that.

    Compared are major and minor: NVIDIA keeps patch releases exchangeable, and JAX itself looks no closer.
    """
    least = dict(_least_versions(build))
    for use in uses:
        wanted = least.get(wheel_piece(use.soname))
        if use.found is None or wanted is None:
            continue
        version = version_of_file(build.environment, use.soname, use.found)
        if version and numbers_of(version)[:2] < numbers_of(wanted)[:2]:
            yield use, version, wanted, build.distribution.folder


def _least_versions(build: FrameworkBuild) -> Iterator[tuple[str, str]]:
    """The piece of each wheel's name and the least version that the plugin's extra asks for: ("cudnn", "9.8")."""
    asked = {}
    for line in build.distribution.requires:
        requirement = parse_requirement(line)
        if requirement and "with-cuda" in requirement.marker:
            asked[normalised(requirement.name)] = requirement.specifiers
    if not asked:
        from gpudoctor.knowledge.wheels import jax_plugin  # here for start-up: only where the metadata is damaged

        known = jax_plugin(build.distribution.name, build.distribution.release)
        asked = dict(known.cuda_requires) if known else {}
    for name, specifiers in asked.items():
        bound = re.search(r">=\s*([0-9][0-9.]*)", specifiers)
        if bound:
            yield re.sub(r"-cu[0-9]+$", "", name).removeprefix("nvidia-"), bound[1]
