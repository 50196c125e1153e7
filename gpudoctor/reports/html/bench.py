"""The result of `bench` as a page: the verdict, then each device with its phases, curves, rates and readings."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpudoctor.bench.report import name_of_rate, versions_of
from gpudoctor.bench.result import BenchResult, DeviceResult, PhaseResult, Status
from gpudoctor.bench.words import amount
from gpudoctor.reports.html.chart import Axis, Curve, chart, finite_points, spanning
from gpudoctor.reports.html.elements import Element, Node, element
from gpudoctor.reports.html.page import page
from gpudoctor.reports.html.pieces import badge, command, listed, pairs, prose, section, table

KINDS = {
    Status.PASSED: "ok",
    Status.WARNED: "warning",
    Status.NOT_MEASURED: "unknown",
    Status.SKIPPED: "skipped",
    Status.FAILED: "error",
}
_READINGS = {
    "sm_mhz": "Clock of the multiprocessors, MHz",
    "memory_mhz": "Clock of the memory, MHz",
    "power_w": "Power, W",
    "temperature_c": "Temperature, °C",
    "utilisation": "Utilisation, %",
}


def as_html(result: BenchResult) -> str:
    """The whole page, with a final line break."""
    word = result.status.value.capitalize()
    about = [
        ("Devices", ", ".join(device.text for device in result.devices if device.text) or "none could be opened"),
        ("Level and seed", f"{result.level}, {result.seed}"),
        ("System", str(result.versions.get("os") or "")),
        ("Began", result.began),
        ("Versions", versions_of(result)),
    ]
    told = f"{result.reason} Nothing was shown, so this is not a pass." if result.exit_code == 3 else result.reason
    opened = [device for device in result.devices if device.home or len(result.devices) > 1]
    return page(
        f"gpudoctor bench: {word}",
        "bench",
        KINDS[result.status],
        word,
        element("p", *prose(told), class_="lede"),
        pairs(((name, value) for name, value in about if value), "machine"),
        *(_device(device, number) for number, device in enumerate(opened)),
        _between(result.between_gpus) if result.between_gpus is not None else None,
        section("Notes", listed(element("span", *prose(note)) for note in result.notes)) if result.notes else None,
        ending=f"took {result.seconds:,.1f} s · exit code {result.exit_code}",
    )


def _device(device: DeviceResult, number: int) -> Element:
    # One that could not be opened has phases that say nothing more.
    phases = [phase for phase in device.phases if device.home or phase.status is not Status.SKIPPED]
    figures = [figure for phase in phases for figure in _figures(phase)]
    return section(
        device.text or "No device",
        _meaning(device),
        table("A row for each phase", ("Phase", "Verdict", "In words"), (_phase(phase) for phase in phases)),
        element("div", *figures, class_="charts") if figures else None,
        *(_rates(phase) for phase in phases if phase.numbers.get("rates")),
        _readings(device.health),
        anchor=f"device-{number}",
    )


def _between(phase: PhaseResult) -> Element:
    return section(
        "Between the GPUs",
        table("The phase between GPUs", ("Phase", "Verdict", "In words"), [_phase(phase)]),
        _rates(phase) if phase.numbers.get("rates") else None,
    )


def _meaning(device: DeviceResult) -> Element | None:
    """The verdict where something is wrong, and where its explanation is to be had."""
    if not device.judgements:
        return None
    kind = KINDS[device.judgements[0].status]
    texts = dict.fromkeys(judgement.text for judgement in device.judgements)
    return element(
        "article",
        element("div", badge(kind, device.judgements[0].status.value), class_="labels"),
        element("h3", *prose(next(iter(texts)))),
        listed(element("span", *prose(text)) for text in list(texts)[1:]) if len(texts) > 1 else None,
        element(
            "div",
            element("h4", "What it means"),
            *(command(f"gpudoctor explain {id}") for id in dict.fromkeys(one.id for one in device.judgements)),
            class_="remedy",
        ),
        class_=f"finding {kind}",
    )


def _phase(phase: PhaseResult) -> tuple[Node, Node, Node]:
    others = [one.text for one in phase.judgements if one.text != phase.reason]
    words = element("p", *prose(phase.reason))
    said = element("div", words, *(element("p", *prose(text)) for text in others))
    return phase.name, badge(KINDS[phase.status], phase.status.value), said


def _figures(phase: PhaseResult) -> Iterator[Element]:
    numbers = phase.numbers
    for curve in numbers.get("curves") or ():
        yield _beside_float64(curve)
    losses, accuracies = numbers.get("losses"), numbers.get("accuracies")
    if isinstance(losses, Sequence) and isinstance(accuracies, Sequence):
        yield _learning(numbers)
        yield _reading(numbers)


def _beside_float64(numbers: Mapping[str, Any]) -> Element:
    here, reference = finite_points(numbers["losses"]), finite_points(numbers["reference"])
    said = f"The loss of {len(numbers['losses'])} steps in {numbers['precision']}, and the same training in float64."
    return chart(
        f"Loss in {numbers['precision']}, beside float64 on the CPU",
        f"{said}{_ends(here, numbers['losses'], 'step')}",
        _steps("step", max(len(numbers["losses"]) - 1, 1), 0),
        _loss_axis([value for _, value in (*here, *reference)]),
        [Curve(numbers["precision"], here), Curve("float64", reference, "reference")],
    )


def _learning(numbers: Mapping[str, Any]) -> Element:
    values = [numbers["untrained_loss"], *numbers["losses"]]
    points = finite_points(values)
    said = f"From {amount(values[0])} before training to {amount(values[-1])} after {len(values) - 1} epochs."
    return chart(
        "Loss while it learns to read digits",
        f"{said}{_ends(points, values, 'epoch')}",
        _steps("epoch", max(len(values) - 1, 1)),
        _loss_axis([value for _, value in points]),
        [Curve("loss", points, marked=True)],
    )


def _reading(numbers: Mapping[str, Any]) -> Element:
    values = [numbers["untrained_accuracy"], *numbers["accuracies"]]
    needed = numbers.get("accuracy_needed")
    return chart(
        f"Share of {numbers['test_images']:,} other digits that it reads",
        f"From {values[0]:.1%} before training to {values[-1]:.1%} after {len(values) - 1} epochs.",
        _steps("epoch", max(len(values) - 1, 1)),
        Axis("", lambda share: f"{share:.0%}", 0.0, 1.0),
        [Curve("read rightly", finite_points(values), marked=True)],
        limit=(f"{needed:.0%}, which is needed to pass", needed) if isinstance(needed, float) else None,
    )


def _steps(label: str, last: int, least: int = 0) -> Axis:
    step = -(-(last - least) // 6)
    return Axis(label, lambda number: f"{number:,.0f}", least, last, tuple(range(least, last + 1, max(step, 1))))


def _loss_axis(values: Sequence[float]) -> Axis:
    ticks = spanning(values)
    return Axis("", amount, ticks[0], ticks[-1], ticks)


def _ends(points: Sequence[object], values: Sequence[object], what: str) -> str:
    return "" if len(points) == len(values) else f" From {what} {len(points)} on it is no number."


def _rates(phase: PhaseResult) -> Element:
    rates = phase.numbers["rates"]
    columns: dict[str, list[Node]] = {
        "Rate": [f"{amount(rate['median'])} {rate['unit']}" for rate in rates],
        "Of its yardstick": [_share(rate) for rate in rates],
        "Clock": [f"{rate['clock_mhz']:,.0f} MHz" if rate.get("clock_mhz") else "" for rate in rates],
        "Size": [str(rate.get("detail") or "") for rate in rates],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    rows = [(name_of_rate(rate), *(cells[place] for cells in columns.values())) for place, rate in enumerate(rates)]
    title = f"Rates of the phase {phase.name}"
    return element("div", element("h3", title), table(title, ("What", *columns), rows, "numbers"), class_="part")


def _share(rate: Mapping[str, Any]) -> Node:
    """As a bar and in words; a rate without a trustworthy yardstick has neither."""
    share = rate.get("share")
    if not isinstance(share, int | float) or not math.isfinite(share):
        return f"model: {amount(rate['modelled'])}" if rate.get("modelled") else "not known"
    filled = min(max(float(share), 0.0), 1.0)
    return element(
        "span",
        element(
            "svg",
            element("rect", class_="track", width=100, height=8, rx=2),
            element("rect", class_="share", width=round(100 * filled, 1), height=8, rx=2),
            class_="bar",
            viewBox="0 0 100 8",
            preserveAspectRatio="none",
            aria_hidden="true",
        ),
        f"{share:.0%} of {amount(rate.get('peak'))}",
    )


def _readings(health: Mapping[str, Any]) -> Element | None:
    rows = [
        (name, *(amount(health[field][part]) for part in ("min", "median", "max")))
        for field, name in _READINGS.items()
        if health.get(field)
    ]
    if not rows:
        return None
    reasons = [f"{name} in {share:.0%}" for name, share in (health.get("reasons") or {}).items()]
    return element(
        "div",
        element("h3", f"What NVML read meanwhile, {health.get('samples', 0):,} times"),
        table("Readings during the run", ("Reading", "Least", "Middle", "Most"), rows, "numbers"),
        element("p", f"What held the clocks, by share of the readings: {', '.join(reasons)}.", class_="note")
        if reasons
        else None,
        class_="part",
    )
