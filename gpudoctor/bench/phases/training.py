"""The training phase: handwritten digits, learned by the usual small net until it reads others that it never saw."""

from __future__ import annotations

from collections.abc import Callable

from gpudoctor.bench.datasets.digits import digits_split
from gpudoctor.bench.devices.device import Device
from gpudoctor.bench.job import Job
from gpudoctor.bench.learning import learn
from gpudoctor.bench.measures import Trained
from gpudoctor.bench.net import Net
from gpudoctor.bench.nodes import Conv, Dense, Flatten, MaxPool, ReLU

ACCURACY_NEEDED = 0.97
LOSS_FALLEN = 0.5  # the share of the untrained net's loss below which the loss counts as fallen
MOST_EPOCHS = 12

# Each of twelve seeds was past ACCURACY_NEEDED within five epochs; the limit above leaves room.
BATCH, RATE, MOMENTUM = 32, 0.03, 0.9


def measure_training(device: Device, job: Job, say: Callable[[str], None]) -> Trained:
    """Trains until the net reads well enough, at most MOST_EPOCHS times through the training set.

    Raises DoesNotTrain at the first loss that is no number, and at the first array that is not on the device.
    """
    training, test = digits_split(job.seed)
    losses: list[float] = []
    accuracies: list[float] = []
    untrained = (0.0, 0.0)
    images, seconds = 0, 0.0
    net = digits_net()
    for epoch in learn(device, net, training, test, seed=job.seed, batch=BATCH, rate=RATE, momentum=MOMENTUM):
        say(f"epoch {epoch.number}: loss {epoch.loss:.3f}, reads {epoch.accuracy:.1%} of the test set")
        if epoch.number == 0:
            untrained = (epoch.loss, epoch.accuracy)
            continue
        losses.append(epoch.loss)
        accuracies.append(epoch.accuracy)
        images, seconds = images + epoch.images, seconds + epoch.seconds
        learned = epoch.loss < LOSS_FALLEN * untrained[0] and epoch.accuracy >= ACCURACY_NEEDED
        if learned or epoch.number == MOST_EPOCHS:
            break
    return Trained(
        len(training.labels), len(test.labels), *untrained, tuple(losses), tuple(accuracies), images / seconds
    )


def digits_net() -> Net:
    """For images (N, 8, 8, 1): two convolutions, a pool, two fully connected nodes."""
    return (
        *(Conv(1, 16), ReLU(), Conv(16, 32), ReLU(), MaxPool()),
        *(Flatten(), Dense(4 * 4 * 32, 64), ReLU(), Dense(64, 10)),
    )
