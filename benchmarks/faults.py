"""How often replay and checksum find silent faults of a device, counted over many runs with one fault each.

    python benchmarks/faults.py [--runs N]

A fault is put into one random matrix product of a small training (or into all of them: permanent). `replay`: the hash
of the weights is not that of a healthy run. `checksum`: a product does not fit its column sums. `not finite`: what a
check for NaN and infinity alone would have seen. `loss`: the share of runs whose loss moved by more than 1 % at any
step, as somebody who watches the curve might see.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the faults are those of the tests

import faulty_devices as faults

from gpudoctor.bench import net as nets
from gpudoctor.bench.datasets.glyphs import CLASSES, SIZE, draw
from gpudoctor.bench.devices.device import NumpyDevice
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.measuring.checksum import RESIDUAL_LIMIT, Checked
from gpudoctor.bench.nodes import SoftmaxCrossEntropy
from gpudoctor.bench.phases.replay import MOMENTUM, RATE, hash_of

STEPS, BATCH = 20, 32

KINDS: dict[str, tuple[faults.Fault, bool]] = {
    "low mantissa bit": (faults.low_bit, False),
    "high mantissa bit": (faults.high_bit, False),
    "exponent bit": (faults.exponent_bit, False),
    "one element zero": (faults.zero_element, False),
    "a tile of zeros": (faults.zero_tile, False),
    "a tile loses the last quarter of K": (faults.last_part_of_k, False),
    "permanent: bit 13 stuck in a tile": (faults.stuck_bit, True),
    "permanent: a tile loses the last quarter of K": (faults.last_part_of_k, True),
}


def train(device: NumpyDevice) -> tuple[str, float, numpy.ndarray[Any, Any]]:
    """The hash of the weights after the training, the worst residual of its products, and its losses."""
    xp = Checked(device.computing_in(Precision.FP32))
    net = nets.smooth_net(SIZE, CLASSES, (8, 16), 32)
    glyphs = draw(STEPS * BATCH, [5])
    parameters = nets.initial_parameters(net, numpy, numpy.random.default_rng(3), "float32")
    velocities = nets.zeros_like(numpy, parameters)
    end = SoftmaxCrossEntropy()
    losses = []
    for start in range(0, STEPS * BATCH, BATCH):
        went = nets.forward(net, xp, glyphs.images[start : start + BATCH], parameters)
        loss, kept = end.forward(xp, went.scores, glyphs.labels[start : start + BATCH])
        losses.append(float(loss))
        back = nets.backward(net, xp, went, end.backward(xp, kept))
        nets.momentum_step(parameters, velocities, back.parameters, rate=RATE, momentum=MOMENTUM)
    return hash_of(device, [one for own in parameters for one in own]), xp.residual, numpy.array(losses)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--runs", type=int, default=150)
    runs = options.parse_args().runs
    counting = faults.FaultyDevice(faults.zero_element, at=-1)
    healthy, residual, curve = train(counting)
    print(f"{counting.products} products a training, {runs} runs a fault; healthy residual {residual:.1e}")
    print(f"{'per cent found by':48}{'replay':>8}{'checksum':>10}{'loss 1 %':>10}{'not finite':>12}")
    rng = numpy.random.default_rng(1)
    for name, (fault, permanent) in KINDS.items():
        counts = numpy.zeros(4)
        for run in range(runs if not permanent else max(1, runs // 5)):
            at = None if permanent else int(rng.integers(counting.products))
            with numpy.errstate(all="ignore"):
                found, worst, losses = train(faults.FaultyDevice(fault, at, run))
            finite = bool(numpy.isfinite(losses).all())
            moved = not finite or bool((abs(losses - curve) / curve).max() > 0.01)
            counts += [found != healthy, not worst <= RESIDUAL_LIMIT, moved, not finite]
        shares = 100 * counts / (run + 1)
        print(f"{name:48}{shares[0]:8.0f}{shares[1]:10.0f}{shares[2]:10.0f}{shares[3]:12.0f}", flush=True)


if __name__ == "__main__":
    main()
