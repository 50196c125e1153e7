# ruff: noqa: UP006, UP035, UP045, B905 (runs on the old Pythons of users' environments)
"""PyTorch learns: the phases numerics, training and replay with convolutions, gradients and steps of PyTorch's own.

The numbers to start from, and what float64 on the CPU makes of them, come from gpudoctor: so PyTorch and cuDNN are
compared with code that shares nothing with theirs. They come in gpudoctor's layout, images as (images, rows, columns,
channels) and weights as (rows, columns, in, out) or (in, out), and what is compared is turned back into it.
"""

import ctypes
import hashlib
import math
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from gpudoctor.bench.pytorch.device import DoesNotTrain, Tensor, TorchDevice, autocast, compute_in, stay_at_home

Say = Callable[[str], None]

# One layer: its kind and its numbers, as gpudoctor.bench.pytorch.backend.layers_of writes them.
Layer = Sequence[Any]

# Of the loss in float16, before it goes backward: a power of two, so that nothing is rounded by it. Without it the
# small gradients are lost; where it is too large they overflow.
LOSS_SCALE = 256.0

# What a layer with weights was given and gave, told while a net runs: kind, input, weights, bias, output.
Seen = Callable[[str, Tensor, Tensor, Tensor, Tensor], None]


class Learned(NamedTuple):
    """What a training leaves behind."""

    losses: List[float]  # of each step
    first: List[Tensor]  # the gradient of each parameter at the first step
    parameters: List[Tensor]  # after the last step


def measure_numerics(device: TorchDevice, task: Dict[str, Any], say: Say) -> Dict[str, Any]:
    """The training of gpudoctor.bench.measuring.materials in every precision. As phases.numerics.Numerics."""
    torch = device.torch
    reference = [float(loss) for loss in task["losses"]]
    wanted = task["gradient"]
    curves = []
    for precision in device.precisions:
        say(f"training in {precision} with PyTorch")
        compute_in(device, precision)
        learned = learn(device, precision, task, len(reference))
        stay_at_home(device, "the gradients of the first step", learned.first)
        stay_at_home(device, "the parameters", learned.parameters)
        slopes = in_our_layout(task["layers"], learned.first)
        found = torch.cat([slope.cpu().double().reshape(-1) for slope in slopes])
        if found.shape != wanted.shape:
            raise DoesNotTrain(f"The gradient has {len(found)} numbers where {len(wanted)} belong.")
        errors = [abs(loss - right) / abs(right) for loss, right in zip(learned.losses, reference)]
        curves.append(
            {
                "precision": precision,
                "losses": learned.losses,
                "reference": reference,
                "loss_error": largest(errors),
                "gradient_error": float((found - wanted).norm() / wanted.norm()),
            }
        )
    return {"curves": curves, "gradient_errors": {}}


def measure_training(device: TorchDevice, task: Dict[str, Any], say: Say) -> Dict[str, Any]:
    """The digits in float32, until enough of the others are read. As measures.Trained."""
    torch = device.torch
    compute_in(device, "fp32")
    layers, batch = task["layers"], task["batch"]
    parameters = _parameters(device, layers, task["parameters"])
    optimizer = torch.optim.SGD(parameters, lr=task["rate"], momentum=task["momentum"])
    images, labels = _images(device, task["images"]), task["labels"].to(device.where)
    others, truth = _images(device, task["test_images"]), task["test_labels"].to(device.where)
    shuffle = torch.Generator().manual_seed(task["seed"])
    untrained_loss, untrained_accuracy = _evaluate(device, layers, parameters, others, truth)
    losses: List[float] = []
    accuracies: List[float] = []
    timed, seconds, steps = 0, 0.0, 0
    while len(losses) < task["most_epochs"]:
        total = 0.0
        order = torch.randperm(len(labels), generator=shuffle).to(device.where)
        for start in range(0, len(labels), batch):
            began = time.perf_counter()
            rows = order[start : start + batch]
            x, t = images[rows], labels[rows]
            optimizer.zero_grad(set_to_none=True)
            scores = run(torch, layers, parameters, x)
            loss = torch.nn.functional.cross_entropy(scores, t)
            loss.backward()
            optimizer.step()
            told = loss.item()  # waits for the device, so that the clock counts the work
            if steps:  # the first batch also loads the kernels
                timed, seconds = timed + len(t), seconds + time.perf_counter() - began
            steps += 1
            if not math.isfinite(told):
                where = f"batch {start // batch + 1} of epoch {len(losses) + 1}"
                raise DoesNotTrain(f"The loss became {told} in {where}.")
            moving = [state["momentum_buffer"] for state in optimizer.state.values()]
            for what, tensors in (
                ("the images and labels", [x, t]),
                ("the scores and the loss", [scores, loss]),
                ("the gradients", [parameter.grad for parameter in parameters]),
                ("the parameters", parameters),
                ("the velocities", moving),
            ):
                stay_at_home(device, what, tensors)
            total += told * len(t)
        losses.append(total / len(labels))
        accuracies.append(_evaluate(device, layers, parameters, others, truth)[1])
        say(f"epoch {len(losses)}: loss {losses[-1]:.3f}, reads {accuracies[-1]:.1%} of the test set")
        if losses[-1] < task["loss_fallen"] * untrained_loss and accuracies[-1] >= task["accuracy_needed"]:
            break
    return {
        "images": len(labels),
        "test_images": len(truth),
        "untrained_loss": untrained_loss,
        "untrained_accuracy": untrained_accuracy,
        "losses": losses,
        "accuracies": accuracies,
        "images_per_second": timed / seconds,
    }


def measure_replay(device: TorchDevice, task: Dict[str, Any], say: Say) -> List[Dict[str, Any]]:
    """Trains twice in every precision with everything that PyTorch has to make it repeat. As measures.Replayed."""
    replays = []
    for precision in device.precisions:
        say(f"training twice in {precision} with PyTorch, to the same bits")
        compute_in(device, precision, deterministic=True)
        first = learn(device, precision, task, task["steps"])
        checksum = _Checksum(device) if precision == "fp32" else None
        second = learn(device, precision, task, task["steps"], checksum.see if checksum else None)
        for learned in (first, second):
            if not all(bool(one.isfinite().all()) for one in learned.parameters):
                raise DoesNotTrain(f"Training in {precision} ended with weights that are no numbers.")
        replays.append(
            {
                "precision": precision,
                "steps": task["steps"],
                "first": hash_of(in_our_layout(task["layers"], first.parameters)),
                "second": hash_of(in_our_layout(task["layers"], second.parameters)),
                "residual": checksum.residual if checksum else None,
            }
        )
    compute_in(device, "fp32")
    return replays


def learn(
    device: TorchDevice, precision: str, task: Dict[str, Any], steps: int, seen: Optional[Seen] = None
) -> Learned:
    """Trains for some steps; where the images are fewer, they come again."""
    torch = device.torch
    layers, batch = task["layers"], task["batch"]
    parameters = _parameters(device, layers, task["parameters"])
    optimizer = torch.optim.SGD(parameters, lr=task["rate"], momentum=task["momentum"])
    images, labels = _images(device, task["images"]), task["labels"].to(device.where)
    scale = LOSS_SCALE if precision == "fp16" else 1.0
    losses: List[Tensor] = []
    first: List[Tensor] = []
    for step in range(steps):
        start = step * batch % len(labels)
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            scores = run(torch, layers, parameters, images[start : start + batch], seen)
            loss = torch.nn.functional.cross_entropy(scores.float(), labels[start : start + batch])
        (loss * scale).backward()
        for parameter in parameters:
            parameter.grad /= scale
        if not losses:
            first = [parameter.grad.clone() for parameter in parameters]
        losses.append(loss.detach())
        optimizer.step()
    stay_at_home(device, "the losses", losses)
    return Learned([float(loss) for loss in losses], first, [parameter.detach() for parameter in parameters])


def run(
    torch: Any, layers: Sequence[Layer], parameters: List[Tensor], x: Tensor, seen: Optional[Seen] = None
) -> Tensor:
    """Sends images (N, channels, rows, columns) through the net."""
    functional = torch.nn.functional
    own = iter(parameters)
    for kind, *numbers in layers:
        if kind in ("conv", "dense"):
            given, weights, bias = x, next(own), next(own)
            if kind == "conv":
                _, _, _, padding, stride = numbers
                x = functional.conv2d(x, weights, bias, stride, padding)
            else:
                x = functional.linear(x, weights, bias)
            if seen is not None:
                seen(kind, given.detach(), weights.detach(), bias.detach(), x.detach())
        elif kind == "relu":
            x = functional.relu(x)
        elif kind == "silu":
            x = functional.silu(x)
        elif kind == "max":
            x = functional.max_pool2d(x, *numbers)
        elif kind == "average":
            x = functional.avg_pool2d(x, *numbers)
        elif kind == "flatten":
            x = x.permute(0, 2, 3, 1).reshape(len(x), -1)  # pixel by pixel, as the weights behind it are ordered
        else:
            raise ValueError(f"a layer of an unknown kind: {kind}")
    return x


def in_our_layout(layers: Sequence[Layer], tensors: List[Tensor]) -> List[Tensor]:
    """One tensor for each parameter, turned from PyTorch's layout into gpudoctor's."""
    weights = [kind for kind, *_ in layers if kind in ("conv", "dense")]
    turned = []
    for kind, (own, bias) in zip(weights, zip(tensors[::2], tensors[1::2])):
        turned += [own.permute(2, 3, 1, 0) if kind == "conv" else own.t(), bias]
    return turned


def hash_of(tensors: Sequence[Tensor]) -> str:
    """The SHA-256 of the tensors' bits, one after the other, hexadecimal."""
    digest = hashlib.sha256()
    for tensor in tensors:
        there = tensor.detach().cpu().contiguous()
        # PyTorch gives out bytes by way of NumPy only, which need not be installed.
        digest.update(ctypes.string_at(there.data_ptr(), there.numel() * there.element_size()))
    return digest.hexdigest()


def largest(numbers: Sequence[float]) -> float:
    """NaN if one of them is: Python's max may lose it."""
    return max(numbers) if all(number == number for number in numbers) else math.nan


class _Checksum:
    """Checks the products of the fully connected layers by their column sums, in float64, while a net trains.

    The sum of each column of X W must be the column sums of X times W. Convolutions are left out: cuDNN may compute
    them by other sums (Winograd's), whose rounding this bound does not cover.
    """

    def __init__(self, device: TorchDevice) -> None:
        self._torch = device.torch
        self._worst: Optional[Tensor] = None

    @property
    def residual(self) -> float:
        """The largest normalised residual so far, NaN if a product had one."""
        if self._worst is None:
            raise ValueError("no product was checked")
        return float(self._worst)

    def see(self, kind: str, x: Tensor, weights: Tensor, bias: Tensor, y: Tensor) -> None:
        """One layer, while the net runs."""
        if kind != "dense":
            return
        torch = self._torch
        wide, count = weights.double(), len(x)
        told = y.sum(0, dtype=torch.float64)
        expected = wide @ x.sum(0, dtype=torch.float64) + count * bias.double()
        bound = wide.abs() @ x.abs().sum(0, dtype=torch.float64) + count * bias.abs().double()
        worst = ((told - expected).abs() / (bound + 1e-300)).max()
        # Both keep a NaN.
        self._worst = worst if self._worst is None else torch.maximum(self._worst, worst)


def _parameters(device: TorchDevice, layers: Sequence[Layer], given: Sequence[Tensor]) -> List[Tensor]:
    """Tensors to learn, in PyTorch's layout, from those of the CPU in gpudoctor's."""
    turned = []
    for tensor in given:
        if tensor.dim() == 4:
            turned.append(tensor.permute(3, 2, 0, 1).contiguous())
        else:
            turned.append(tensor.t().contiguous() if tensor.dim() == 2 else tensor)
    # A copy, also on the CPU: the given ones are the start of another training.
    return [one.to(device.where, device.torch.float32, copy=True).requires_grad_() for one in turned]


def _images(device: TorchDevice, images: Tensor) -> Tensor:
    return images.to(device.where).permute(0, 3, 1, 2)  # a view, and PyTorch's "channels last"


def _evaluate(
    device: TorchDevice, layers: Sequence[Layer], parameters: List[Tensor], images: Tensor, labels: Tensor
) -> Tuple[float, float]:
    """The mean loss, and the share that is read rightly; scores that are no numbers never count as right."""
    torch = device.torch
    with torch.no_grad():
        scores = run(torch, layers, parameters, images)
        loss = torch.nn.functional.cross_entropy(scores, labels)
        right = (scores.argmax(1) == labels) & scores.isfinite().all(1)
    stay_at_home(device, "the scores of the test images", [scores, loss, right])
    return float(loss), int(right.sum()) / len(labels)
