"""How long a package manager waits for its hooks where no GPU package is touched, beside bare Python, in one run.

    python benchmarks/hook.py [--runs N] [--packages N]

Prints medians and the ratio to bare Python, for a transaction of that many packages. The goal is 300 ms.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from gpudoctor.hooks.upgrade_note import read

OWN = (sys.executable, "-I", "-m", "gpudoctor")
GOAL_MS = 300


class Call(NamedTuple):
    """A command, and what it reads."""

    argv: tuple[str, ...]
    text: str = ""
    goal: int | None = None


def transaction(packages: int) -> str:
    """As apt tells its hooks of an upgrade of so many packages, each to be unpacked and to be configured."""
    names = [f"library-of-some-length-{number}" for number in range(packages)]
    settings = "".join(f"APT::Setting::{number}=value%20{number}\n" for number in range(400))
    lines = [
        f"{name} 1:2.36-9+deb12u{number % 9} amd64 same < 1:2.36-9+deb12u10 amd64 same"
        for number, name in enumerate(names)
    ]
    places = [f"{line} /var/cache/apt/archives/{name}.deb" for line, name in zip(lines, names, strict=True)]
    ends = [f"{line} **CONFIGURE**" for line in lines]
    return f"VERSION 3\n{settings}\n" + "\n".join(places + ends) + "\n"


def calls(packages: int) -> dict[str, Call]:
    found = {
        "python -c pass": Call((sys.executable, "-c", "pass")),
        "python -I -m gpudoctor --version": Call((*OWN, "--version")),
        f"hook run apt-before, {packages} packages": Call(
            (*OWN, "hook", "run", "apt-before"), transaction(packages), GOAL_MS
        ),
    }
    if read() is None:  # else it would take the note of an upgrade that is under way
        found["hook run apt-after"] = Call((*OWN, "hook", "run", "apt-after"), "", GOAL_MS)
    return found


def milliseconds(call: Call) -> float:
    began = time.perf_counter()
    done = subprocess.run(call.argv, input=call.text.encode(), capture_output=True, check=False)
    taken = (time.perf_counter() - began) * 1000
    assert (done.returncode, done.stderr) == (0, b""), done
    return taken


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--runs", type=int, default=15)
    options.add_argument("--packages", type=int, default=500)
    chosen = options.parse_args()
    measured = calls(chosen.packages)
    times: dict[str, list[float]] = {name: [] for name in measured}
    for turn in range(chosen.runs + 1):  # in turn, so that a slow moment of the machine hits all of them
        for name, call in measured.items():
            taken = milliseconds(call)
            if turn:  # the first is the warm-up
                times[name].append(taken)
    bare = statistics.median(times["python -c pass"])
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, medians of {chosen.runs} runs")
    print(f"{'call':44}{'median ms':>10}{'x bare':>8}{'min':>7}{'max':>7}{'goal':>6}")
    for name, walls in times.items():
        median, goal = statistics.median(walls), measured[name].goal
        row = f"{name:44}{median:10.0f}{median / bare:8.1f}{min(walls):7.0f}{max(walls):7.0f}{goal or '':>6}"
        print(f"{row}{' MISSED' if goal and median > goal else ''}")


if __name__ == "__main__":
    main()
