"""The gradients of every node agree with differences; and the check sees a backward pass that is one per cent off."""

import itertools
import math
import sys

import numpy
import pytest

from gpudoctor.bench import net as nets
from gpudoctor.bench import nodes
from gpudoctor.bench.gradient_check import (
    JOINTS,
    LIMIT,
    LOSSES,
    NODES,
    branch_error,
    gradient_errors,
    joint_error,
    largest_relative_difference,
    loss_error,
    net_error,
    node_error,
)
from gpudoctor.bench.nodes import (
    Add,
    AveragePool,
    Branch,
    Branches,
    Conv,
    Conv1d,
    Dense,
    Dropout,
    MatMul,
    MaxPool,
    ReLU,
    SiLU,
    SoftmaxCrossEntropy,
)

NAMES = [f"{type(node).__name__}{number}" for number, (node, _) in enumerate(NODES)]
NETS = {
    "relu": nets.relu_net(8, 10, widths=(2, 3), hidden=4),
    "smooth": nets.smooth_net(8, 10, widths=(2, 3), hidden=4),
}


def test_every_node_has_its_entry_and_none_is_above_the_limit():
    errors = gradient_errors(numpy)
    kinds = {name for name in nodes.__all__ if isinstance(getattr(nodes, name), type)}
    assert kinds - {"Joint", "Kept", "Node", "WithoutParameters"} == set(errors) - {"ReLU net", "smooth net"}
    assert max(errors.values()) < LIMIT
    assert min(errors.values()) > 0


def test_every_node_computes_with_arrays_that_refuse_to_mix_with_numpys(install_cupy):
    install_cupy()
    errors = gradient_errors(sys.modules["cupy"])
    assert max(errors.values()) < LIMIT


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (Conv(1, 2, 3, 0), (2, 6, 5, 1)),
        (Conv(2, 2, 1, 0), (2, 3, 2, 2)),
        (Conv(2, 1, 5, 2), (2, 6, 5, 2)),
        (Conv(1, 1, 3, 2), (2, 4, 5, 1)),
        (Conv(2, 3, 3, 1, 2), (2, 6, 5, 2)),
        (Conv(2, 3, 1, 0, 2), (2, 4, 3, 2)),
        (Conv(1, 2, 2, 4, 3), (2, 4, 3, 1)),  # patches of nothing but padding
        (Conv(1, 2, 3, 0), (2, 3, 3, 1)),  # a single patch
        (Conv1d(2, 3, 2, 3, 2), (2, 4, 2)),
        (Conv1d(1, 2, 5, 0, 2), (2, 8, 1)),  # the last number is in no patch
        (MaxPool(2, 3), (2, 7, 8, 2)),
        (MaxPool(3, 1), (1, 4, 5, 2)),
        (MaxPool(1), (1, 2, 3, 2)),
        (MaxPool(3, 2), (2, 9, 2)),  # sequences
        (AveragePool(2, 3), (2, 7, 8, 2)),
        (AveragePool(2, 1), (2, 5, 3)),
        (Branches(((), ()), Add()), (2, 3)),
        (Branches(((Branches(((Dense(3, 3),), ()), Add()), SiLU()), ()), Add()), (4, 3)),
    ],
    ids=repr,
)
def test_gradients_of_other_sizes(node, shape):
    assert node_error(numpy, node, shape) < LIMIT


def test_gradients_of_a_whole_net_with_dropout():
    net = (Conv(1, 2), SiLU(), Dropout(0.3), AveragePool(4), nodes.Flatten(), Dense(8, 5), Dropout(0.5), Dense(5, 10))
    assert net_error(numpy, net, step=3) < LIMIT


@pytest.mark.parametrize(("node", "shape"), NODES, ids=NAMES)
def test_the_check_sees_a_backward_pass_that_is_one_percent_off(node, shape, monkeypatch):
    right = type(node).backward
    monkeypatch.setattr(type(node), "backward", lambda *args: 1.01 * right(*args))
    assert node_error(numpy, node, shape) > LIMIT


@pytest.mark.parametrize("joint", JOINTS, ids=repr)
@pytest.mark.parametrize("side", [0, 1])
def test_the_check_sees_a_joint_that_is_one_percent_off_on_one_side(joint, side, monkeypatch):
    right = type(joint).backward

    def off(*args):
        both = list(right(*args))
        both[side] = 1.01 * both[side]
        return tuple(both)

    monkeypatch.setattr(type(joint), "backward", off)
    assert joint_error(numpy, joint) > LIMIT
    within = next(((node, shape) for node, shape in NODES if isinstance(node, Branches) and node.join == joint))
    assert node_error(numpy, *within) > LIMIT


def test_the_check_sees_a_branch_that_is_one_percent_off(monkeypatch):
    right = Branch.backward
    monkeypatch.setattr(Branch, "backward", lambda *args: 1.01 * right(*args))
    assert branch_error(numpy) > LIMIT


@pytest.mark.parametrize("end", LOSSES, ids=repr)
def test_the_check_sees_a_loss_whose_gradient_is_one_percent_off(end, monkeypatch):
    right = type(end).backward
    monkeypatch.setattr(type(end), "backward", lambda *args: 1.01 * right(*args))
    assert loss_error(numpy, end) > LIMIT


def test_the_check_sees_a_loss_gradient_that_is_not_divided_by_the_images(monkeypatch):
    monkeypatch.setattr(SoftmaxCrossEntropy, "backward", lambda self, xp, kept: kept[0] - kept[1])
    assert loss_error(numpy, SoftmaxCrossEntropy()) > LIMIT
    assert net_error(numpy, NETS["smooth"]) > LIMIT


@pytest.mark.parametrize(
    ("kind", "which"), [(MatMul, 0), (Dense, 0), (Dense, 1), (Conv, 0), (Conv, 1), (Conv1d, 0), (Conv1d, 1)]
)
def test_the_check_sees_a_wrong_gradient_of_a_parameter(kind, which, monkeypatch):
    right = kind.gradients

    def one_off(*args):
        gradients = list(right(*args))
        gradients[which] = 0.99 * gradients[which]
        return tuple(gradients)

    monkeypatch.setattr(kind, "gradients", one_off)
    node, shape = next((node, shape) for node, shape in NODES if isinstance(node, kind))
    assert node_error(numpy, node, shape) > LIMIT
    if kind in (Dense, Conv):
        assert net_error(numpy, NETS["relu"]) > LIMIT


def test_a_gradient_of_another_shape_is_infinitely_wrong(monkeypatch):
    monkeypatch.setattr(ReLU, "backward", lambda self, xp, dy, kept: (dy * kept).ravel())
    assert node_error(numpy, ReLU(), (4, 6)) == math.inf


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_not_finite_is_infinitely_wrong(broken):
    for values in itertools.permutations([broken, 1.0, 2.0]):
        assert largest_relative_difference(list(values), [1.0, 1.0, 2.0]) == math.inf
        assert largest_relative_difference([1.0, 1.0, 2.0], list(values)) == math.inf


def test_zeros_alone_prove_nothing():
    assert largest_relative_difference([0.0, 0.0], [0.0, 0.0]) == math.inf
