"""How long gpudoctor takes as a whole process, beside bare Python and the collectors that people use, in one run.

    python benchmarks/startup.py [--runs N]

Prints medians, the ratio to bare Python and the peak memory. Commands that are not installed are left out.
"""

import argparse
import os
import statistics
import sys
import sysconfig
import time

GPUDOCTOR = os.path.join(sysconfig.get_path("scripts"), "gpudoctor")

COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "gpudoctor --version": (GPUDOCTOR, "--version"),
    "gpudoctor --help": (GPUDOCTOR, "--help"),
    "gpudoctor check": (GPUDOCTOR, "check"),
    "gpudoctor check --format json": (GPUDOCTOR, "check", "--format", "json"),
    "python -m torch.utils.collect_env": (sys.executable, "-m", "torch.utils.collect_env"),
}
GOALS_MS = {"gpudoctor --version": 40, "gpudoctor --help": 120, "gpudoctor check": 120}


def measure(argv: tuple[str, ...]) -> tuple[float, float, int]:
    """Wall milliseconds, peak MiB and exit code of one run, from the kernel's own accounting of the process."""
    with open(os.devnull, "r+b") as null:
        began = time.perf_counter()
        process = os.posix_spawn(
            argv[0],
            argv,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, null.fileno(), number) for number in range(3)],
        )
        _, status, usage = os.wait4(process, 0)
    return (time.perf_counter() - began) * 1000, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--runs", type=int, default=15)
    runs = options.parse_args().runs
    from importlib.util import find_spec

    commands = {name: argv for name, argv in COMMANDS.items() if "torch" not in name or find_spec("torch")}
    times: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, float] = {}
    for turn in range(runs + 1):  # in turn, so that a slow moment of the machine hits all of them
        for name, argv in commands.items():
            if "collect_env" in name and turn > 3:
                continue
            wall, peak, _ = measure(argv)
            if turn:  # the first is the warm-up
                times[name].append(wall)
                peaks[name] = max(peak, peaks.get(name, 0))
    bare = statistics.median(times["python -c pass"])
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, medians of {runs} runs (collect_env: 3)")
    print(f"{'command':36}{'median ms':>10}{'x bare':>8}{'min':>7}{'max':>7}{'MiB':>6}{'goal':>6}")
    for name, walls in times.items():
        median = statistics.median(walls)
        goal = GOALS_MS.get(name, "")
        row = f"{name:36}{median:10.0f}{median / bare:8.1f}{min(walls):7.0f}{max(walls):7.0f}"
        print(f"{row}{peaks[name]:6.0f}{goal:>6}")


if __name__ == "__main__":
    main()
