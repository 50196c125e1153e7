"""Which GPU frameworks each Python environment has, and for which CUDA they were built, from files alone."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gpudoctor.facts.cuda_release import CudaRelease, release_in, release_in_tag, tag_of
from gpudoctor.facts.distributions import Distribution
from gpudoctor.facts.python_environments import PythonEnvironment, PythonEnvironments
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class FrameworkBuild(NamedTuple):
    """One framework in one environment. "" and () for what nothing tells."""

    environment: PythonEnvironment
    framework: str  # "torch", "tensorflow", "jax", "onnxruntime", "cupy"
    distribution: Distribution  # for jax the CUDA plugin where there is one, else jaxlib
    version: str  # as the build says itself: "2.9.1+cu128"
    cuda: tuple[int, int] | None  # what it was built for: (12, 8); None: for no CUDA, or unknown (see problem)
    cuda_minor_known: bool  # False: only the major version counts, as for "cuda12" and "12.x"
    cudnn: str  # what it was built with, as it says: "9", "" unknown
    architectures: tuple[str, ...]  # "sm_90", "compute_90"
    architectures_source: str  # which table or file says so
    source: str  # the file that tells the CUDA version
    value: str  # what stands there
    problem: str = ""  # what could not be told, and why
    ptx_told: bool = True  # False: the architectures say nothing of PTX, and there may be some

    @property
    def words(self) -> str:
        """ "torch 2.9.1+cu128"."""
        return f"{self.distribution.name} {self.version or self.distribution.version}".rstrip()

    @property
    def cuda_words(self) -> str:
        """ "CUDA 12.8", "CUDA 12"; "" without."""
        if self.cuda is None:
            return ""
        return f"CUDA {self.cuda[0]}.{self.cuda[1]}" if self.cuda_minor_known else f"CUDA {self.cuda[0]}"


class FrameworkBuilds(NamedTuple):
    """All of all environments, those in use first."""

    builds: tuple[FrameworkBuild, ...]

    def of(self, framework: str) -> tuple[FrameworkBuild, ...]:
        return tuple(build for build in self.builds if build.framework == framework)

    def get(self, environment: PythonEnvironment, framework: str) -> FrameworkBuild | None:
        found = (b for b in self.builds if b.framework == framework and b.environment.prefix == environment.prefix)
        return next(found, None)


@fact
def framework_builds(host: Host, pythons: PythonEnvironments) -> FrameworkBuilds:
    """One reader a framework; what one of them cannot tell is a problem of that build alone."""
    return FrameworkBuilds(tuple(build for one in pythons.environments for build in _builds(host, one)))


def _builds(host: Host, environment: PythonEnvironment) -> Iterator[FrameworkBuild]:
    for framework, (names, read) in _READERS.items():
        for name in names:
            for found in environment.distributions:
                if found.name == name or (name.endswith("*") and found.name.startswith(name[:-1])):
                    value = f"{found.name} {found.version}"
                    nothing_known = FrameworkBuild(
                        environment, framework, found, found.version, None, True, "", (), "", found.folder, value
                    )
                    yield read(host, nothing_known)


def _torch(host: Host, build: FrameworkBuild) -> FrameworkBuild:
    path = f"{build.distribution.location}/torch/version.py"
    text, problem = _read(host, path)
    if not text:
        # Nothing but the version's local part is left to tell it.
        return build._replace(cuda=release_in_tag(build.version.partition("+")[2]), problem=problem)
    version, cuda_text = _string(text, "__version__") or build.version, _string(text, "cuda")
    cuda = _pair(cuda_text)
    if not cuda and not re.search(r"^cuda\b", text, re.MULTILINE):
        problem = f"{path} does not tell the CUDA version"
    value = f"__version__ = '{version}', cuda = {cuda_text or None!r}"
    build = build._replace(version=version, cuda=cuda, source=path, value=value, problem=problem)
    return _with_torch_architectures(host, build) if cuda else build


def _with_torch_architectures(host: Host, build: FrameworkBuild) -> FrameworkBuild:
    """From the table of published wheels; a build that is none of them is asked for its own code."""
    from gpudoctor.knowledge.torch import default_build, variants  # here for start-up: only where torch is installed

    path = f"{build.distribution.location}/torch/lib/libtorch_cuda.so"
    release, machine = build.version.partition("+")[0], build.environment.machine or "x86_64"
    local = build.version.partition("+")[2]
    if not local:
        # Published wheels name their variant: this one was compiled elsewhere (Spack, EasyBuild, Arch), for other GPUs.
        compiled = _with_own_architectures(host, build, path)
        if compiled.architectures:
            return compiled
    published = local in ("", tag_of(build.cuda)) and build.distribution.installer != "conda"
    own = build.environment.conda_package("pytorch", "libtorch", "pytorch-gpu") is not None
    if published and not own:
        default = default_build(release, machine)
        if default is not None and default.cuda == build.cuda:
            source = f"table of torch {release}"
            return build._replace(
                architectures=default.architectures, architectures_source=source, ptx_told=default.ptx_told
            )
        for variant in variants(release):
            if machine == "x86_64" and variant.cuda == build.cuda and variant.architectures:
                source = f"table of torch {release}, variant {tag_of(variant.cuda)}"
                return build._replace(architectures=variant.architectures, architectures_source=source)
    return _with_own_architectures(host, build, path)


def _with_own_architectures(host: Host, build: FrameworkBuild, path: str) -> FrameworkBuild:
    from gpudoctor.facts.fatbin import gpu_architectures  # here for start-up: only builds that no table knows

    try:
        found = gpu_architectures(host, path)
    except Unavailable as reason:
        return build._replace(architectures_source=str(reason))
    if found is None:
        return build
    # A few kernels for an architecture that the rest does not serve are no support of it.
    return build._replace(architectures=found.with_share(0.1), architectures_source=path)


def _tensorflow(host: Host, build: FrameworkBuild) -> FrameworkBuild:
    path = f"{build.distribution.location}/tensorflow/python/platform/build_info.py"
    text, problem = _read(host, path)
    if not text:
        return build._replace(problem=problem)
    cuda_text = _string(text, "cuda_version")
    capabilities = re.search(r"""['"]?cuda_compute_capabilities['"]?\s*[:=,]\s*\[([^\]]*)\]""", text)
    words = tuple(re.findall(r"(?:sm|compute)_[0-9]+[a-z]?", capabilities[1])) if capabilities else ()
    if words:
        from gpudoctor.knowledge.wheels import with_native_code  # here for start-up: only where TensorFlow is installed

        words = with_native_code(words)
    is_cuda = bool(re.search(r"""['"]?is_cuda_build['"]?\s*[:=,]\s*True""", text))
    return build._replace(
        cuda=_pair(cuda_text) if is_cuda else None,
        cudnn=_string(text, "cudnn_version"),
        architectures=words,
        architectures_source=path if words else "",
        source=path,
        value=f"is_cuda_build = {is_cuda}, cuda_version = '{cuda_text}'",
        problem=f"{path} does not tell the CUDA version" if is_cuda and not _pair(cuda_text) else "",
    )


def _jax(host: Host, build: FrameworkBuild) -> FrameworkBuild:
    """A CUDA plugin's name tells its CUDA; before there were plugins the local part of jaxlib's version did."""
    digits = build.distribution.name.removeprefix("jax-cuda").removesuffix("-plugin")
    if not digits.isdecimal():
        digits = build.version.partition("+cuda")[2].partition(".")[0]
    return build._replace(cuda=(int(digits), 0) if digits.isdecimal() else None, cuda_minor_known=False)


def _onnxruntime(host: Host, build: FrameworkBuild) -> FrameworkBuild:
    folder = f"{build.distribution.location}/onnxruntime/capi"
    text, problem = _read(host, f"{folder}/build_and_package_info.py")
    cuda_text = _string(text, "cuda_version")
    cuda = _pair(cuda_text)
    build = build._replace(
        cuda=cuda or _cuda_of_onnxruntime(build.distribution), cuda_minor_known=cuda is not None, problem=problem
    )
    if text:
        value = f"package_name = '{_string(text, 'package_name')}', cuda_version = '{cuda_text}'"
        build = build._replace(source=f"{folder}/build_and_package_info.py", value=value)
    try:
        provider = host.status(f"{folder}/libonnxruntime_providers_cuda.so")
    except Unavailable as reason:
        return build._replace(problem=problem or str(reason))
    return build if provider else build._replace(cuda=None)  # the files of the CPU package lie there


def _cuda_of_onnxruntime(found: Distribution) -> tuple[int, int] | None:
    from gpudoctor.knowledge.wheels import onnxruntime_build  # here for start-up

    if not found.name.endswith("-gpu"):
        return None
    build = onnxruntime_build(found.release)
    return (build.cuda or (build.cuda_major, 0)) if build else None


def _cupy(host: Host, build: FrameworkBuild) -> FrameworkBuild:
    """The package's name tells its CUDA. One without is compiled here, or conda's: it takes what CUDA is installed."""
    path = f"{build.distribution.location}/cupy/.data/_wheel.json"
    text, problem = _read(host, path)
    match = re.search(r'"cuda"\s*:\s*"([0-9]+)\.([0-9]+|x)"', text)
    digits = build.distribution.name.removeprefix("cupy").removeprefix("-cuda")
    if digits.endswith("x") and digits[:-1].isdecimal():
        cuda, known = (int(digits[:-1]), 0), False
    elif digits.isdecimal() and len(digits) > 2:
        cuda, known = (int(digits[:-1]), int(digits[-1])), True
    elif match:
        cuda, known = (int(match[1]), int(match[2]) if match[2].isdecimal() else 0), match[2].isdecimal()
    else:
        return build._replace(cuda_minor_known=False, problem=problem if digits or text else "")
    build = build._replace(cuda=cuda, cuda_minor_known=known, problem=problem)
    return build._replace(source=path, value=match[0]) if match else build


Reader = Callable[[Host, FrameworkBuild], FrameworkBuild]

# By framework: its distributions (a name that ends in "*" stands for all that begin so), and who reads it.
_READERS: dict[str, tuple[tuple[str, ...], Reader]] = {
    "torch": (("torch",), _torch),
    "tensorflow": (("tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-gpu", "tf-nightly-cpu"), _tensorflow),
    "jax": (("jaxlib", "jax-cuda11-plugin", "jax-cuda12-plugin", "jax-cuda13-plugin"), _jax),
    "onnxruntime": (("onnxruntime", "onnxruntime-gpu", "ort-nightly", "ort-nightly-gpu"), _onnxruntime),
    "cupy": (("cupy", "cupy-cuda*"), _cupy),
}


def _read(host: Host, path: str) -> tuple[str, str]:
    """The text, and why there is none."""
    try:
        text = host.read(path, first=65536)
    except Unavailable as reason:
        return "", str(reason)
    return ("", f"{path} is not there") if text is None else (text, "")


def _string(text: str, name: str) -> str:
    """What `cuda: Optional[str] = '12.8'` or `('cuda_version', '12.5.1')` sets, "" for None."""
    set_to = rf"""(?:(?:^|['"]|\s){name}['"]?\s*(?::[^=\n'"]*=|[:=])|\(\s*['"]{name}['"]\s*,)"""
    match = re.search(rf"""{set_to}\s*['"]([^'"\n]*)['"]""", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _pair(text: str) -> CudaRelease | None:
    """(12, 8) of "12.8" and "12.8.1"; (11, 0) of "11"; None of anything else."""
    return release_in(text) or ((int(text), 0) if text.isdecimal() and len(text) == 2 else None)
