"""Reads a convolution net that was written as a short text.

    32x32x3: [conv64]*2 pool [conv128]*2 pool fc256 fc10
    224x224x3 -> conv7-64/2 -> pool3/2 -> [res64]*2 -> gap -> dropout0.5 -> fc1000

First the images (rows x columns x channels; 28x28 is 28x28x1), then the layers, each of them:

    conv64  conv5-64  conv5-64/2  conv5-64/2p0    64 filters; kernel 5 (else 3); stride 2 (else 1); 0 zeros on each side
                                                  (else (kernel - 1) / 2, which keeps the size)
    pool  pool3  pool3/2  avgpool  gap            the largest value, or the mean, of windows 2x2, or 3x3 with stride 2;
                                                  gap is the mean over the whole image
    res64  res64/2                                a residual block: two conv64 and the way around them
    fc256  dropout  dropout0.2                    fully connected; dropout of a half, or a fifth

[...]*3 is three times what stands in the brackets, conv64*3 three times conv64. Spaces, commas and -> part the words.
conv, res and fc are followed by ReLU; by SiLU where `silu` stands behind them, by nothing where `none` does. The last
of them gives the scores as they are. This is the notation of the papers on VGG (conv3-64) and ResNet (7x7, 64, /2).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from gpudoctor.bench.planning.architecture import Architecture, checked
from gpudoctor.bench.planning.layers import (
    Activation,
    BadArchitecture,
    Convolution,
    Dropout,
    FullyConnected,
    GlobalAverage,
    Layer,
    Pool,
    PoolKind,
    Residual,
    Shape,
    Weighted,
    without_activation,
    word_of,
)

MOST = 1_000_000  # of one number
MOST_LAYERS = 1000

_NUMBER = "([1-9][0-9]{0,6})"
_CONVOLUTION = re.compile(rf"conv(?:{_NUMBER}(?:x\1)?-)?{_NUMBER}(?:/{_NUMBER})?(?:p([0-9]{{1,7}}))?")
_POOL = re.compile(rf"(max|avg|average)?pool{_NUMBER}?(?:/{_NUMBER})?")
_RESIDUAL = re.compile(rf"res{_NUMBER}(?:/{_NUMBER})?")
_FULLY_CONNECTED = re.compile(rf"fc{_NUMBER}")
_DROPOUT = re.compile(r"dropout(0?\.[0-9]{1,6})?")
_TOKEN = re.compile(r"[\[(]|[\])]|\*\s*[^\s,\[\]()*]*|[^\s,\[\]()*]+")

# How each kind of word is written, by what it begins with.
_HOW = {
    "conv": "a convolution is written conv64, conv5-64, conv5-64/2 or conv5-64/2p0 (kernel-filters/stride, p padding), "
    "all but the padding whole numbers from 1",
    "pool": "a pool is written pool, pool3 or pool3/2 (size/stride), in whole numbers from 1",
    "maxpool": "a pool is written pool, pool3 or pool3/2 (size/stride), in whole numbers from 1",
    "av": "a pool of means is written avgpool, avgpool3 or avgpool3/2 (size/stride), in whole numbers from 1",
    "res": "a residual block is written res64 or res64/2 (filters/stride), in whole numbers from 1",
    "fc": "a fully connected layer is written fc256, with one output or more",
    "drop": "dropout is written dropout or dropout0.2 (the share that is dropped, between 0 and 1)",
}


class _Read(NamedTuple):
    layer: Layer
    said: bool = False  # its activation stands in the text


def read_architecture(text: str, image: Shape | None = None) -> Architecture:
    """The net of such a text, every layer checked against the image that reaches it.

    image: takes the place of the one in the text. Raises BadArchitecture.
    """
    plain = text.strip().lower().replace("->", " ").replace("→", " ")
    head, colon, body = plain.partition(":")
    if not colon:
        first = re.match(r"[-+.0-9]+(?:x[-+.0-9]+)*(?=[\s,]|$)", plain)
        head, body = (first[0], plain[first.end() :]) if first else ("", plain)
    written = read_image(head) if head.strip() else None
    image = image or written
    layers = _layers(body)
    if not layers:
        raise BadArchitecture(f"{_quoted(text)} has no layers; 28x28x1: conv16 pool fc10 would be a net.")
    if image is None:
        raise BadArchitecture(
            f"{_quoted(text)} does not say how large the images are: 32x32x3: at its beginning would."
        )
    return checked(Architecture(image, layers))


def read_image(text: str) -> Shape:
    """224x224x3: rows, columns and channels; 28x28 has one channel. Raises BadArchitecture."""
    numbers = re.split(r"\s*x\s*", text.strip().lower())
    if not (2 <= len(numbers) <= 3 and all(re.fullmatch(_NUMBER, number) for number in numbers)):
        raise BadArchitecture(
            f"{_quoted(text.strip())} is no size of images; 32x32x3 would be one (rows, columns and channels, whole "
            f"numbers from 1 to {MOST:,})."
        )
    rows, columns, *channels = (_within(int(number), text.strip()) for number in numbers)
    return Shape(rows, columns, *(channels or (1,)))


def text_of(architecture: Architecture) -> str:
    """The text of which `read_architecture` makes the same net again."""
    last = max(number for number, layer in enumerate(architecture.layers) if isinstance(layer, Weighted))
    words = [f"{architecture.image}:"]
    for number, layer in enumerate(architecture.layers):
        words.append(word_of(layer))
        if isinstance(layer, Weighted) and number != last and layer.activation is not Activation.RELU:
            words.append(layer.activation.value)
    return " ".join(words)


def _layers(body: str) -> tuple[Layer, ...]:
    """The layers in the order in which they come, everything in brackets repeated."""
    groups: list[list[_Read]] = [[]]
    just_read: list[_Read] = []  # what a `*3` that comes now repeats
    closed = False
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token in ("[", "("):
            groups.append([])
            just_read = []
        elif token in ("]", ")"):
            if len(groups) == 1:
                raise BadArchitecture("A bracket is closed that was never opened.")
            just_read = groups.pop()
            groups[-1] += just_read
        elif token.startswith("*") or (closed and re.fullmatch(r"x\d+", token)):
            groups[-1] += just_read * (_times(token, bool(just_read)) - 1)
            just_read = []
        elif token in (Activation.RELU.value, Activation.SILU.value, Activation.NONE.value):
            groups[-1].append(_activated(groups[-1].pop() if groups[-1] else None, Activation(token)))
        else:
            just_read = [_Read(_layer(token))]
            groups[-1] += just_read
        if len(groups[-1]) > MOST_LAYERS or len(groups) > MOST_LAYERS:
            raise BadArchitecture(f"The net has more than {MOST_LAYERS} layers.")
        closed = token in ("]", ")")
    if len(groups) > 1:
        raise BadArchitecture("A bracket is opened and never closed.")
    return _scored(groups[0])


def _scored(read: list[_Read]) -> tuple[Layer, ...]:
    """The last layer with weights gives scores, and no activation bends them."""
    layers = [one.layer for one in read]
    for number in reversed(range(len(layers))):
        layer = layers[number]
        if isinstance(layer, Weighted):
            if read[number].said and layer.activation is not Activation.NONE:
                raise BadArchitecture(
                    f"{layer.activation.value} behind {word_of(layer)}: the last layer gives the scores as they are."
                )
            layers[number] = without_activation(layer)
            break
    return tuple(layers)


def _times(token: str, something_before: bool) -> int:
    number = token[1:].strip()
    if not something_before:
        raise BadArchitecture(f"{_quoted(token)} repeats nothing: it stands behind a layer or a closing bracket.")
    if not re.fullmatch(_NUMBER, number) or int(number) > MOST_LAYERS:
        raise BadArchitecture(f"{_quoted(token)}: a repetition is a whole number from 1 to {MOST_LAYERS}, as in *3.")
    return int(number)


def _activated(read: _Read | None, activation: Activation) -> _Read:
    if read is None or read.said or not isinstance(read.layer, Weighted):
        raise BadArchitecture(f"{activation.value} stands behind a conv, res or fc, and once.")
    return _Read(replace(read.layer, activation=activation), said=True)


def _layer(word: str) -> Layer:
    if found := _CONVOLUTION.fullmatch(word):
        kernel, filters, stride, padding = (None if one is None else _within(int(one), word) for one in found.groups())
        return Convolution(filters or 0, kernel or 3, stride or 1, padding)
    if found := _POOL.fullmatch(word):
        kind = PoolKind.AVERAGE if (found[1] or "").startswith("av") else PoolKind.MAX
        size = _within(int(found[2] or 2), word)
        return Pool(kind, size, _within(int(found[3] or size), word))
    if word == "gap":
        return GlobalAverage()
    if found := _RESIDUAL.fullmatch(word):
        return Residual(_within(int(found[1]), word), _within(int(found[2] or 1), word))
    if found := _FULLY_CONNECTED.fullmatch(word):
        return FullyConnected(_within(int(found[1]), word))
    found = _DROPOUT.fullmatch(word)
    if found and float(found[1] or 0.5) > 0:
        return Dropout(float(found[1] or 0.5))
    how = next((how for beginning, how in _HOW.items() if word.startswith(beginning)), "")
    if how:
        raise BadArchitecture(f"{_quoted(word)}: {how}.")
    raise BadArchitecture(
        f"{_quoted(word)} is no layer; there are conv64, pool, avgpool, gap, res64, fc10 and dropout, and [...]*2 for "
        f"repetition."
    )


def _within(number: int, word: str) -> int:
    if number > MOST:
        raise BadArchitecture(f"{_quoted(word)}: no number may be larger than {MOST:,}.")
    return number


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
