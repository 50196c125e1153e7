"""NVIDIA's .run files as steps: that they are whole, and who has to let go of the GPU before one may run."""

import re
from collections.abc import Iterator

from gpudoctor import Manual, Phase, Risk, Run, Step, Unavailable
from gpudoctor.facts.display_manager import DisplayManager
from gpudoctor.facts.package_manager import Argv, UnsafeWord

from ._ground import Ground
from ._proofs import gone
from ._scope import file_path
from .reload import SERVICES

_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.service")


def run(path: str, *options: str) -> Argv:
    """By the shell, as NVIDIA's guides have it: a downloaded file is not executable. Raises UnsafeWord."""
    return ("sh", file_path(path), *options)


def uninstalled(version: str, why: str) -> Step:
    """The driver from a .run file is taken away by its own uninstaller."""
    return Step(
        Run(("nvidia-uninstall", "--silent")),
        why,
        Phase.REMOVE,
        Risk.HIGH,
        verify=gone("/var/lib/nvidia/log"),
        undo=Manual(f"Run NVIDIA's installer {version} again."),
    )


def checked(path: str) -> Step:
    """The file's own test of its checksums, before anything is touched."""
    return Step(
        Run(run(path, "--check")),
        "The file tests itself before anything is touched: a download that broke off ends here.",
        Phase.SIMULATE,
    )


def stop_display(ground: Ground, phase: Phase) -> Iterator[Step]:
    """The installer refuses to work beside an X server. Raises UnsafeWord."""
    if isinstance(ground.display, Unavailable):
        return
    if not ground.display.running:
        for process in ground.display.x_servers[:1]:
            yield Step(
                Manual(f"End the X server with process id {process}: log out of its session."),
                "NVIDIA's installer refuses to work beside an X server, and this one was started by hand.",
                Phase.SIMULATE,
                Risk.HIGH,
                root=False,
            )
        return
    unit = _unit(ground.display)
    yield Step(
        Run(("systemctl", "stop", unit)),
        f"{unit} shows the screen through the driver and is started again in the end. It ends every graphical session: "
        "save what is open, and start this from a text console or over ssh. Its exit status is the proof.",
        phase,
        Risk.HIGH,
        undo=Run(("systemctl", "start", unit)),
    )


def start_display(ground: Ground, phase: Phase) -> Iterator[Step]:
    """Raises UnsafeWord."""
    if isinstance(ground.display, DisplayManager) and ground.display.running:
        unit = _unit(ground.display)
        yield Step(
            Run(("systemctl", "start", unit)),
            f"{unit} was stopped for the installation.",
            phase,
            Risk.LOW,
            verify=Run(("systemctl", "is-active", "--quiet", unit)),
            undo=Run(("systemctl", "stop", unit)),
        )


def _unit(display: DisplayManager) -> str:
    if not _UNIT.fullmatch(display.unit):
        raise UnsafeWord(f"{display.unit!r} is no name of a service")
    return display.unit


def stop_services(ground: Ground, phase: Phase) -> Iterator[Step]:
    """The driver's own services hold its modules; whatever else does is for a person to end."""
    if isinstance(ground.users, Unavailable):
        return
    others = []
    for holder in ground.users.holders:
        unit = SERVICES.get(holder.command.rpartition("/")[2][:15], "")
        if not unit:
            others.append(holder)
            continue
        yield Step(
            Run(("systemctl", "stop", unit)),
            f"{unit} holds the GPU (process {holder.process_id}); it starts again with the new driver.",
            phase,
            Risk.MEDIUM,
            verify=gone(f"/proc/{holder.process_id}"),
            undo=Run(("systemctl", "start", unit)),
        )
    # The display manager takes those that draw with it when it stops.
    drawing = isinstance(ground.display, DisplayManager) and ground.display.running
    named = [f"{one.command.rpartition('/')[2]} ({one.process_id})" for one in others]
    if named and not drawing:
        yield Step(
            Manual(f"End the programs that use the GPU: {', '.join(named[:6])}."),
            "A driver cannot be exchanged under programs that use it.",
            Phase.SIMULATE,
            Risk.HIGH,
            root=False,
        )
