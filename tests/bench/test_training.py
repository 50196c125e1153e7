"""The whole benchmark on the CPU: it passes, it repeats itself, and it fails when there is nothing to learn."""

import json
import math

import numpy
import pytest

from gpudoctor.bench import glyphs, nodes, run, training
from gpudoctor.bench.gradient_check import LIMIT
from gpudoctor.bench.nodes import ReLU
from gpudoctor.bench.run import run_bench


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_cpu_trains(seed):
    said = []
    result = run_bench("numpy", seed=seed, progress=said.append)
    assert (result.status.value, result.exit_code) == ("passed", 0), result.reason
    assert result.test_accuracy >= 0.95
    assert result.train_loss < result.losses[0] < result.untrained_loss
    assert 0.02 < result.untrained_accuracy < 0.25  # ten digits: guessing reads one in ten
    assert 0 < result.gradient_error < LIMIT
    assert result.images_per_second > 0
    assert result.epochs == len(result.accuracies) <= run.MOST_EPOCHS
    assert result.device == f"CPU (numpy {numpy.__version__})"
    assert result.backend == "numpy"
    assert result.seed == seed
    assert "nothing about a GPU" in result.reason
    assert len(said) == 2 + 1 + result.epochs
    assert result.versions["numpy"] == numpy.__version__
    assert set(result.versions) == {"gpudoctor", "python", "numpy", "os"}


@pytest.fixture
def small(monkeypatch):
    """A run that ends soon and learns too little to pass."""
    monkeypatch.setattr(run, "TRAINING_IMAGES", 300)
    monkeypatch.setattr(run, "TEST_IMAGES", 100)
    monkeypatch.setattr(run, "MOST_EPOCHS", 3)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(small):
    first, again, other = run_bench("numpy", seed=7), run_bench("numpy", seed=7), run_bench("numpy", seed=8)
    assert (first.losses, first.accuracies) == (again.losses, again.accuracies)
    assert first.losses != other.losses
    assert len(first.losses) == 3


def test_shuffled_labels_cannot_be_learned(small, monkeypatch):
    right = glyphs.draw

    def shuffled(count, seed):
        drawn = right(count, seed)
        return drawn._replace(labels=numpy.random.default_rng(seed).permutation(drawn.labels))

    monkeypatch.setattr(glyphs, "draw", shuffled)
    monkeypatch.setattr(run, "MOST_EPOCHS", 12)
    result = run_bench("numpy")
    assert (result.status.value, result.exit_code) == ("failed", 2)
    assert result.epochs == 12
    assert result.test_accuracy < 0.5
    assert "does not learn" in result.reason
    assert "95%" in result.reason


def test_a_loss_that_leaves_the_numbers_fails_at_once(monkeypatch, recwarn):
    monkeypatch.setattr(training, "RATE", 1e12)
    result = run_bench("numpy")
    assert (result.status.value, result.exit_code) == ("failed", 2)
    assert "The loss became" in result.reason
    assert "of epoch 1" in result.reason
    assert result.losses == []
    assert not recwarn.list


def test_nan_scores_are_never_right(monkeypatch):
    # argmax gives 0 for a row of NaN: an image of a zero would count as read.
    right = nodes.Dense.forward

    def nan_for_zeros(self, xp, x, *parameters):
        y, kept = right(self, xp, x, *parameters)
        return y * numpy.nan, kept

    monkeypatch.setattr(nodes.Dense, "forward", nan_for_zeros)
    labels = numpy.zeros(4, dtype="int64")
    net = (nodes.Flatten(), nodes.Dense(16 * 16, 10))
    parameters = [(), net[1].initial(numpy.random.default_rng(0))]
    images = numpy.ones((4, 16, 16, 1))
    loss, accuracy = training.evaluate(run.open_numpy(), net, parameters, images, labels)
    assert math.isnan(loss)
    assert accuracy == 0.0


def test_wrong_gradients_fail_before_training(monkeypatch):
    monkeypatch.setattr(ReLU, "backward", lambda self, xp, dy, kept: dy)
    result = run_bench("numpy")
    assert (result.status.value, result.exit_code) == ("failed", 2)
    assert "ReLU" in result.reason
    assert result.untrained_loss is None


def test_a_nan_gradient_fails_and_the_json_stays_json(monkeypatch):
    monkeypatch.setattr(ReLU, "backward", lambda self, xp, dy, kept: dy * numpy.nan)
    result = run_bench("numpy")
    assert result.exit_code == 2
    told = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert told["gradient_check"]["errors"]["ReLU"] is None
    assert told["gradient_check"]["worst_error"] is None
    assert told["gradient_check"]["errors"]["Dense"] < LIMIT


@pytest.mark.parametrize("arguments", [{"backend": "torch"}, {"seed": -1}])
def test_what_the_caller_got_wrong_is_an_exception(arguments):
    with pytest.raises(ValueError, match="must be"):
        run_bench(**arguments)


def test_glyphs_are_seven_segment_digits():
    shapes = glyphs.digit_shapes()
    assert len({shape.tobytes() for shape in shapes}) == 10
    assert (shapes <= shapes[8]).all()  # an eight lights every segment
    assert shapes[1][:, :5].sum() == 0  # a one only those on the right
    assert shapes[7].sum() > shapes[1].sum()
    assert shapes[0][5, 3] == 0 < shapes[8][5, 3]


def test_glyphs_repeat_with_their_seed_and_differ_between_the_sets():
    first, again, other = glyphs.draw(50, [3, 0]), glyphs.draw(50, [3, 0]), glyphs.draw(50, [3, 1])
    assert first.images.shape == (50, 16, 16, 1)
    assert (first.images.dtype, first.labels.dtype) == (numpy.float32, numpy.int64)
    assert (first.images == again.images).all()
    assert (first.labels == again.labels).all()
    assert not (first.images == other.images).any()
    assert set(glyphs.draw(300, [0]).labels.tolist()) == set(range(10))
