"""What the benchmark found: one value, filled in as far as the run came."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from gpudoctor import __version__


class Status(Enum):
    """Passed: it trains. Failed: it ran and does not train. Skipped: there was nothing to run on, never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


_EXIT_CODES = {Status.PASSED: 0, Status.FAILED: 2, Status.SKIPPED: 3}


@dataclass
class BenchResult:
    """The verdict and the numbers behind it. What was not reached is None or empty."""

    status: Status
    reason: str  # one or two sentences
    backend: str  # "numpy" or "cupy"; "auto" when none could be opened
    seed: int
    device: str | None = None  # where the arrays lay, by their own word
    gradient_errors: dict[str, float] = field(default_factory=dict)  # worst relative error of each node
    gradient_limit: float | None = None
    untrained_loss: float | None = None  # mean over the test set
    untrained_accuracy: float | None = None
    losses: list[float] = field(default_factory=list)  # of each epoch, mean over its batches
    accuracies: list[float] = field(default_factory=list)  # after each epoch: share of the test set, 0 to 1
    accuracy_needed: float | None = None
    training_images: int | None = None
    test_images: int | None = None
    images_per_second: float | None = None  # forward and backward, without the run's first batch
    seconds: float = 0.0  # the whole run
    versions: dict[str, str | None] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 passed, 2 failed, 3 skipped."""
        return _EXIT_CODES[self.status]

    @property
    def gradient_error(self) -> float | None:
        """The worst of gradient_errors."""
        return max(self.gradient_errors.values(), default=None)

    @property
    def epochs(self) -> int:
        """Passes over the training set that were completed."""
        return len(self.losses)

    @property
    def train_loss(self) -> float | None:
        """Of the last epoch."""
        return self.losses[-1] if self.losses else None

    @property
    def test_accuracy(self) -> float | None:
        """After the last epoch, 0 to 1."""
        return self.accuracies[-1] if self.accuracies else None

    def to_json(self) -> dict[str, object]:
        """The same as plain data, schema 1. A number that is not finite becomes null: JSON has no word for it."""
        return {
            "schema": 1,
            "gpudoctor": __version__,
            "command": "bench",
            "status": self.status.value,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "backend": self.backend,
            "device": self.device,
            "seed": self.seed,
            "gradient_check": {
                "worst_error": _finite(self.gradient_error),
                "limit": self.gradient_limit,
                "errors": {name: _finite(error) for name, error in self.gradient_errors.items()},
            },
            "untrained_loss": _finite(self.untrained_loss),
            "untrained_accuracy": self.untrained_accuracy,
            "epochs": self.epochs,
            "losses": [_finite(loss) for loss in self.losses],
            "accuracies": self.accuracies,
            "train_loss": _finite(self.train_loss),
            "test_accuracy": self.test_accuracy,
            "accuracy_needed": self.accuracy_needed,
            "training_images": self.training_images,
            "test_images": self.test_images,
            "images_per_second": self.images_per_second and round(self.images_per_second, 1),
            "seconds": round(self.seconds, 3),
            "versions": self.versions,
        }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
