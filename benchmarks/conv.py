"""Training images per second of the benchmark's own nodes on NumPy, beside CPU torch on the same net in the same run.

    python benchmarks/conv.py [--batch N ...] [--rounds N] [--threads N]

The net is conv 16, conv 32, pool, dense 64, dense 10 for images of 8 x 8 x 1, in float32, with momentum. NumPy and
torch take turns in short rounds, the order changing each time, so that a busy machine disturbs both alike. The rate of
a round is that of its median step. Printed are the medians over the rounds, the median, lowest and highest of the
rounds' ratios, and the ratio of the fastest steps. Two threads beside other work wait for each other: then only the
last means something. Without torch the NumPy column stands alone. Exit status 1 when a goal was missed.
"""

import argparse
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

# Read by OpenBLAS, MKL and OpenMP when they are loaded, which happens when numpy is imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SIZE, CLASSES, WIDTHS, HIDDEN = 8, 10, (16, 32), 64
RATE, MOMENTUM = 0.05, 0.9
STEPS_BEFORE_THE_CLOCK = 3
GOALS = {32: 1.0, 256: 0.4}


def numpy_step(batch: int) -> Callable[[], float]:
    """One step of training on the same random images each time; it gives the loss."""
    import numpy

    from gpudoctor.bench import net as nets
    from gpudoctor.bench.devices.device import NumpyDevice
    from gpudoctor.bench.nodes import Conv, Dense, Flatten, MaxPool, ReLU, SoftmaxCrossEntropy

    NumpyDevice()  # it also prepares the process, as in the benchmark itself
    first, second = WIDTHS
    net: nets.Net = (
        *(Conv(1, first), ReLU(), Conv(first, second), ReLU(), MaxPool()),
        *(Flatten(), Dense(second * (SIZE // 2) ** 2, HIDDEN), ReLU(), Dense(HIDDEN, CLASSES)),
    )
    end = SoftmaxCrossEntropy()
    rng = numpy.random.default_rng(0)
    images = rng.standard_normal((batch, SIZE, SIZE, 1)).astype("float32")
    labels = rng.integers(0, CLASSES, batch)
    parameters = nets.initial_parameters(net, numpy, rng, "float32")
    velocities = nets.zeros_like(numpy, parameters)

    def step() -> float:
        went = nets.forward(net, numpy, images, parameters)
        loss, kept = end.forward(numpy, went.scores, labels)
        back = nets.backward(net, numpy, went, end.backward(numpy, kept))
        nets.momentum_step(parameters, velocities, back.parameters, rate=RATE, momentum=MOMENTUM)
        return float(loss)

    return step


def torch_step(torch: Any, batch: int) -> Callable[[], float]:
    """The same for torch."""
    first, second = WIDTHS
    nn = torch.nn
    net = nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.Conv2d(first, second, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(second * (SIZE // 2) ** 2, HIDDEN), nn.ReLU()),
        nn.Linear(HIDDEN, CLASSES),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    torch.manual_seed(0)
    images, labels = torch.randn(batch, 1, SIZE, SIZE), torch.randint(0, CLASSES, (batch,))

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def step_times(step: Callable[[], float], seconds: float) -> list[float]:
    """Seconds of each step of those that fit into the time, five at least."""
    for _ in range(STEPS_BEFORE_THE_CLOCK):
        step()
    taken: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(taken) < 5:
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return taken


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--batch", type=int, nargs="+", default=sorted(GOALS), metavar="N")
    options.add_argument("--rounds", type=int, default=30, metavar="N")
    options.add_argument("--seconds", type=float, default=0.15, help="of each of the two in each round")
    options.add_argument("--threads", type=int, default=2, metavar="N")
    chosen = options.parse_args()
    for name in THREAD_VARIABLES:
        os.environ[name] = str(chosen.threads)
    import numpy

    torch = None
    try:
        torch = importlib.import_module("torch")
        torch.set_num_threads(chosen.threads)
    except ImportError:
        print("torch cannot be imported here: NumPy is timed alone, without a ratio.")
    beside = f", torch {torch.__version__}" if torch else ""
    print(f"Python {sys.version.split()[0]}, numpy {numpy.__version__}{beside}, {chosen.threads} threads")
    print(f"{'batch':>6}{'numpy images/s':>16}", end="")
    print(f"{'torch images/s':>16}{'ratio':>8}{'from':>8}{'to':>8}{'best':>8}{'goal':>6}" if torch else "")
    missed = False
    for batch in chosen.batch:
        steps = [numpy_step(batch)] + ([torch_step(torch, batch)] if torch else [])
        medians: list[list[float]] = [[] for _ in steps]
        fastest = [float("inf") for _ in steps]
        for turn in range(chosen.rounds):
            for index in sorted(range(len(steps)), reverse=turn % 2 == 1):
                taken = step_times(steps[index], chosen.seconds)
                medians[index].append(statistics.median(taken))
                fastest[index] = min(fastest[index], *taken)
        rates = [batch / statistics.median(times) for times in medians]
        line = f"{batch:6}" + "".join(f"{rate:16,.0f}" for rate in rates)
        if torch:
            ratios = [other / own for own, other in zip(*medians, strict=True)]
            ratio, goal = statistics.median(ratios), GOALS.get(batch)
            line += f"{ratio:8.2f}{min(ratios):8.2f}{max(ratios):8.2f}{fastest[1] / fastest[0]:8.2f}"
            if goal is not None:
                line += f"{goal:6.1f}" + (" MISSED" if ratio < goal else "")
                missed = missed or ratio < goal
        print(line, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
