"""What reading Python environments costs: distributions, ELF facts, growth with their number, and a whole check.

    python benchmarks/scan.py [--torch PREFIX] [--runs N]

Builds environments of 340 distributions in a temporary folder, from the METADATA of the distributions that are
installed here and from generated ones of 2-30 kB. Prints medians beside something that does the same work in the same
run; the goals are milliseconds on a quiet machine. --torch PREFIX: an environment with a real torch.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import distributions as installed_distributions

from gpudoctor.facts.distributions import SitePackages, distributions_in, site_packages
from gpudoctor.facts.framework_libraries import FrameworkLibraries
from gpudoctor.facts.frameworks import FrameworkBuilds
from gpudoctor.facts.python_environments import PythonEnvironments
from gpudoctor.machine import LiveHost
from gpudoctor.registry import Facts, load_plugins

GPUDOCTOR = os.path.join(sysconfig.get_path("scripts"), "gpudoctor")
DISTRIBUTIONS = 340
GROWTH = (1, 5, 10, 25, 50)
# Of each environment some concern the GPU, as in one where torch was installed with its companions.
FRAMEWORK_WHEELS = {
    "torch": "2.9.1",
    "torchvision": "0.24.1",
    "torchaudio": "2.9.1",
    "triton": "3.5.1",
    "nvidia-cublas-cu12": "12.8.4.1",
    "nvidia-cuda-cupti-cu12": "12.8.90",
    "nvidia-cuda-nvrtc-cu12": "12.8.93",
    "nvidia-cuda-runtime-cu12": "12.8.90",
    "nvidia-cudnn-cu12": "9.10.2.21",
    "nvidia-cufft-cu12": "11.3.3.83",
    "nvidia-cusolver-cu12": "11.7.3.90",
    "nvidia-cusparse-cu12": "12.5.8.93",
    "nvidia-nccl-cu12": "2.27.5",
    "nvidia-nvjitlink-cu12": "12.8.93",
    "numpy": "2.3.5",
    "xformers": "0.0.33.post2",
    "accelerate": "1.12.0",
}


def build_environment(prefix: str, seed: int = 0) -> str:
    """A virtual environment as the scan sees one, with 340 distributions; its site-packages folder."""
    chance = random.Random(seed)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    site = os.path.join(prefix, "lib", f"python{version}", "site-packages")
    os.makedirs(site)
    os.makedirs(os.path.join(prefix, "bin"))
    os.symlink(os.path.realpath(sys.executable), os.path.join(prefix, "bin", "python"))
    home = os.path.dirname(os.path.realpath(sys.executable))
    with open(os.path.join(prefix, "pyvenv.cfg"), "w") as file:
        file.write(f"home = {home}\nversion = {sys.version.split()[0]}\n")
    texts = {name: metadata(name, number, chance) for name, number in FRAMEWORK_WHEELS.items()}
    for found in installed_distributions():
        if len(texts) < DISTRIBUTIONS // 4 and (text := found.read_text("METADATA")):
            texts.setdefault(found.metadata["Name"], text)
    while len(texts) < DISTRIBUTIONS:
        name = f"library-{len(texts)}"
        texts[name] = metadata(name, "1.2.3", chance)
    for name, text in texts.items():
        number = text.partition("\nVersion:")[2].partition("\n")[0].strip()
        folder = os.path.join(site, f"{name.replace('-', '_')}-{number}.dist-info")
        os.mkdir(folder)
        for file_name, content in (("METADATA", text), ("INSTALLER", "pip\n"), ("RECORD", f"{name}.py,,\n")):
            with open(os.path.join(folder, file_name), "w", encoding="utf-8") as file:
                file.write(content)
    return site


def metadata(name: str, version: str, chance: random.Random) -> str:
    """Headers of a usual length, the requirements of an application's library, and a README of 2-30 kB."""
    words = ["numpy>=1.26", "torch>=2.4; extra == 'gpu'", "pyyaml", "requests<3,>=2", "typing-extensions>=4.6"]
    words += [f"library-{chance.randrange(400)}>={chance.randrange(9)}.{chance.randrange(9)}" for _ in range(12)]
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", "Summary: What it is for"]
    lines += [f"Classifier: Programming Language :: Python :: 3.{minor}" for minor in range(9, 15)]
    lines += ["License-Expression: Apache-2.0", "Requires-Python: >=3.9"]
    lines += [f"Requires-Dist: {word}" for word in chance.sample(words, chance.randrange(1, 9))]
    lines += ["Description-Content-Type: text/markdown", "", f"# {name}", ""]
    text = "\n".join(lines)
    return text + "A sentence of its README, as they are written.\n" * (chance.randrange(2000, 30000) // 47)


def one_by_importlib(site: str) -> int:
    """The same question put to importlib.metadata: name, version and requirements of each."""
    return sum(
        bool(found.metadata["Name"]) + len(found.requires or ()) for found in installed_distributions(path=[site])
    )


def facts_on(prefixes: list[str]) -> Facts:
    host = LiveHost()
    host.pythons = tuple(prefixes)
    return Facts(host)


def scan(prefixes: list[str]) -> PythonEnvironments:
    return facts_on(prefixes).get(PythonEnvironments)


def milliseconds(work: Callable[[], object], runs: int) -> list[float]:
    """Of each run but the first, which warms up."""
    taken = []
    for turn in range(runs + 1):
        began = time.perf_counter()
        work()
        if turn:
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def elf_facts(prefix: str, runs: int) -> list[float]:
    """FrameworkBuilds and FrameworkLibraries of one environment, without the scan before them."""
    taken = []
    for turn in range(runs + 1):
        facts = facts_on([prefix])
        facts.get(PythonEnvironments)
        began = time.perf_counter()
        facts.get(FrameworkBuilds)
        facts.get(FrameworkLibraries)
        if turn:
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def process(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)


class Rows:
    """Prints one measurement a line, with its goal."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        print(f"{'what':58}{'median ms':>10}{'min':>8}{'max':>8}{'goal':>6}")

    def add(self, what: str, taken: list[float], goal: float | None = None, note: str = "") -> float:
        median = statistics.median(taken)
        late = goal is not None and median > goal
        if late:
            self.missed.append(what)
        shown = "" if goal is None else f"{goal:g}"
        print(f"{what:58}{median:10.1f}{min(taken):8.1f}{max(taken):8.1f}{shown:>6}{' MISSED' if late else ''}{note}")
        return median


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--torch", metavar="PREFIX", help="an environment with a real torch")
    options.add_argument("--runs", type=int, default=15)
    chosen = options.parse_args()
    load_plugins()
    runs = chosen.runs
    folder = tempfile.mkdtemp(prefix="gpudoctor-scan-")
    try:
        prefixes = [os.path.join(folder, f"env{number}") for number in range(max(GROWTH))]
        site = build_environment(prefixes[0])
        for number, prefix in enumerate(prefixes[1:], 1):
            build_environment(prefix, number)
        print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, medians of {runs} runs (fewer of long ones)")
        report(Rows(), prefixes, site, chosen.torch, runs)
    finally:
        shutil.rmtree(folder)
    return 0


def report(rows: Rows, prefixes: list[str], site: str, torch: str | None, runs: int) -> None:
    host = LiveHost()
    listed = site_packages(host, site)
    assert isinstance(listed, SitePackages)
    assert len(listed.folders) == DISTRIBUTIONS
    usual = rows.add(
        f"importlib.metadata, {DISTRIBUTIONS} distributions", milliseconds(lambda: one_by_importlib(site), 5)
    )
    own = rows.add("distributions_in", milliseconds(lambda: distributions_in(host, listed), runs), 15)
    print(f"{'':58}{usual / own:9.0f}x")
    everything = milliseconds(partial(scan, prefixes[:1]), runs)
    rows.add("PythonEnvironments, --python with one", everything, 15)
    if torch:
        rows.add("FrameworkBuilds and FrameworkLibraries of torch", elf_facts(torch, runs), 10)
    each: dict[int, float] = {}
    for number in GROWTH:
        taken = milliseconds(partial(scan, prefixes[:number]), max(5, runs // 3))
        each[number] = rows.add(f"PythonEnvironments, --python with {number}", taken) / number
    print("ms for each environment: " + ", ".join(f"{number}: {cost:.1f}" for number, cost in each.items()))
    bare = rows.add("python -c pass", milliseconds(process(sys.executable, "-c", "pass"), runs))
    for what, prefix in (("340 distributions", prefixes[0]), *((("torch", torch),) if torch else ())):
        check = process(GPUDOCTOR, "check", "--python", prefix)
        cost = rows.add(f"gpudoctor check --python PREFIX ({what})", milliseconds(check, runs), 150)
        print(f"{'':58}{cost / bare:9.1f}x")
    print("goals missed: " + (", ".join(rows.missed) or "none"))


if __name__ == "__main__":
    sys.exit(main())
