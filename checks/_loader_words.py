"""Who leads the loader to a library, and how one takes that back: LD_LIBRARY_PATH, or a file of ld.so.conf."""

from collections.abc import Iterable

from gpudoctor import Evidence, Unavailable
from gpudoctor.facts.environment import Environment, Setting
from gpudoctor.facts.loader import LoaderConfig, LoaderFolder

LIBRARY_PATH = "LD_LIBRARY_PATH"


def setting_evidence(settings: Iterable[Setting]) -> tuple[Evidence, ...]:
    """The lines of files that set a variable."""
    return tuple(Evidence(f"{one.path}:{one.line}", one.text.strip()) for one in settings)


def setters(environment: Environment | Unavailable, folders: Iterable[str]) -> tuple[Setting, ...]:
    """The lines that put one of these folders into LD_LIBRARY_PATH."""
    if isinstance(environment, Unavailable):
        return ()
    from gpudoctor.facts.setting_files import folders_listed  # here for start-up: only findings need it

    wanted = {folder.rstrip("/") for folder in folders}
    return tuple(one for one in environment.set_by(LIBRARY_PATH) if wanted & {*folders_listed(one.value)})


def config_lines(config: LoaderConfig | Unavailable, folders: Iterable[str]) -> tuple[LoaderFolder, ...]:
    """The lines of ld.so.conf and its like that name one of these folders."""
    wanted = {folder.rstrip("/") for folder in folders}
    return tuple(one for one in config.folders if one.folder in wanted) if isinstance(config, LoaderConfig) else ()


def leads_to(
    by: str, folders: tuple[str, ...], environment: Environment | Unavailable, config: LoaderConfig | Unavailable
) -> tuple[Evidence, ...]:
    """What names the folders: the variable and the lines that set it, or lines of ld.so.conf."""
    if by == LIBRARY_PATH:
        value = environment.variables.get(LIBRARY_PATH, "") if isinstance(environment, Environment) else ""
        return (Evidence(LIBRARY_PATH, value), *setting_evidence(setters(environment, folders)))
    lines = config_lines(config, folders)
    return tuple(Evidence(f"{one.path}:{one.line}", one.folder) for one in lines) or (Evidence(by, folders[0]),)


def take_out(
    by: str, folders: tuple[str, ...], environment: Environment | Unavailable, config: LoaderConfig | Unavailable
) -> str:
    """A remedy: take these folders out where they are named."""
    named = " and ".join(folders)
    if by == LIBRARY_PATH:
        lines = [f"{one.path} (line {one.line})" for one in setters(environment, folders)]
        if not lines:
            return f"`unset {LIBRARY_PATH}` ends it in this shell; find out what sets it: no file that was read does."
        where = " and ".join(lines)
        return f"Take {named} out of {LIBRARY_PATH} in {where}, and log in anew; `unset {LIBRARY_PATH}` ends it here."
    lines = [f"{one.path} (line {one.line})" for one in config_lines(config, folders)]
    if lines:
        return f"Take {named} out of {' and '.join(lines)}, then `sudo ldconfig`."
    return f"Find out what brought {named} to the loader: `ldconfig -v` says which file names a folder."
