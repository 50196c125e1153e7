"""A driver from packages, from the trial to the restart: steps that a request for a driver or for a CUDA takes."""

from collections.abc import Iterator, Sequence

from gpudoctor import Manual, Phase, Risk, Run, Step, Unavailable
from gpudoctor.facts.driver_packages import driver_packages
from gpudoctor.facts.loaded import LoadedDriver
from gpudoctor.facts.package_manager import Argv, exchange_versions, remove
from gpudoctor.facts.package_offers import PackageOffers
from gpudoctor.facts.storage import FreeSpace

from ._branches import how_by_hand
from ._build import has_headers, header_steps, module_steps
from ._driver_choice import Choice, NoChoice, choose
from ._driver_elsewhere import by_other_managers
from ._ground import Ground
from ._modules import after_package_change, load
from ._packaging import back_to, change, finish_first
from ._proofs import installed_versions
from ._runfiles import uninstalled

_SPARE = 1 << 30  # bytes that stay free: modules for two kernels, an initramfs, logs
_GIB = 1 << 30


def driver_by_packages(version: str, ground: Ground) -> Iterator[Step]:
    """Bring a driver version or branch here from this machine's repositories. Raises UnsafeWord."""
    if ground.manager.kind not in ("apt", ""):
        yield from by_other_managers(version, ground)
        return
    choice = choose(version, ground) if ground.manager.kind else NoChoice(f"{ground.manager.reason}.")
    if isinstance(choice, NoChoice):
        yield by_hand(version, choice.reason, ground)
        return
    short = lack_of_space(ground, choice.download, choice.size)
    if short is not None:
        yield short
        return
    yield from _take_out_runfile(ground)
    yield from finish_first(ground.manager, ground.packages)
    if choice.built_here:
        without = [release for release in ground.releases if not has_headers(ground.kernels, release)]
        yield from header_steps(without, ground.manager, ground.system, ground.packages)
    yield from _transaction(choice, ground)
    by = "dkms" if choice.built_here else ""
    yield from module_steps(choice.module, by, ground.releases, ground.kernels, ground.system)
    yield from into_use(choice.version, ground)


def by_hand(version: str, reason: str, ground: Ground) -> Step:
    """`reason`: a sentence that says why no packages are known for certain."""
    branch = version.partition(".")[0]
    before = [member.branch for member in driver_packages(ground.packages) if member.version]
    how = how_by_hand(ground.manager, ground.system, branch, older=max(before, default=0) > int(branch))
    return Step(Manual(f"{how} Then ask again."), reason, Phase.SIMULATE, Risk.HIGH)


def lack_of_space(ground: Ground, download: int, size: int) -> Step | None:
    """What a person does first where there is no room; None where there is, or the sizes are not known."""
    if isinstance(ground.space, Unavailable) or not size:
        return None
    for path, needed in _needs(ground.space, download, size):
        free = ground.space.free.get(path, ground.space.free.get("/"))
        if free is not None and free < needed:
            return Step(
                Manual(
                    f"Make room first: {needed / _GIB:.1f} GiB are needed on the file system of {path}, and "
                    f"{free / _GIB:.1f} GiB are free. `apt-get clean`, old kernels and old toolkits give most."
                ),
                "An installation that runs out of space leaves packages half done, and a driver that does not start.",
                Phase.SIMULATE,
                root=False,
            )
    return None


def _needs(space: FreeSpace, download: int, size: int) -> Iterator[tuple[str, int]]:
    """Packages are downloaded to /var and unpacked to /usr, which mostly are one file system."""
    usr, var = (space.free.get(path, space.free.get("/")) for path in ("/usr", "/var"))
    if usr == var:
        yield "/usr", download + size + _SPARE
    else:
        yield from (("/usr", size + _SPARE), ("/var", download + _SPARE // 2))


def _take_out_runfile(ground: Ground) -> Iterator[Step]:
    """A driver that was installed by hand would lie over the packages."""
    if not ground.runfile.paths:
        return
    version = ground.runfile.version or "that was installed by hand"
    if not ground.runfile.uninstaller:
        yield Step(
            Manual(f"Run NVIDIA's installer of driver {version} with --uninstall: its own uninstaller is gone."),
            f"Driver {version} came from a .run file, and its files would lie over those of the packages.",
            Phase.SIMULATE,
            Risk.HIGH,
        )
        return
    yield uninstalled(version, f"Driver {version} came from a .run file, and its files would lie over the packages'.")


def _transaction(choice: Choice, ground: Ground) -> Iterator[Step]:
    manager = ground.manager
    argv = exchange_versions(manager, choice.install, choice.remove, older=choice.older, lean=choice.lean)
    if argv is None or not (choice.install or choice.remove):
        return
    direction = "This is a step back to an older one. D" if choice.older else "D"
    going = ""
    if choice.remove:
        more = f" and {len(choice.remove) - 3} more" if len(choice.remove) > 3 else ""
        going = f" These go: {', '.join(choice.remove[:3])}{more}; look in the trial at what goes with them."
    lean = " What the packages merely recommend stays away, for it would come in a newer version." * choice.lean
    yield from change(
        manager,
        argv,
        f"{direction}river {choice.version}, all of it from one maker ({choice.maker or 'unknown'}) and of one "
        f"version.{going}{lean}",
        installed_versions(manager, choice.install) if choice.install else None,
        _way_back(choice, ground),
        risk=Risk.HIGH,
    )


def _way_back(choice: Choice, ground: Ground) -> Run | Manual:
    """The packages as they were, if the repositories still have them all."""
    members = driver_packages(ground.packages)
    before = {p.name: p.version for p in ground.packages.installed() if p.name in {*choice.install, *choice.remove}}
    new = tuple(name for name in choice.install if name.partition(":")[0] not in before)
    offers = ground.offers.offers if isinstance(ground.offers, PackageOffers) else ()
    known = {(offer.name, offer.version) for offer in offers}
    if not before:
        return Run(remove(ground.manager, new))
    if not all(pair in known for pair in before.items()):
        return back_to(members)
    # All that was here is named: what these packages recommend would come on top of it.
    argv: Argv | None = exchange_versions(ground.manager, before, new, older=True, lean=True)
    return Run(argv) if argv is not None else back_to(members)


def is_by_hand(steps: Sequence[Step]) -> bool:
    """Is all of it left to a person, so that nothing can follow?"""
    return all(isinstance(step.action, Manual) for step in steps)


def into_use(version: str, ground: Ground) -> Iterator[Step]:
    """Restart where another driver is loaded, else load it; nothing where there is no GPU for it."""
    if not isinstance(ground.gpus, Unavailable) and not ground.own_gpus:
        return
    if isinstance(ground.driver, LoadedDriver) and ground.driver.loaded:
        yield from after_package_change(ground.kernel, ground.driver, version)
    else:
        yield from load(ground.kernel, ground.driver, ground.modules)
