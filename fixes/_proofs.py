"""Commands that end with 0 only if a step did what it was for; they ask, and change nothing."""

from collections.abc import Mapping, Sequence

from gpudoctor import Run
from gpudoctor.facts.package_manager import PackageManager, package_name, package_version

from ._scope import driver_release, file_path, kernel_release

DPKG_STATUS = "/var/lib/dpkg/status"


def there(path: str) -> Run:
    return Run(("test", "-e", file_path(path)))


def gone(path: str) -> Run:
    return Run(("test", "!", "-e", file_path(path)))


def newer(path: str, than: str) -> Run:
    return Run(("test", file_path(path), "-nt", file_path(than)))


def module_for(kernel: str, module: str) -> Run:
    """The module's own file name: Debian's is nvidia-current, and its `modinfo nvidia` fails on a healthy machine."""
    return Run(("modinfo", "-k", kernel_release(kernel), kernel_release(module)))


def loaded(module: str) -> Run:
    return there(f"/sys/module/{module}")


def loaded_version(version: str) -> Run:
    """The loaded driver is of this version, or, with "", any driver is loaded."""
    path = "/proc/driver/nvidia/version"
    return Run(("grep", "-qF", driver_release(version), path)) if version else there(path)


def has_line(path: str, line: str) -> Run:
    return Run(("grep", "-qxF", line, file_path(path)))


def installed(manager: PackageManager, names: Sequence[str]) -> Run:
    """All these packages are installed, in whatever version."""
    names = [package_name(name) for name in names]
    match manager.kind:
        case "apt":
            # `dpkg -s` ends with 0 for packages of which only the settings are left.
            found = [f'{_is(name)} && /\\nStatus: [a-z]+ ok installed\\n/ {{found["{name}"]}}' for name in names]
            return _awk(*found, f"END {{for (name in found) count++; exit count != {len(names)}}}")
        case "pacman":
            return Run(("pacman", "-Q", *names))
        case _:
            return Run(("rpm", "-q", *names))


def installed_versions(manager: PackageManager, versions: Mapping[str, str]) -> Run:
    """All these packages are installed in exactly these versions."""
    pairs = [(package_name(name), package_version(version)) for name, version in versions.items()]
    match manager.kind:
        case "apt":
            wrong = [f'{_is(name)} && !index($0, "\\nVersion: {version}\\n") {{wrong = 1}}' for name, version in pairs]
            return _awk(*wrong, "END {exit wrong}")
        case "pacman":
            return Run(("pacman", "-Qk", *(name for name, _ in pairs)))
        case _:
            return Run(("rpm", "-q", *(f"{name}-{version.rpartition(':')[2]}" for name, version in pairs)))


def removed(manager: PackageManager, names: Sequence[str]) -> Run | None:
    """None of these packages is installed; None where only a failing command could tell."""
    if manager.kind != "apt":
        return None
    wrong = [f"{_is(package_name(name))} && /\\nStatus: (install|hold) / {{wrong = 1}}" for name in names]
    return _awk(*wrong, "END {exit wrong}")


def not_held(manager: PackageManager, names: Sequence[str]) -> Run | None:
    """None of these packages is on hold; None where only a failing command could tell."""
    if manager.kind != "apt":
        return None
    wrong = [f"{_is(package_name(name))} && /\\nStatus: hold / {{wrong = 1}}" for name in names]
    return _awk(*wrong, "END {exit wrong}")


def dependencies_met(names: Sequence[str]) -> Run:
    """rpm: everything that these packages need is there."""
    return Run(("rpm", "--verify", "--nofiles", "--noscripts", *(package_name(name) for name in names)))


def all_configured() -> Run:
    """No package is half done. `dpkg --audit` and `apt-get check` end with 0 even then."""
    return _awk(r"/\nStatus: [a-z]+ [a-z]+ (unpacked|half-|triggers-)/ {wrong = 1}", "END {exit wrong}")


def _is(name: str) -> str:
    plain, _, architecture = name.partition(":")
    is_name = f'index($0, "Package: {plain}\\n") == 1'
    return f'{is_name} && index($0, "\\nArchitecture: {architecture}\\n")' if architecture else is_name


def _awk(*rules: str) -> Run:
    # Every paragraph of the file is one package.
    return Run(("awk", " ".join(('BEGIN {RS = ""}', *rules)), DPKG_STATUS))


def libraries_found() -> Run:
    """The loader's cache names libcuda, which ldconfig puts there only if the file is there. (The cache is binary.)"""
    return Run(("grep", "-qaF", "libcuda.so.1", "/etc/ld.so.cache"))
