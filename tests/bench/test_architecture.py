"""Nets as texts, as patterns and as rows of nodes."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.bench.net import forward, initial_parameters
from gpudoctor.bench.planning.architecture import Architecture, checked, net_of, pattern
from gpudoctor.bench.planning.layers import (
    Activation,
    BadArchitecture,
    Convolution,
    FullyConnected,
    Pool,
    PoolKind,
    Residual,
    Shape,
)
from gpudoctor.bench.planning.plan import plan_of
from gpudoctor.bench.planning.presets import PRESETS, net_named
from gpudoctor.bench.planning.text import read_architecture, read_image, text_of

SMALL = (
    "12x12x3: [conv4]*2 pool conv8 avgpool fc16 dropout0.25 fc10",
    "12x12x1: conv5-6p0 silu pool3/2 conv2-4 fc3",
    "9x7x2: conv3-4/2 res4 res6/2 none fc5 silu fc2",
    "8x8x3: conv4 none res8/2 gap",
    "13x11: conv3-4/3p2 conv1-2/2 pool2/3 fc2",
)


@pytest.mark.parametrize(
    "text",
    [
        "32x32x3: [conv64]*2 pool fc10",
        "32x32x3 conv64 conv64 pool fc10",
        "32 x 32 x 3: conv64*2, maxpool, fc10",
        "32x32x3 -> [conv64 -> relu]*2 -> pool -> fc10",
        "32X32X3: (Conv3-64)x2 POOL2/2\n FC10",
        "32x32x3: [[conv3x3-64p1]*1]*2 pool2 [fc10]",
    ],
)
def test_one_net_may_be_written_in_many_ways(text: str) -> None:
    layers = read_architecture(text).layers
    convolution = Convolution(64, padding=layers[0].frame if "p1" in text else None)
    assert layers == (convolution, convolution, Pool(), FullyConnected(10, Activation.NONE))


def test_every_option_of_a_layer_is_read() -> None:
    net = read_architecture("40x30: conv5-8/2p1 silu pool3/2 avgpool res16/2 gap dropout0.2 fc7 none fc2")
    assert net.image == Shape(40, 30, 1)
    assert net.layers[:4] == (
        Convolution(8, 5, 2, 1, Activation.SILU),
        Pool(PoolKind.MAX, 3, 2),
        Pool(PoolKind.AVERAGE, 2, 2),
        Residual(16, 2),
    )
    assert net.layers[-2:] == (FullyConnected(7, Activation.NONE), FullyConnected(2, Activation.NONE))


@pytest.mark.parametrize("text", [*SMALL, *(preset.text for preset in PRESETS.values())])
def test_text_of_a_net_gives_the_same_net_again(text: str) -> None:
    net = read_architecture(text)
    assert read_architecture(text_of(net)) == net


def test_pattern_is_the_net_that_its_text_describes() -> None:
    net = pattern(Shape(32, 32, 3), 10, convolutions=2, stages=3, hidden_layers=2, filters=8, hidden=100)
    assert text_of(net) == ("32x32x3: conv8 conv8 pool conv16 conv16 pool conv32 conv32 pool fc100 fc100 fc10")
    assert text_of(pattern(Shape(8, 8, 1), 10, stages=0, hidden_layers=0)) == "8x8x1: fc10"
    smooth = pattern(Shape(8, 8, 1), 10, stages=1, pool=False, activation=Activation.SILU)
    assert text_of(smooth) == "8x8x1: conv16 silu fc64 silu fc10"


@pytest.mark.parametrize(
    "wrong",
    [{"stages": -1}, {"convolutions": -1}, {"hidden_layers": -1}, {"filters": 0}, {"kernel": 9}, {"stages": 4}],
)
def test_pattern_that_fits_no_image_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadArchitecture):
        pattern(Shape(8, 8, 1), 10, **wrong)


@pytest.mark.parametrize("text", SMALL)
def test_nodes_give_the_sizes_and_have_the_parameters_of_the_plan(text: str) -> None:
    architecture = read_architecture(text)
    net = net_of(architecture)
    rng = numpy.random.default_rng(0)
    parameters = initial_parameters(net, numpy, rng, "float64")
    plan = plan_of(architecture)
    assert sum(array.size for own in parameters for array in own) == plan.total.parameters
    went = forward(net, numpy, rng.standard_normal((2, *architecture.image)), parameters)
    assert went.scores.shape == (2, architecture.output.channels)
    made = [output.shape[1:] for output in went.outputs]
    for layer in plan.layers:
        size = tuple(layer.output)
        assert size in made or size[2:] in made, f"no node makes {layer.words}, {layer.output}"


def test_mean_over_images_that_are_not_square_has_no_node() -> None:
    with pytest.raises(BadArchitecture, match="square"):
        net_of(read_architecture("8x6: conv4 gap"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no layers"),
        ("32x32x3:", "has no layers"),
        ("conv64 fc10", "does not say how large the images are"),
        ("conv64", "does not say how large the images are"),
        ("vgg61", "no preset 'vgg61'; is 'vgg16' meant?"),
        ("resnet", "is 'resnet-like' or 'resnet20-like' meant?"),
        ("lenet5", "is 'lenet' meant?"),
        ("something", "Presets: lenet, alexnet, vgg16"),
        ("-32x32x3: fc10", "'-32x32x3' is no size of images"),
        ("32x-32x3: fc10", "'32x-32x3' is no size of images"),
        ("0x32: fc10", "'0x32' is no size of images"),
        ("32x32x3x3: fc10", "'32x32x3x3' is no size of images"),
        ("9999999x8: fc10", "no number may be larger than 1,000,000"),
        ("8x8: conv-64 fc10", "'conv-64': a convolution is written"),
        ("8x8: conv3-64/0 fc10", "'conv3-64/0': a convolution is written"),
        ("8x8: conv3-64/-2 fc10", "'conv3-64/-2': a convolution is written"),
        ("8x8: conv0 fc10", "'conv0': a convolution is written"),
        ("8x8: conv9000000 fc10", "no number may be larger than 1,000,000"),
        ("8x8: pool-2 fc10", "'pool-2': a pool is written"),
        ("8x8: res0 fc10", "'res0': a residual block is written"),
        ("8x8: fc-10", "'fc-10': a fully connected layer is written"),
        ("8x8: dropout1.5 fc10", "'dropout1.5': dropout is written"),
        ("8x8: dropout0.0 fc10", "'dropout0.0': dropout is written"),
        ("8x8: lstm5 fc10", "'lstm5' is no layer"),
        (
            "8x8: conv11-4 fc10",
            "conv11-4: a 11x11 filter is larger than the image that reaches it, 8x8x1 (conv11-4p5 if that is meant)",
        ),
        ("8x8: conv11-4p1 fc10", "larger than the image that reaches it, 8x8x1 with padding 1"),
        ("8x8: conv4p3 fc10", "nothing but zeros"),
        ("8x8: pool*4 fc10", "pool: a window of 2x2 is larger than the image that reaches it, 1x1x1"),
        ("224x224x3: conv11-96/4p0 fc10", "the stride does not fit, for (224 - 11 + 2*0) / 4 is no whole number"),
        ("8x8: fc10 conv4", "conv4 needs an image"),
        ("8x8: pool", "needs a layer that learns"),
        ("8x8: [conv4 fc10", "opened and never closed"),
        ("8x8: conv4] fc10", "closed that was never opened"),
        ("8x8: *3 conv4", "repeats nothing"),
        ("8x8: conv4*0 fc10", "'*0': a repetition is a whole number from 1"),
        ("8x8: conv4*-2 fc10", "'*-2': a repetition is a whole number from 1"),
        ("8x8: [[[conv4]*1000]*1000]*1000 fc10", "more than 1000 layers"),
        ("8x8: " + "[" * 100_000, "more than 1000 layers"),
        ("9" * 5000 + "x8: fc10", "is no size of images"),
        ("8x8: fc10 relu", "the last layer gives the scores as they are"),
        ("8x8: pool silu fc10", "silu stands behind a conv, res or fc"),
        ("8x8: conv4 relu silu fc10", "and once"),
    ],
)
def test_what_is_no_net_gets_one_clear_sentence(text: str, said: str) -> None:
    with pytest.raises(BadArchitecture) as refused:
        net_named(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_stride_may_leave_out_zeros_of_the_padding_and_what_a_small_filter_skips() -> None:
    assert read_architecture("224x224x3: conv7-64/2 fc10").layers  # (224 - 7 + 6) / 2 leaves a column of zeros
    assert read_architecture("227x227x3: conv11-96/4p0 fc10").layers
    assert read_architecture("56x56x8: conv1-16/2 fc10").layers


def test_image_of_another_size_takes_the_place_of_the_one_in_the_text() -> None:
    assert net_named("vgg16", read_image("32x32x3")).architecture.image == Shape(32, 32, 3)
    assert net_named("conv8 fc10", read_image("8x8")).architecture.image == Shape(8, 8, 1)
    with pytest.raises(BadArchitecture, match="larger than the image"):
        net_named("vgg16", read_image("16x16x3"))


def test_every_layer_is_checked_in_a_net_that_no_text_gave() -> None:
    with pytest.raises(BadArchitecture, match="larger than the image"):
        checked(Architecture(Shape(4, 4, 1), (Pool(size=5), FullyConnected(2))))


WORDS = st.sampled_from(
    [
        *("conv4", "conv5-4/2p1", "conv3-2", "pool", "pool3/2", "avgpool", "gap", "res4", "res8/2", "fc5", "dropout"),
        *("relu", "silu", "none", "[", "]", "(", ")", "*2", "x2", "*", "->", ",", "conv", "pool0", "fc-1", "/", "-"),
    ]
)


@settings(derandomize=True, deadline=None, database=None, max_examples=100)
@given(st.lists(WORDS, max_size=6).map(lambda words: " ".join(["12x12x2:", *words])) | st.text(max_size=30))
def test_any_text_is_a_net_that_can_be_planned_or_is_refused(text: str) -> None:
    try:
        net = net_named(text).architecture
    except BadArchitecture:
        return
    assert read_architecture(text_of(net)) == net
    plan = plan_of(net)
    assert plan.total.parameters > 0
    assert plan.layers[-1].output == net.output
