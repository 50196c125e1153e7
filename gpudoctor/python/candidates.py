"""The builds of each framework that somebody could install, out of the tables of `knowledge`, newest release first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from gpudoctor.knowledge import companions, torch, wheels
from gpudoctor.knowledge.cuda import newest_cuda
from gpudoctor.python.pep440 import parse_version, satisfies

Minor = tuple[int, int]


class Candidate(NamedTuple):
    """One build, and the requirements that bring it."""

    version: str  # "2.9.1": of the framework
    label: str  # "torch 2.9.1 with CUDA 12.6"
    requirements: tuple[str, ...]
    cuda: tuple[int, int]  # (0, 0): built for the CPU
    newest: tuple[int, int]  # the newest CUDA that it may bring; the same where it brings one
    pythons: tuple[Minor, ...] = ()  # () not told
    architectures: tuple[str, ...] = ()  # () not told
    ptx_told: bool = True
    index_url: str = ""  # "" for PyPI
    default: bool = False  # what a plain installation brings
    verified: bool = True
    requires: Mapping[str, str] = {}  # what it asks for, NVIDIA's wheels among it
    least_capability: tuple[int, int] = (0, 0)
    obstacle: str = ""  # why it cannot be installed at all
    notes: tuple[str, ...] = ()  # sentences that belong to the answer


def torch_candidates(version: str, machine: str, installed: Mapping[str, str]) -> Iterator[Candidate]:
    """The wheel of PyPI and the variants beside it; with the variants come torchvision and torchaudio.

    `installed`: the members of torch's family in the environment, which must change with it.
    """
    public, _, local = version.partition("+")
    build = torch.default_build(public, machine)
    tags = build or torch.default_build(public)
    pythons = _tagged(tags.pythons) if tags else ()
    if build:
        name = f"torch {public} with CUDA {_dotted(build.cuda)}" if build.cuda else f"torch {public} for the CPU"
        yield Candidate(
            public,
            f"{name}, from PyPI",
            (f"torch=={public}", *_family(public, "", installed)),
            build.cuda or (0, 0),
            build.cuda or (0, 0),
            pythons,
            build.architectures,
            build.ptx_told,
            default=True,
            requires=build.requires,
            notes=_belonging(public, installed),
            obstacle="" if build.cuda else f"the wheel that PyPI has for {machine} is built for the CPU",
        )
    for variant in torch.variants(public) if machine == "x86_64" else ():
        suffix = f"cu{variant.cuda[0]}{variant.cuda[1]}"
        if variant.default and local != suffix:
            continue
        told = variant.pythons is not None
        yield Candidate(
            public,
            f"torch {public} with CUDA {_dotted(variant.cuda)}",
            (f"torch=={public}+{suffix}", *_family(public, suffix, installed)),
            variant.cuda,
            variant.cuda,
            _between(*variant.pythons) if variant.pythons else pythons,
            variant.architectures,
            index_url=variant.index_url,
            verified=variant.verified,
            notes=(
                *(() if told else (f"Its Pythons are taken to be those of the wheel on PyPI for torch {public}.",)),
                *_belonging(public, installed),
            ),
            obstacle="" if variant.architectures else "for which GPUs it was built is not known",
        )


def _belonging(torch_release: str, installed: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for who will want torchvision or torchaudio later, from the same index."""
    known = companions.companions_of(torch_release).items()
    words = [
        f"{name} {version}"
        for name, version in known
        if name not in installed and companions.made_for(name, version, torch_release)
    ]
    return (f"{' and '.join(words)} belong{'s' if len(words) == 1 else ''} to it.",) if words else ()


def _family(torch_release: str, suffix: str, installed: Mapping[str, str]) -> tuple[str, ...]:
    """torchvision and torchaudio where they are installed: what was made for this torch, in the same variant.

    The release that is there stays if it was made for it: its variant changes all the same.
    """
    words = []
    for name in companions.FAMILY:
        if name in installed:
            known = (installed[name], companions.companions_of(torch_release).get(name, ""))
            fitting = next((one for one in known if one and companions.made_for(name, one, torch_release)), "")
            words.append(f"{name}=={fitting}{f'+{suffix}' if suffix else ''}" if fitting else name)
    return tuple(words)


def tensorflow_candidates(version: str, machine: str, installed: Mapping[str, str]) -> Iterator[Candidate]:
    build = wheels.tensorflow_build(version)
    if build is None:
        return
    extra = "[and-cuda]" if build.cuda_requires else ""
    cudnn = build.tested_cudnn or str(build.cudnn_major)
    alone = f"It brings no CUDA libraries: CUDA {_dotted(build.cuda)} and cuDNN {cudnn} must be installed beside it."
    yield Candidate(
        version,
        f"tensorflow {version} with CUDA {_dotted(build.cuda)}",
        (f"tensorflow{extra}=={version}",),
        build.cuda,
        build.cuda,
        _tagged(build.pythons),
        build.architectures,
        default=True,
        requires=build.cuda_requires,
        notes=() if extra else (alone,),
    )


def jax_candidates(version: str, machine: str, installed: Mapping[str, str]) -> Iterator[Candidate]:
    release = wheels.jax_release(version)
    for extra, specifiers in sorted(release.plugins.items(), reverse=True) if release else ():
        major = int(extra.removeprefix("cuda"))
        minimum = wheels.jax_minimum(major)
        name = f"jax-{extra}-plugin"
        fitting = [known for known in wheels.jax_releases() if satisfies(known, specifiers)]
        plugin = next((found for known in reversed(fitting) if (found := wheels.jax_plugin(name, known))), None)
        pythons = _tagged(plugin.pythons) if plugin else ()
        yield Candidate(
            version,
            f"jax {version} with CUDA {major}",
            (f"jax[{extra}]=={version}",),
            (major, 0),
            _last_of(major),
            tuple(one for one in pythons if release and satisfies(f"{one[0]}.{one[1]}.99", release.python)),
            requires=plugin.cuda_requires if plugin else {},
            least_capability=minimum.capability if minimum else (0, 0),
            obstacle="" if plugin else f"no {name} of that version is known",
        )


def cupy_candidates(version: str, machine: str, installed: Mapping[str, str]) -> Iterator[Candidate]:
    for major in (13, 12, 11):
        package = f"cupy-cuda{major}x"
        row = next((release for release in wheels.cupy_releases(package) if release.version == version), None)
        if row is None:
            continue
        # The extra that brings NVIDIA's libraries came with CuPy 14.
        extra = "[ctk]" if (parsed := parse_version(version)) and parsed.release >= (14,) else ""
        yield Candidate(
            version,
            f"{package} {version}",
            (f"{package}{extra}=={version}",),
            (major, 0),
            _last_of(major),
            _between(*_tagged((row.first_python, row.last_python))),
            notes=()
            if extra
            else (f"It brings no CUDA libraries: a CUDA {major} toolkit must be installed beside it.",),
        )


def onnxruntime_candidates(version: str, machine: str, installed: Mapping[str, str]) -> Iterator[Candidate]:
    build = wheels.onnxruntime_build(version)
    if build is None:
        return
    extra = "[cuda,cudnn]" if build.extras else ""
    cuda = build.cuda or (build.cuda_major, 0)
    alone = (
        f"It brings no libraries: CUDA {build.cuda_major} and cuDNN {build.cudnn_major} must be installed beside it."
    )
    untold = "For which GPUs it was built stands in no table; CUDA of that release builds for this one."
    yield Candidate(
        version,
        f"onnxruntime-gpu {version} with CUDA {_dotted(cuda) if build.cuda else build.cuda_major}",
        (f"onnxruntime-gpu{extra}=={version}",),
        cuda,
        cuda if build.cuda else _last_of(build.cuda_major),
        _tagged(build.pythons),
        default=True,
        requires=build.extras,
        obstacle=f"its extras cannot be installed: {build.extras_problem}" if build.extras_problem else "",
        notes=(untold,) if extra else (alone, untold),
    )


@cache
def builds(
    framework: str, version: str, machine: str, installed: tuple[tuple[str, str], ...] = ()
) -> tuple[Candidate, ...]:
    """All builds of one release; empty: the tables have none for this machine. `installed`: (name, release)."""
    return tuple(FRAMEWORKS[framework].candidates(version, machine, dict(installed)))


def cupy_versions() -> tuple[str, ...]:
    found = {release.version for major in (11, 12, 13) for release in wheels.cupy_releases(f"cupy-cuda{major}x")}
    return tuple(sorted(found, key=lambda version: _key(version)))


class Framework(NamedTuple):
    """How the builds of a framework are found. `machines`: those whose wheels the tables know."""

    releases: Callable[[], tuple[str, ...]]  # oldest first
    candidates: Callable[[str, str, Mapping[str, str]], Iterator[Candidate]]
    machines: tuple[str, ...]


FRAMEWORKS = {
    "torch": Framework(torch.releases, torch_candidates, ("x86_64", "aarch64")),
    "tensorflow": Framework(wheels.tensorflow_releases, tensorflow_candidates, ("x86_64",)),
    "jax": Framework(wheels.jax_releases, jax_candidates, ("x86_64", "aarch64")),
    "cupy": Framework(cupy_versions, cupy_candidates, ("x86_64", "aarch64")),
    "onnxruntime": Framework(wheels.onnxruntime_releases, onnxruntime_candidates, ("x86_64",)),
}


def _key(version: str) -> tuple[int, ...]:
    parsed = parse_version(version)
    return parsed.release if parsed else ()


def _last_of(major: int) -> tuple[int, int]:
    """The newest CUDA of a major: what its wheels of today bring. 12 is complete with 12.9."""
    newest = newest_cuda()
    return newest if newest[0] == major else (major, 9)


def _tagged(tags: Sequence[str]) -> tuple[Minor, ...]:
    """ "cp310" is (3, 10); those for free-threaded Pythons ("cp313t") are left out."""
    return tuple((int(tag[2]), int(tag[3:])) for tag in tags if tag.startswith("cp") and tag[2:].isdecimal())


def _between(first: Minor, last: Minor) -> tuple[Minor, ...]:
    return tuple((first[0], minor) for minor in range(first[1], last[1] + 1))


def _dotted(cuda: tuple[int, int]) -> str:
    return f"{cuda[0]}.{cuda[1]}"
