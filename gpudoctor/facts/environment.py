"""Environment variables that steer CUDA and Python: this process's own, and the lines of files that set them."""

from collections.abc import Mapping
from typing import NamedTuple

from gpudoctor.facts.shell_lines import assignments, numbered_lines
from gpudoctor.host import Host, Unavailable
from gpudoctor.registry import fact


class Setting(NamedTuple):
    """One variable that a file sets. The file may set it only under a condition; that is not judged here."""

    name: str
    value: str  # as written, without quotes: "/usr/local/cuda/lib64:$LD_LIBRARY_PATH"
    path: str
    line: int  # counted from 1; the first, where it goes on over several
    text: str  # the line as it stands in the file


class Environment(NamedTuple):
    """The variables of interest (`is_of_interest`), and where the system's and the user's files set them."""

    variables: Mapping[str, str]
    settings: tuple[Setting, ...]
    unknown: str = ""  # why there are no variables above, "" if they were read
    unread: tuple[str, ...] = ()  # files that could not be read, with the reason: settings may be missing above

    def set_by(self, name: str) -> tuple[Setting, ...]:
        return tuple(setting for setting in self.settings if setting.name == name)

    def folders(self, name: str) -> tuple[str, ...]:
        """The folders that a variable lists, as PATH does. An empty piece means the current folder, and is left out."""
        # The dynamic loader takes a semicolon in LD_LIBRARY_PATH as well.
        text = self.variables.get(name, "")
        return tuple(filter(None, (text.replace(";", ":") if name == "LD_LIBRARY_PATH" else text).split(":")))


_NAMES = frozenset(
    (
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "PATH",
        "HOME",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONNOUSERSITE",
        "XDG_STATE_HOME",
        "GPUDOCTOR_STATE",
    )
)
# "CUDA" without a line behind it: CUDAHOSTCXX, CUDACXX and CUDAARCHS are CMake's.
_PREFIXES = (
    "CUDA",
    "CUDNN_",
    "NVIDIA_",
    "NVCC_",
    "NCCL_",
    "CONDA_",
    "MAMBA_",
    "PYENV_",
    "UV_",
    "JAX_",
    "XLA_",
    "TF_",
    "TORCH_",
    "PYTORCH_",
    "BNB_",
    "TRITON_",
    "CUPY_",
    "NUMBA_",
)
_OTHERS = ("TF_VAR_", "TF_CLI_")  # Terraform's, and none of TensorFlow's
_MARKS = (*_NAMES, *_PREFIXES)  # a line without one of these sets no variable of interest
_SECRETS = ("TOKEN", "KEY", "SECRET", "PASS", "CREDENTIAL", "USERNAME")


def is_of_interest(name: str, value: str = "") -> bool:
    """Does this variable matter to CUDA or Python, and is it fit to be shown? The one place that lists them."""
    mine = name in _NAMES or (name.startswith(_PREFIXES) and not name.startswith(_OTHERS))
    return mine and not _is_secret(name, value)


def _is_secret(name: str, value: str) -> bool:
    """By its name, or because its value is an address with a password in it: https://me:word@host/simple."""
    if any(word in name.upper() for word in _SECRETS):
        return True
    return any("@" in address.partition("/")[0] for address in value.split("://")[1:])


_ENVIRON = "/proc/self/environ"


@fact
def environment(host: Host) -> Environment:
    """From /proc/self/environ and the files that log-in shells, PAM and environments' activation scripts read."""
    variables, unknown = {}, ""
    try:
        variables = _variables(host.read(_ENVIRON) or "")
    except Unavailable as reason:
        unknown = str(reason)
    settings: list[Setting] = []
    unread: list[str] = []
    answered = not unknown
    for path in _files(host, variables, unread):
        try:
            text = host.read(path)
        except Unavailable as reason:
            unread.append(str(reason))
            continue
        answered = True
        if text:
            settings += read_settings(text, path)
    if not answered:  # an old snapshot: nobody asked then
        raise Unavailable(unknown)
    return Environment(variables, tuple(settings), unknown, tuple(unread))


def _variables(text: str) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in text.split("\0"))
    return {name: value for name, _, value in pairs if is_of_interest(name, value)}


def read_settings(text: str, path: str) -> list[Setting]:
    """The variables of interest that a file sets, in its order; the path tells how the file is written."""
    found = []
    for number, line in numbered_lines(text):
        pairs = assignments(line, path) if any(name in line for name in _MARKS) else ()
        # A line that also sets a secret is shown to nobody.
        if not any(_is_secret(name, value) for name, value in pairs):
            found += [Setting(name, value, path, number, line) for name, value in pairs if is_of_interest(name, value)]
    return found


_SYSTEM_FILES = (
    "/etc/environment",
    "/etc/security/pam_env.conf",
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    *(f"/etc/{name}" for name in ("zshenv", "zprofile", "zshrc")),  # Red Hat's, and Arch's and Debian's
    *(f"/etc/zsh/{name}" for name in ("zshenv", "zprofile", "zshrc", "zlogin")),
)
_FILES_OF_HOME = (
    ".pam_environment",
    ".profile",
    ".bash_profile",
    ".bashrc",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".cshrc",
    ".tcshrc",
    ".config/fish/config.fish",
)


def _files(host: Host, variables: Mapping[str, str], unread: list[str]) -> list[str]:
    """The files that may set variables; what keeps a folder from being listed goes to `unread`."""

    def inside(folder: str, ending: str) -> list[str]:
        try:
            return [f"{folder}/{name}" for name in host.list(folder) or () if name.endswith(ending)]
        except Unavailable as reason:
            unread.append(str(reason))
            return []

    files = [*_SYSTEM_FILES, *inside("/etc/profile.d", ".sh")]
    home = variables.get("HOME", "").rstrip("/")
    if home:
        files += [f"{home}/{name}" for name in _FILES_OF_HOME]
        files += inside(f"{home}/.config/environment.d", ".conf")
    if "CONDA_PREFIX" in variables:
        files += inside(f"{variables['CONDA_PREFIX'].rstrip('/')}/etc/conda/activate.d", ".sh")
    if "VIRTUAL_ENV" in variables:
        files.append(f"{variables['VIRTUAL_ENV'].rstrip('/')}/bin/activate")
    return list(dict.fromkeys(files))


def sets_variables(path: str) -> bool:
    """Is it one of the files that are read for settings?"""
    folders = ("/etc/profile.d/", "/etc/conda/activate.d/", "/.config/environment.d/")
    known = path in _SYSTEM_FILES or path.endswith(tuple(f"/{name}" for name in (*_FILES_OF_HOME, "bin/activate")))
    return known or any(folder in path for folder in folders)


def relevant_environ(text: str) -> str:
    """/proc/self/environ without all other variables; for snapshots."""
    return "".join(f"{name}={value}\0" for name, value in _variables(text).items())


def relevant_settings(text: str, path: str) -> str:
    """A file without the lines that set no variable of interest; empty ones stand for them, so that numbers hold."""
    kept = {setting.line: setting.text for setting in read_settings(text, path)}
    return "".join(
        f"{kept.get(number, '')}{_empty_lines(line, number in kept)}" for number, line in numbered_lines(text)
    )


def _empty_lines(line: str, kept: bool) -> str:
    return "\n" if kept else "\n" * (line.count("\n") + 1)


# What a log-in shell starts from where nothing else is said; for disks, whose PATH nobody knows.
_USUAL_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def programs(host: Host, environment: Environment | Unavailable, name: str) -> list[str]:
    """The executable files of this name in the folders of PATH, in its order; in the usual ones if PATH is unknown."""
    known = environment.folders("PATH") if isinstance(environment, Environment) else ()
    found = []
    for folder in dict.fromkeys(known or _USUAL_PATH):
        path = f"{folder.rstrip('/')}/{name}"
        try:
            status = host.status(path) if folder.startswith("/") else None
        except Unavailable:  # a folder that only others may enter: a shell passes over it too
            continue
        if status is not None and status.kind == "file" and status.mode & 0o111:
            found.append(path)
    return found
