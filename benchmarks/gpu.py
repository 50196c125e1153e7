"""Our own nodes through CuPy beside PyTorch with cuDNN, on one GPU in one run.

    python benchmarks/gpu.py [--python PATH] [--gpu N] [--rounds N] [--results FOLDER]

CuPy and PyTorch take turns, each round in the other order, so that a GPU that warms up does so for both; each is the
whole benchmark of the level "default", with its verdict. Printed is the median over the rounds of each rate and of the
ratio, beside its goal; the results of all runs go into FOLDER/<gpu>.json. --python names the Python that has PyTorch.

Exit code 0: all goals are reached. 1: one is missed, or a run found the GPU faulty. 3: nothing could be compared here.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.bench.job import Level, Phase
from gpudoctor.bench.result import BenchResult, Status
from gpudoctor.bench.run import Wanted, run_bench
from gpudoctor.bench.running.gpus import NoSuchGpu

RESULTS = Path(__file__).parent / "results"
PATHS = ("im2col", "shift")  # of CuPy's convolutions, as the details of their rates end

# The least share of PyTorch's rate, by what was timed and its precision.
GOALS = {
    ("training", "fp16"): 0.7,
    ("training", "fp32"): 0.8,
    ("convolution", "fp16"): 0.7,
    ("convolution", "fp32"): 0.8,
    ("product", "fp32"): 0.95,
    ("product", "tf32"): 0.95,
    ("product", "fp16"): 0.95,
    ("product", "bf16"): 0.95,
    ("copy", ""): 0.95,
    ("to device", ""): 0.95,
    ("to host", ""): 0.95,
}

Name = tuple[str, str, str]  # what was timed, precision, path


class Row(NamedTuple):
    """One line of the comparison: medians over the rounds."""

    name: Name
    unit: str
    cupy: float
    torch: float
    ratio: float  # CuPy's rate by PyTorch's
    goal: float | None  # the least ratio, None: for comparison only

    @property
    def reached(self) -> bool:
        """A NaN reaches nothing."""
        return self.goal is None or self.ratio >= self.goal


def rates_of(result: Mapping[str, Any]) -> dict[Name, dict[str, Any]]:
    """The rates of the only device of a run, from its JSON."""
    (device,) = result["devices"]
    speed = next((phase for phase in device["phases"] if phase["phase"] == Phase.THROUGHPUT.value), None)
    rates = {}
    for rate in speed["numbers"].get("rates", ()) if speed else ():
        path = rate["detail"].rpartition(", ")[2]
        rates[rate["what"], rate["precision"], path if path in PATHS else ""] = rate
    return rates


def compare(rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[Row]:
    """The rates that both backends have in every round. The best path of CuPy's is held to the goal."""
    both = [{backend: rates_of(result) for backend, result in one.items()} for one in rounds]
    rows = []
    for name in both[0]["cupy"]:
        pairs = [(one["cupy"].get(name), one["torch"].get((*name[:2], ""))) for one in both]
        found = [(ours["median"], theirs["median"]) for ours, theirs in pairs if ours and theirs]
        # A rate that was no number is null in JSON.
        if len(found) < len(rounds) or not all(one and other for one, other in found):
            continue
        cupy, torch = (statistics.median(side) for side in zip(*found, strict=True))
        ratio = statistics.median(ours / theirs for ours, theirs in found)
        unit = both[0]["cupy"][name]["unit"]
        rows.append(Row(name, unit, cupy, torch, ratio, GOALS.get(name[:2])))
    for row in rows:
        best = max(one.ratio for one in rows if one.name[:2] == row.name[:2])
        yield row if row.ratio == best else row._replace(goal=None)


def missing(rows: Sequence[Row], rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Goals for which there is no row, though one of the backends has the rate."""
    compared = {row.name[:2] for row in rows}
    timed = {name[:2] for one in rounds for result in one.values() for name in rates_of(result)}
    return [" ".join(name).strip() for name in GOALS if name in timed and name not in compared]


def show(rows: Sequence[Row]) -> None:
    """The table, on standard output."""
    print(f"{'':28} {'CuPy':>12} {'PyTorch':>12} {'':10} {'ratio':>6} {'goal':>6}")
    for row in rows:
        name = " ".join(word for word in row.name if word)
        goal = "" if row.goal is None else f"{row.goal:6.2f}{'' if row.reached else '  missed'}"
        print(f"{name:28} {row.cupy:12,.1f} {row.torch:12,.1f} {row.unit:10} {row.ratio:6.2f} {goal}".rstrip())


def file_name(device: Mapping[str, Any]) -> str:
    """ "nvidia-h100-80gb-hbm3.json"."""
    name = (device.get("traits") or {}).get("name") or device["device"]
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".json"


def main() -> int:
    """Returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--python", help="the Python that has PyTorch (default: the first that is found)")
    options.add_argument("--gpu", default="0", help="its number or UUID (default: 0)")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--results", type=Path, default=RESULTS, help="the folder for the JSON")
    given = options.parse_args()
    if given.rounds < 1:
        options.error("--rounds must be 1 or more")
    rounds: list[dict[str, dict[str, Any]]] = []
    faulty = False
    for number in range(given.rounds):
        order = ("cupy", "torch") if number % 2 == 0 else ("torch", "cupy")
        one = {}
        for backend in order:
            result = run(backend, given)
            print(f"round {number + 1}, {backend}: {result.status.value}. {result.reason}", file=sys.stderr, flush=True)
            if result.status is Status.FAILED and result.devices:
                faulty = True
            elif result.status not in (Status.PASSED, Status.WARNED):
                print(f"Nothing was compared: {backend} did not run.", file=sys.stderr)
                return 3
            one[backend] = result.to_json()
        rounds.append({backend: one[backend] for backend in ("cupy", "torch")})
    rows = list(compare(rounds))
    show(rows)
    without = missing(rows, rounds)
    if without:
        print(f"Not compared, because one of the two has no rate: {', '.join(without)}.")
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / file_name(rounds[0]["cupy"]["devices"][0])
    table = [{**row._asdict(), "reached": row.reached} for row in rows]
    path.write_text(json.dumps({"comparison": table, "rounds": rounds}, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {path}")
    return 0 if rows and not faulty and not without and all(row.reached for row in rows) else 1


def run(backend: str, given: argparse.Namespace) -> BenchResult:
    """One run; a GPU that is not there is a run that was skipped."""
    python = given.python if backend == "torch" else None
    wanted = Wanted(backend, Level.DEFAULT, seed=given.seed, gpus=(given.gpu,), python=python)
    try:
        return run_bench(wanted, lambda text: None)
    except NoSuchGpu as why:
        return BenchResult(backend, Level.DEFAULT.value, given.seed, reason=f"{why}.")


if __name__ == "__main__":
    sys.exit(main())
