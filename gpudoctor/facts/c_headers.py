"""Version numbers and compiler limits out of the C headers of CUDA, cuDNN and NCCL."""

from gpudoctor.host import Host

# CUDA_VERSION stands 14 kB into a cuda.h of a megabyte.
_FIRST = 64 * 1024
# The sentences that host_config.h ends a compilation with.
_GCC = "unsupported GNU version! gcc versions later than "
_CLANG = "unsupported clang version! clang version must be less than "
_NAMES = ("CUDA_VERSION", "CUDNN_", "NCCL_")


def read_header(host: Host, path: str) -> str | None:
    """The part of a header in which versions and limits stand, None if there is no such file."""
    return host.read(path, first=_FIRST)


def defined(text: str, name: str) -> int | None:
    """The number that a header defines for a name; None if it does not, or not as a plain number."""
    place = text.find(name)
    while place >= 0:
        start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
        line = text[start : end if end >= 0 else len(text)]
        words = line.replace("#", " ", 1).split()
        if len(words) > 2 and words[0] == "define" and words[1] == name and words[2].isdecimal():
            return int(words[2])
        place = text.find(name, place + 1)
    return None


def triple(text: str, names: tuple[str, str, str]) -> str:
    """ "9.10.2" of three names that stand for its numbers, "" if one is missing."""
    numbers = [defined(text, name) for name in names]
    return "" if None in numbers else ".".join(map(str, numbers))


def highest_gcc(host_config: str) -> int | None:
    """The newest gcc that nvcc accepts by its host_config.h, None if the header does not tell."""
    return _number_after(host_config, _GCC)


def highest_clang(host_config: str) -> int | None:
    """The newest clang that nvcc accepts; the header names the first that it refuses."""
    refused = _number_after(host_config, _CLANG)
    return None if refused is None else refused - 1


def _number_after(text: str, sentence: str) -> int | None:
    word = text.partition(sentence)[2].partition(" ")[0].partition(".")[0]
    return int(word) if word.isdecimal() else None


def relevant_header(text: str) -> str:
    """A header without what nobody here reads; for snapshots."""
    return "".join(f"{line}\n" for line in text.split("\n") if _is_wanted(line))


def _is_wanted(line: str) -> bool:
    return _GCC in line or _CLANG in line or ("define" in line and any(name in line for name in _NAMES))
