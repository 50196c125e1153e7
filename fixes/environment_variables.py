"""Environment variables and folders of the loader that keep programs from the GPU, taken back in their files."""

from collections.abc import Iterable, Iterator, Sequence

from gpudoctor import Effort, Findings, Manual, Phase, Risk, Run, Step, Unavailable, WriteFile, fix
from gpudoctor.facts.driver_search import LibcudaSearch
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.loader import LoaderConfig, LoaderFolder
from gpudoctor.facts.package_manager import UnsafeWord
from gpudoctor.facts.setting_files import SettingFile, SettingFiles, folders_listed
from gpudoctor.facts.system import Identity
from gpudoctor.python.library_wheels import shadows
from gpudoctor.python.plain_words import environment_path

from ._scope import by_hand_if_unsafe
from ._setting_lines import Edit, Refused, without_config_line, without_folders, without_line

_LIBRARY_PATH = "LD_LIBRARY_PATH"


@fix(
    "correct-environment",
    cures=[
        *("env.cuda-visible-devices", "env.framework-switches", "env.library-path-shadows"),
        *("cuda.home-invalid", "cuda.stub-library"),
        *("cuda.forward-compat-mismatch", "cuda.forward-compat-unsupported"),
    ],
    effort=Effort.ENVIRONMENT_VARIABLE,
)
@by_hand_if_unsafe
def correct_environment(
    findings: Findings,
    environment: Environment | Unavailable,
    builds: FrameworkBuilds | Unavailable,
    libraries: FrameworkLibraries | Unavailable,
    search: LibcudaSearch | Unavailable,
    config: LoaderConfig | Unavailable,
    files: SettingFiles | Unavailable,
    identity: Identity | Unavailable,
) -> Iterator[Step]:
    """Take back variables and loader folders that keep programs from the GPU or its libraries."""
    # One fix for all of them: each file is written once, with everything that has to change in it.
    wrong = dict.fromkeys(_wrong_folders({id for id, _ in findings.items}, builds, libraries, search))
    folders = tuple(folder for folder, by in wrong if by == _LIBRARY_PATH)
    changes: list[tuple[Setting, tuple[str, ...]]] = []
    for variable in _variables(findings, environment, bool(folders)):
        assert isinstance(environment, Environment)
        trimmed = folders if variable == _LIBRARY_PATH else ()
        setters = [one for one in environment.set_by(variable) if not trimmed or _names(one, trimmed)]
        changes += [(one, tuple(folder for folder in trimmed if _names(one, (folder,)))) for one in setters]
        yield _in_this_shell(variable, bool(setters))
    yield from _changed(changes, files, identity)
    in_config = tuple(folder for folder, by in wrong if by != _LIBRARY_PATH)
    lines = [one for one in config.folders if one.folder in in_config] if isinstance(config, LoaderConfig) else []
    if lines:
        yield from _config_changed(lines, files)
    elif in_config:
        yield Step(
            Manual(
                f"Find what brought {' and '.join(in_config)} to the loader (`ldconfig -v`), and take it out there."
            ),
            "No file of ld.so.conf that was read names this folder.",
            Phase.CONFIGURE,
        )


def _variables(findings: Findings, environment: Environment | Unavailable, library_path: bool) -> Iterator[str]:
    """Those to take back: of findings about a variable the subject names it."""
    if isinstance(environment, Unavailable):
        return
    subjects = dict.fromkeys(finding.subject for _, finding in findings.items)
    yield from (one for one in subjects if one in environment.variables and one != _LIBRARY_PATH)
    if library_path:
        yield _LIBRARY_PATH


def _wrong_folders(
    ids: set[str],
    builds: FrameworkBuilds | Unavailable,
    libraries: FrameworkLibraries | Unavailable,
    search: LibcudaSearch | Unavailable,
) -> Iterator[tuple[str, str]]:
    """(folder, what names it) of the files that the findings are about."""
    shadowed = "env.library-path-shadows" in ids
    if shadowed and isinstance(builds, FrameworkBuilds) and isinstance(libraries, FrameworkLibraries):
        yield from ((one.folder, one.by) for one in shadows(builds, libraries) if not one.compatible)
    if isinstance(search, Unavailable):
        return
    for one in (search.taken, search.taken_by_name):
        if one and ((one.stub and "cuda.stub-library" in ids) or (one.compat and _FORWARD & ids)):
            yield one.folder, one.by


_FORWARD = {"cuda.forward-compat-mismatch", "cuda.forward-compat-unsupported"}


def _names(setting: Setting, folders: Sequence[str]) -> bool:
    return any(folder.rstrip("/") in folders_listed(setting.value) for folder in folders)


def _changed(
    changes: Iterable[tuple[Setting, tuple[str, ...]]],
    files: SettingFiles | Unavailable,
    identity: Identity | Unavailable,
) -> Iterator[Step]:
    """Each file written anew without these settings; with folders, without those alone."""
    by_path: dict[str, list[tuple[Setting, tuple[str, ...]]]] = {}
    for setting, folders in changes:
        by_path.setdefault(setting.path, []).append((setting, folders))
    for path, here in by_path.items():
        done: list[Setting] = []
        edit = Edit("", "")
        file = None
        # From the end, so that the numbers of the lines before hold.
        for setting, folders in sorted(here, key=lambda change: -change[0].line):
            try:
                file = file or _own_file(path, files, identity)
                text = edit.text if done else file.text
                if folders:
                    edit = without_folders(text, path, setting.line, setting.text, folders)
                else:
                    edit = without_line(text, path, setting.line, setting.text)
                done.insert(0, setting)
            except Refused as reason:
                yield _by_hand(setting, folders, str(reason))
        if file and done:
            lines = ", ".join(f"line {one.line} ({one.text.strip()})" for one in done)
            names = " and ".join(dict.fromkeys(one.name for one in done))
            yield _written(file, path, edit, f"In {path} {lines} sets {names}; a comment keeps what was there.")


def _config_changed(lines: Iterable[LoaderFolder], files: SettingFiles | Unavailable) -> Iterator[Step]:
    """The lines of ld.so.conf made comments, and the loader's cache anew."""
    texts: dict[str, Edit] = {}
    for one in lines:
        try:
            text = texts[one.path].text if one.path in texts else _file(one.path, files).text
            texts[one.path] = without_config_line(text, one.line, one.folder)
        except Refused as reason:
            yield Step(
                Manual(f"Take {one.folder} out of {one.path} (line {one.line}), then run `ldconfig` as root."),
                f"It is not done by a program, for {reason}.",
                Phase.CONFIGURE,
            )
    for path, edit in texts.items():
        yield _written(_file(path, files), path, edit, f"{path} leads the loader to the wrong libraries.")
    if texts:
        yield Step(
            Run(("ldconfig",)),
            "The loader goes by its cache, which is made from these files; the exit status is the proof.",
            Phase.REBUILD,
            undo=Run(("ldconfig",)),
        )


def _written(file: SettingFile, path: str, edit: Edit, why: str) -> Step:
    real = environment_path(file.real_path)
    if not edit.line.isprintable():
        raise UnsafeWord(f"a line of {path} has letters in it that cannot be printed")
    return Step(
        WriteFile(real, edit.text, file.text),
        why,
        Phase.CONFIGURE,
        Risk.LOW,
        root=file.owner == 0,
        verify=Run(("grep", "-qxF", "-e", edit.line, real)),
    )


def _own_file(path: str, files: SettingFiles | Unavailable, identity: Identity | Unavailable) -> SettingFile:
    """The file, if who runs the doctor may change it: the user's own, and as root those of /etc. Raises Refused."""
    file = _file(path, files)
    if isinstance(identity, Unavailable):
        raise Refused(f"who runs gpudoctor is not known: {identity}")
    if file.real_path.startswith("/etc/") and file.owner == 0:
        return file
    if identity.root:
        raise Refused("run by root, gpudoctor changes the files of /etc alone: no start-up file of a person")
    if file.owner != identity.user_id:
        raise Refused("the file belongs to another user than the one who runs gpudoctor")
    return file


def _file(path: str, files: SettingFiles | Unavailable) -> SettingFile:
    if isinstance(files, Unavailable):
        raise Refused(str(files))
    if path not in files.files:
        raise Refused(files.problems.get(path, f"{path} could not be read"))
    return files.files[path]


def _by_hand(setting: Setting, folders: Sequence[str], reason: str) -> Step:
    what = f"Take {' and '.join(folders)} out of" if folders else "Take out or correct"
    return Step(
        Manual(f"{what} line {setting.line} of {setting.path}: {setting.text.strip()}"),
        f"It is not done by a program, for {reason}.",
        Phase.CONFIGURE,
        root=False,
    )


def _in_this_shell(variable: str, by_file: bool) -> Step:
    if by_file:
        return Step(
            Manual(f"Run `unset {variable}` in this shell, or log in anew."),
            f"What is running already keeps {variable} as it was when it started.",
            Phase.AFTERWARDS,
            root=False,
        )
    return Step(
        Manual(f"Run `unset {variable}` in this shell, and find what sets it: a module, a launcher, a service's unit."),
        f"No file that was read sets {variable}, so it came from what started this shell.",
        Phase.AFTERWARDS,
        root=False,
    )


@fix("set-device-order", cures=["env.cuda-device-order"], effort=Effort.EXPLAIN)
@by_hand_if_unsafe
def set_device_order(environment: Environment) -> Iterator[Step]:
    """Let CUDA number the GPUs as nvidia-smi does."""
    if environment.variables.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        yield Step(
            Manual("Put `export CUDA_DEVICE_ORDER=PCI_BUS_ID` into ~/.profile, or name GPUs by UUID."),
            "CUDA puts the fastest GPU first, nvidia-smi goes by the bus; scripts may count on either.",
            Phase.AFTERWARDS,
            root=False,
        )
