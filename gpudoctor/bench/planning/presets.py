"""Well-known convolution nets by name, each as the text that describes it."""

from __future__ import annotations

import re
from typing import NamedTuple

from gpudoctor.bench.planning.architecture import Architecture
from gpudoctor.bench.planning.layers import BadArchitecture, Shape
from gpudoctor.bench.planning.text import read_architecture
from gpudoctor.near_names import meant, near_names


class Preset(NamedTuple):
    """A net that has a name."""

    text: str
    source: str  # who published it
    note: str  # what of it is known, and where this one differs


PRESETS = {
    "lenet": Preset(
        "32x32x1: conv5-6p0 avgpool conv5-16p0 avgpool conv5-120p0 fc84 fc10",
        "LeCun et al. 1998, LeNet-5",
        "As it is usually counted, with 61,706 parameters. The original joins only some of the feature maps of its "
        "second convolution (60,000).",
    ),
    "alexnet": Preset(
        "224x224x3: conv11-64/4p2 pool3/2 conv5-192 pool3/2 conv384 conv256*2 pool3/2 "
        "dropout fc4096 dropout fc4096 fc1000",
        "Krizhevsky 2014, the form on one GPU that torchvision has",
        "61,100,840 parameters.",
    ),
    "vgg16": Preset(
        "224x224x3: [conv64]*2 pool [conv128]*2 pool [conv256]*3 pool [conv512]*3 pool [conv512p1]*3 pool "
        "fc4096 fc4096 fc1000",
        "Simonyan and Zisserman 2014, configuration D",
        "The CS231n notes put the forward total at 24 M numbers, about 93 MB an image, but the rows of their own "
        "table, which are the rows above, add up to 15.2 M numbers, 61 MB (cs231n/cs231n.github.io#88).",
    ),
    "resnet-like": Preset(
        "224x224x3: conv7-64/2 pool [res64]*2 res128/2 res128 res256/2 res256 res512/2 res512 gap fc1000",
        "He et al. 2015, after ResNet-18",
        "With biases for the batch normalisation, which has no layer here: 11,684,712 parameters where ResNet-18 has "
        "11,689,512; and the first pool is 2x2.",
    ),
    "resnet20-like": Preset(
        "32x32x3: conv16 [res16]*3 res32/2 [res32]*2 res64/2 [res64]*2 gap fc10",
        "He et al. 2015, after ResNet-20 for CIFAR-10 (0.27 M parameters)",
        "With biases for the batch normalisation, and 1x1 convolutions where the way around changes its size.",
    ),
}


class NamedNet(NamedTuple):
    """A net and the preset that it is, "" for none."""

    architecture: Architecture
    name: str


def net_named(text: str, image: Shape | None = None) -> NamedNet:
    """The preset of that name, or the net that the text describes, for images of another size where one is given.

    Raises BadArchitecture, with near names for a name that is none.
    """
    name = text.strip().lower()
    preset = PRESETS.get(name)
    if preset:
        return NamedNet(read_architecture(preset.text, image), name)
    # A text has several words, or one that is a layer: with a number behind its kind.
    if re.fullmatch(r"[a-z][\w.+-]*", name) and not re.match(r"(conv|fc|res|pool)\d|pool$|gap$", name):
        near = [known for known in PRESETS if known.startswith(name) or name.startswith(known)]
        near = near or near_names(name, PRESETS, most=2, likeness=0.5)
        question = f"; {meant(near, '')}" if near else "."
        raise BadArchitecture(
            f"There is no preset {text.strip()[:60]!r}{question} (Presets: {', '.join(PRESETS)}. The text of a net "
            f'would be "28x28x1: conv16 pool fc10".)'
        )
    return NamedNet(read_architecture(text, image), "")
