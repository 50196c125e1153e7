"""The nodes of the net: what each computes forward, and how it sends the gradient of the loss backward.

Read it to learn backpropagation. L is the loss, a single number. For an array A of the net, dA is an array of A's
shape with the derivative of L by each entry of A. A node turns an input X into an output Y. Going backward it is given
dY and owes two answers, both by the chain rule: dX, for the node before it, and the gradients of its own parameters.

Every node has the same four methods:

    initial(rng)              the parameters before training: NumPy arrays, float64
    forward(xp, x, *params)   Y, and `kept`: what the way back will need
    backward(xp, dy, kept)    dX
    gradients(xp, dy, kept)   one gradient for each parameter, of its shape

`xp` is the array module, numpy or cupy. The text is the same for both, so a GPU runs exactly what is read here.
Images are NHWC: (images, rows, columns, channels). The dtype of the images goes through unchanged.
A node never writes into what it was given: its input may be somebody else's input, too.
Every product of matrices is `xp.matmul(a, b)` with a and b two-dimensional: so `xp` can multiply in another precision.

A good order to read in: linear, activations, losses, row; then convolution with patches, pools; then joints, branches.
"""

from gpudoctor.bench.nodes.activations import Dropout, ReLU, SiLU
from gpudoctor.bench.nodes.branches import Branches
from gpudoctor.bench.nodes.convolution import Conv, Conv1d
from gpudoctor.bench.nodes.joints import Add, Branch, Joint, Maximum, Multiply
from gpudoctor.bench.nodes.linear import Dense, Flatten, MatMul
from gpudoctor.bench.nodes.losses import MeanSquaredError, SoftmaxCrossEntropy
from gpudoctor.bench.nodes.node import Kept, Node, WithoutParameters
from gpudoctor.bench.nodes.pools import AveragePool, MaxPool

__all__ = [
    "Add",
    "AveragePool",
    "Branch",
    "Branches",
    "Conv",
    "Conv1d",
    "Dense",
    "Dropout",
    "Flatten",
    "Joint",
    "Kept",
    "MatMul",
    "MaxPool",
    "Maximum",
    "MeanSquaredError",
    "Multiply",
    "Node",
    "ReLU",
    "SiLU",
    "SoftmaxCrossEntropy",
    "WithoutParameters",
]
