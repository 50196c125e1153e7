"""Whether a convolution computes what its definition says: forward, and both ways back, against float64 on the CPU."""

from __future__ import annotations

import numpy

from gpudoctor.bench import net as nets
from gpudoctor.bench.devices.device import Device
from gpudoctor.bench.devices.precision import Precision
from gpudoctor.bench.measuring.noise import dtype_of, filled, noise, repeated, widened
from gpudoctor.bench.measuring.products import Deviation, deviation_of
from gpudoctor.bench.nodes import Node
from gpudoctor.bench.verdicts.rates import ERROR_LIMITS

SHAPE = (16, 32, 32)  # images, rows, columns
_PIXELS = 64


def convolution_deviation(device: Device, conv: Node, channels: int, precision: Precision, seed: int) -> Deviation:
    """Of a 3 x 3 convolution with a padding of 1, from `channels` to as many.

    Compared are Y and dX at 64 random pixels, dW at one random place of the kernel, and db.
    """
    shape = (*SHAPE, channels)
    size = int(numpy.prod(shape))
    (parameters,) = nets.initial_parameters(
        (conv,), device.xp, numpy.random.default_rng([seed, 11]), dtype_of(precision).name
    )
    xp = device.computing_in(precision)
    dy = filled(device, shape, precision, seed, start=size)
    y, kept = conv.forward(xp, filled(device, shape, precision, seed), *parameters)
    dw, db = conv.gradients(xp, dy, kept)
    dx = conv.backward(xp, dy, kept)

    rng = numpy.random.default_rng([seed, 12])
    image, row, column = (rng.integers(0, length, _PIXELS) for length in SHAPE)
    u, v = (int(number) for number in rng.integers(0, 3, 2))
    block = noise(seed, precision)
    x_right, dy_right = (
        widened(repeated(block, start, size), precision).astype("float64").reshape(shape) for start in (0, size)
    )
    w, b = (device.to_host(widened(one, precision)).astype("float64") for one in parameters)
    wide, d_wide = (numpy.pad(one, ((0, 0), (1, 1), (1, 1), (0, 0))) for one in (x_right, dy_right))
    y_right = b + sum(wide[image, row + p, column + q] @ w[p, q] for p in range(3) for q in range(3))
    dx_right = sum(d_wide[image, row + 2 - p, column + 2 - q] @ w[p, q].T for p in range(3) for q in range(3))
    reached = wide[:, u : u + SHAPE[1], v : v + SHAPE[2]].reshape(-1, channels)
    dw_right = reached.T @ dy_right.reshape(-1, channels)

    at = tuple(device.xp.asarray(index) for index in (image, row, column))
    found = [device.to_host(one) for one in (y[at], dx[at], dw[u, v], db)]
    return deviation_of(
        list(zip(found, [y_right, dx_right, dw_right, dy_right.sum(axis=(0, 1, 2))], strict=True)),
        ERROR_LIMITS[precision.value],
    )
