"""What the files of one CUDA toolkit say of its version, and of the compilers that its nvcc accepts."""

from gpudoctor.facts.c_headers import defined, highest_clang, highest_gcc, read_header
from gpudoctor.host import Host


def header_of(host: Host, folder: str, more: tuple[str, ...] = ()) -> tuple[str, str]:
    """The path of cuda.h and its version, "13.0"; two "" without one. `more`: other folders of headers."""
    for include in _include_folders(host, folder, more):
        text = read_header(host, f"{include}/cuda.h")
        if text is not None:
            number = defined(text, "CUDA_VERSION")
            return f"{include}/cuda.h", f"{number // 1000}.{number % 1000 // 10}" if number else ""
    return "", ""


def limits_of(host: Host, folder: str, more: tuple[str, ...] = ()) -> tuple[int | None, int | None, str]:
    """The newest gcc and clang that nvcc accepts, None unknown, and the path of crt/host_config.h, "" without one.

    That header ends every compilation with a newer compiler.
    """
    for include in _include_folders(host, folder, more):
        for name in ("crt/host_config.h", "host_config.h"):  # the second up to CUDA 9, later it includes the first
            text = read_header(host, f"{include}/{name}")
            if text is not None:
                return highest_gcc(text), highest_clang(text), f"{include}/{name}"
    return None, None, ""


def _include_folders(host: Host, folder: str, more: tuple[str, ...]) -> list[str]:
    targets = host.list(f"{folder}/targets") or ()  # conda's, and NVIDIA's, where include is a link to one of them
    return [f"{folder}/include", *(f"{folder}/targets/{name}/include" for name in targets), *more]


def version_of(host: Host, folder: str, header: str, header_version: str) -> tuple[str, str]:
    """The toolkit's version and the file that told it; two "" if nothing does.

    Its own version file comes first: it alone tells the release to the third number. Then what programs are compiled
    with, the header; then what conda and the runtime library are called. The folder's name is last, for anybody can
    give a folder any name; its source is the folder.
    """
    release = version_in(host.read(f"{folder}/version.json") or "")
    if release:
        return release, f"{folder}/version.json"
    release = (host.read(f"{folder}/version.txt") or "").partition("CUDA Version ")[2].strip()
    if _numbers(release):
        return release, f"{folder}/version.txt"
    if header_version:
        return header_version, header
    for name in host.list(f"{folder}/conda-meta") or ():
        package, _, rest = name.rpartition("-")[0].rpartition("-")
        if package in ("cuda-nvcc", "cuda-version", "cudatoolkit", "cuda-toolkit") and _two(rest):
            return _two(rest), f"{folder}/conda-meta/{name}"
    for library_folder in ("lib64", "lib"):
        for name in host.list(f"{folder}/{library_folder}") or ():
            # libcudart.so.12.4.127; its first two numbers are the toolkit's.
            number = name.removeprefix("libcudart.so.")
            if number != name and number.count(".") > 1 and _two(number):
                return _two(number), f"{folder}/{library_folder}/{name}"
    number = _two(folder.rpartition("/")[2].removeprefix("cuda-"))
    return number, folder if number else ""


def version_in(text: str) -> str:
    """Of a version.json: "12.4.1" of {"cuda": {"name": "CUDA SDK", "version": "12.4.1"}, ...}, "" of anything else."""
    import json  # here for start-up: many machines have no toolkit

    try:
        document = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return ""
    match document:
        case {"cuda": {"version": str(version)}} if _numbers(version):
            return version
    return ""


def _numbers(text: str) -> bool:
    return "." in text and text.replace(".", "").isdecimal()


def _two(text: str) -> str:
    """ "12.4" of "12.4.127", "" of what is no version."""
    return ".".join(text.split(".")[:2]) if _numbers(text) else ""
