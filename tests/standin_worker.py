"""A child of the benchmark whose CuPy is the stand-in of these tests, and whose sizes are small.

python standin_worker.py [SECOND]    SECOND: what goes wrong on the GPU whose UUID ends in 1
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench.standin_cupy import Gpu, make_cupy, modules_of

from gpudoctor.bench.measuring.timing import Protocol
from gpudoctor.bench.phases import numerics, replay, throughput
from gpudoctor.bench.running import worker

SMALL = throughput.Sizes(Protocol(0.0, 2, 0.0), 96, 1 << 16, 1 << 14, 8, (8, 8), 16, 4)
HEALTHY = {"product": 45.0, "copy": 2900.0, "to device": 26.0, "to host": 26.0, "convolution": 40.0, "training": 3e4}
FASTER = {"tf32": 8.0, "fp16": 16.0, "bf16": 16.0}


def main() -> None:
    second = os.environ["CUDA_VISIBLE_DEVICES"].endswith("1")
    wrong = sys.argv[1] if second and len(sys.argv) > 1 else ""
    gpu = Gpu()
    sys.modules.update(modules_of(make_cupy(gpu), gpu))
    throughput.sizes_for = lambda device, level: SMALL
    replay.ON_GPU = replay.Load((4, 8), 8, 4)
    whole = numerics.numerics_materials

    def shorter(seed: int) -> numerics.Materials:
        materials = whole(seed)
        return materials._replace(
            images=tuple(one[:8] for one in materials.images), labels=tuple(one[:8] for one in materials.labels)
        )

    numerics.numerics_materials = shorter
    timed = throughput.measure_throughput
    # As fast as an H100, which the stand-in takes itself for: its speed is that of this machine.
    throughput.measure_throughput = lambda *given: [
        rate._replace(median=HEALTHY[rate.what] * FASTER.get(rate.precision, 1.0), spread=0.01, modelled=None)
        for rate in timed(*given)
    ]
    if wrong == "crash":
        replay.weights_after = lambda *given: os.abort()
    worker.main()


main()
