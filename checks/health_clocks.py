"""Clocks that are held back while a GPU works: by heat, by a power supply, or by a limit that somebody set."""

from collections.abc import Iterator

from gpudoctor import Evidence, Finding, NotApplicable, Severity, Unavailable, check, hint
from gpudoctor.facts.answers import Nvml
from gpudoctor.facts.pci import PciGpus
from gpudoctor.facts.system import Confinement

from ._health import Watched, watched

# Bits of NVML's clocks event reasons (nvml.h).
_IDLE, _POWER_CAP, _SLOWDOWN, _HEAT, _HARDWARE_HEAT, _POWER_BRAKE = 0x1, 0x4, 0x8, 0x20, 0x40, 0x80
_LOAD = 10  # percent of the time with a kernel on the GPU; below it clocks come and go


@check(
    "health.thermal-throttle",
    severity=Severity.WARNING,
    after=["driver.nvml-failed", "health.fallen-off-bus"],
    symptoms=[
        r"(HW|SW|Hardware|Software) (Thermal Slowdown|Slowdown Thermal)\s*(:|is)? Active",
        r"(Hw|Sw)ThermalSlowdown",
        r"\b(clocks? (event|throttling) due to|there were) thermal violations?\b",  # DCGM's health and diag
        hint(r"\bthermal(ly)? throttl|throttl\w+ (because|due)\b.{0,30}(heat|temperature)"),
        hint(r"HW Slowdown\s*: Active"),
        r"Thermal violations totaling|Temperature \d+ of \S+ \d+ exceeded user-specified maximum",
    ],
)
def thermal_throttle(nvml: Nvml, gpus: PciGpus | Unavailable, confinement: Confinement) -> Iterator[Finding]:
    """A GPU is too hot, and its clocks are held back while it works.

    What: Above its highest temperature for work a GPU lowers its clocks, and at its limit halves them. Nothing breaks,
    but everything takes longer. It is judged only while the GPU works: at rest clocks are low anyway.

    Proof: NVML's clocks event reasons (SwThermalSlowdown, HwThermalSlowdown) of a GPU under load, and its temperature.

    Repair: Clean fans and filters, see that fans turn and air gets in, give it room to its neighbours, cool the room.
    A laptop: raise it from the table. Not a matter of driver packages.

    Reference: nvml.h, nvmlClocksEventReasons, https://docs.nvidia.com/deploy/nvml-api/
    """
    own = watched(gpus, nvml, confinement)
    for address, mask in _working(own).items():
        if mask & (_HEAT | _HARDWARE_HEAT):
            grade = own.value(address, "temperature_c")
            at = f" at {grade} °C" if isinstance(grade, int) else ""
            yield Finding(
                f"{own.label(address)} holds its clocks back because it is too hot{at}.",
                address,
                _evidence(own, address),
                own.on_the_host(
                    "Clean fans and filters, see that the fans turn and that air gets in, and give it room to its "
                    "neighbours; then run `gpudoctor bench`, which measures the clocks under load."
                ),
            )


@check(
    "health.power-throttle",
    severity=Severity.WARNING,
    after=["driver.nvml-failed", "health.fallen-off-bus", "health.thermal-throttle"],
    symptoms=[
        r"(HW|Hardware) Power Brake( Slowdown)?\s*(:|is) Active",
        r"HwPowerBrakeSlowdown",
        r"\bclocks? (event|throttling) due to power violation",
        hint(r"HW Slowdown\s*: Active"),
        hint(r"\b(SW|Software) Power Cap is Active"),  # in prose: a busy GPU has ": Active"
        r"did not reach desired power minimum|Enforced power limit on GPU \d+ set to .{1,20} too low",
    ],
)
def power_throttle(nvml: Nvml, gpus: PciGpus | Unavailable, confinement: Confinement) -> Iterator[Finding]:
    """A GPU's clocks are held back while it works, by its power supply or by a limit below its own.

    What: A power supply, a cable or the rack's control can tell a GPU to slow down (power brake): that should not be.
    That a GPU under full load stays at its power limit (SwPowerCap) is normal, and no finding, unless somebody has
    set the limit below the one that it came with.

    Proof: NVML's clocks event reasons of a GPU under load (HwPowerBrakeSlowdown, HwSlowdown, SwPowerCap), and its
    power limit against its default.

    Repair: Power brake: look at power cables, the supply and the rack's limit. Limit: `sudo nvidia-smi -i N -pl WATTS`
    gives the default back, where nobody wants it lower.

    Reference: nvml.h, nvmlClocksEventReasons, https://docs.nvidia.com/deploy/nvml-api/
    """
    own = watched(gpus, nvml, confinement)
    for address, mask in _working(own).items():
        label = own.label(address)
        limit, default = own.value(address, "power_limit_w"), own.value(address, "power_limit_default_w")
        if mask & _POWER_BRAKE:
            yield Finding(
                f"{label} is told by the power supply to hold its clocks back (power brake).",
                address,
                _evidence(own, address),
                own.on_the_host(
                    "Look at the GPU's power cables, the power supply (are all units of it up?) and the limit that the "
                    "rack or the firmware sets."
                ),
            )
        elif mask & _SLOWDOWN and not mask & (_HEAT | _HARDWARE_HEAT):
            yield Finding(
                f"{label} holds its clocks back, and does not say whether for heat or for power.",
                address,
                _evidence(own, address),
                own.on_the_host("Look at temperature and power cables, if it lasts: `nvidia-smi -q -d PERFORMANCE`."),
                Severity.INFO,
            )
        elif mask & _POWER_CAP and isinstance(limit, float) and isinstance(default, float) and limit < default - 0.5:
            restore = f"`sudo nvidia-smi -i {own.answers[address].number} -pl {default:.0f}`"
            yield Finding(
                f"{label} stays at a power limit of {limit:.0f} W, which is below its own of {default:.0f} W.",
                address,
                _evidence(own, address),
                own.on_the_host(f"If nobody wants it so, {restore} gives it back."),
                Severity.INFO,
            )


def _working(own: Watched) -> dict[str, int]:
    """The reasons of the GPUs that work now. Raises NotApplicable where none does, or none tells."""
    told: dict[str, int] = {}
    working: dict[str, int] = {}
    for address in sorted(own.answers):
        mask, load = own.value(address, "clocks_event_reasons"), own.value(address, "utilization_percent")
        if isinstance(mask, int):
            told[address] = mask
            if not mask & _IDLE and (not isinstance(load, int) or load >= _LOAD):
                working[address] = mask
    if not told:
        raise NotApplicable("NVML does not tell what holds the clocks of a GPU here")
    if not working:
        raise NotApplicable("no GPU works now, and at rest clocks are low: `gpudoctor bench` looks at them under load")
    return working


def _evidence(own: Watched, address: str) -> tuple[Evidence, ...]:
    number = own.answers[address].number
    names = own.value(address, "clocks_event_reason_names")
    mask = own.value(address, "clocks_event_reasons")
    words = ", ".join(map(str, names)) if isinstance(names, list) else ""
    shown = [Evidence(f"NVML, GPU {number}, clocks event reasons", f"{mask:#x} {words}".strip())]
    for field, unit in (("utilization_percent", "%"), ("temperature_c", "°C"), ("power_w", "W")):
        value = own.value(address, field)
        if value is not None:
            shown.append(Evidence(f"NVML, GPU {number}, {field.rpartition('_')[0]}", f"{value} {unit}"))
    return tuple(shown)
