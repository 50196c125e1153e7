"""The loop that trains: it learns real digits, repeats itself, and stops at what is no training any more."""

import itertools
import math
import time

import numpy
import pytest

from gpudoctor.bench.datasets.digits import digits_split
from gpudoctor.bench.datasets.images import Images
from gpudoctor.bench.devices.cupy_device import import_cupy, open_cupy
from gpudoctor.bench.devices.device import DoesNotTrain, NumpyDevice
from gpudoctor.bench.learning import Epoch, evaluate, learn
from gpudoctor.bench.nodes import Conv, Dense, Dropout, Flatten, MaxPool, ReLU

NET = (
    *(Conv(1, 16), ReLU(), Conv(16, 32), ReLU(), MaxPool()),
    *(Flatten(), Dense(512, 64), ReLU(), Dense(64, 10)),
)
SMALL = (Flatten(), Dense(64, 16), ReLU(), Dropout(0.2), Dense(16, 10))


def epochs(count, *, net=SMALL, device=None, seed=0, training=None, test=None, batch=32, rate=0.03, **more):
    ours, theirs = digits_split(seed)
    run = learn(
        device or NumpyDevice(),
        net,
        training or Images(ours.images[:200], ours.labels[:200]),
        test or Images(theirs.images[:150], theirs.labels[:150]),
        seed=seed,
        batch=batch,
        rate=rate,
        momentum=0.9,
        **more,
    )
    return list(itertools.islice(run, count))


def numbers(told: list[Epoch]):
    """What a run decides, and not the clock."""
    return [(epoch.number, epoch.loss, epoch.accuracy, epoch.images) for epoch in told]


def until_it_reads(net, seed):
    training, test = digits_split(seed)
    run = learn(NumpyDevice(), net, training, test, seed=seed, batch=32, rate=0.03, momentum=0.9)
    told = []
    for epoch in run:
        told.append(epoch)
        if epoch.accuracy >= 0.97 or epoch.number == 12:
            return told


def test_the_cpu_learns_to_read_digits():
    told = until_it_reads(NET, 0)
    assert told[-1].accuracy >= 0.97, told
    assert told[0].accuracy < 0.25  # ten digits: guessing reads one in ten
    assert told[-1].loss < 0.2 * told[0].loss
    assert [epoch.images for epoch in told[1:3]] == [1437 - 32, 1437]  # the first batch is not in the rate
    assert all(epoch.seconds > 0 for epoch in told[1:])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_three_seconds_on_two_cores_are_enough(seed):
    began = time.perf_counter()
    assert until_it_reads(NET, seed)[-1].accuracy >= 0.97
    assert time.perf_counter() - began < 3


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    first, again, other = epochs(4, seed=7), epochs(4, seed=7), epochs(4, seed=8)
    assert numbers(first) == numbers(again)
    assert numbers(first) != numbers(other)


def test_the_last_batch_may_be_smaller_and_every_image_counts():
    together = epochs(2, batch=200)
    parts = epochs(2, batch=150)
    assert parts[1].images == 50
    assert together[1].images == 0  # its only batch was the first
    assert parts[1].loss != together[1].loss


def test_a_look_after_every_third_pass_sees_the_same_training():
    each, third = epochs(7), epochs(3, every=3)
    assert [epoch.number for epoch in third] == [0, 3, 6]
    assert [(epoch.loss, epoch.accuracy) for epoch in third] == [(each[n].loss, each[n].accuracy) for n in (0, 3, 6)]
    assert third[1].images == sum(epoch.images for epoch in each[1:4])


def test_shuffled_labels_are_not_learned():
    training, _ = digits_split(0)
    labels = numpy.random.default_rng(0).permutation(training.labels)
    told = epochs(6, training=Images(training.images, labels))
    assert told[-1].accuracy < 0.4


def test_a_loss_that_leaves_the_numbers_ends_it_at_once(recwarn):
    with pytest.raises(DoesNotTrain, match=r"The loss became (nan|inf) in batch \d+ of epoch \d\."):
        epochs(3, rate=1e12)
    assert not recwarn.list


def test_nan_scores_are_never_right(monkeypatch):
    # argmax gives 0 for a row of NaN: an image of a zero would count as read.
    right = Dense.forward

    def nan(self, xp, x, *parameters):
        y, kept = right(self, xp, x, *parameters)
        return y * numpy.nan, kept

    monkeypatch.setattr(Dense, "forward", nan)
    net = (Flatten(), Dense(64, 10))
    parameters = [(), net[1].initial(numpy.random.default_rng(0))]
    zeros = numpy.zeros(300, dtype="int64")
    loss, accuracy = evaluate(NumpyDevice(), numpy, net, parameters, numpy.ones((300, 8, 8, 1)), zeros)
    assert math.isnan(loss)
    assert accuracy == 0.0


def test_the_mean_over_the_test_set_does_not_depend_on_its_parts():
    # 150 images go through the net as 128 and 22.
    told = epochs(1)[0]
    _, test = digits_split(0)
    apart = [
        epochs(1, test=Images(test.images[part], test.labels[part]))[0] for part in (slice(0, 100), slice(100, 150))
    ]
    assert told.loss == pytest.approx((apart[0].loss * 100 + apart[1].loss * 50) / 150, rel=1e-5)
    assert told.accuracy == pytest.approx((apart[0].accuracy * 100 + apart[1].accuracy * 50) / 150)


def test_a_gpu_learns_what_the_cpu_learns(gpu):
    net = (Conv(1, 4), ReLU(), MaxPool(), Flatten(), Dense(64, 10))
    on_gpu, on_cpu = epochs(2, device=gpu, net=net), epochs(2, net=net)
    assert on_gpu[1].loss == pytest.approx(on_cpu[1].loss, rel=1e-3)
    assert on_gpu[1].accuracy == pytest.approx(on_cpu[1].accuracy, abs=0.02)


@pytest.mark.parametrize(
    ("function", "what"), [("maximum", "the scores of the test images"), ("zeros_like", "the velocities")]
)
def test_an_array_that_came_back_from_the_cpu_is_seen(install_cupy, function, what):
    install_cupy(falls_back=(function,))
    with pytest.raises(DoesNotTrain, match=rf"fell back to the CPU: among {what} there is a numpy\."):
        epochs(2, device=open_cupy(import_cupy()), net=(Flatten(), Dense(64, 10), ReLU()))
