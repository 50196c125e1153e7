"""The tests see the same variables wherever they run, and the same mask of new files."""

import os
from collections.abc import Iterator

import pytest

# What a runner, a terminal or a shell's profile sets, and what we or a tool that we run go by: pytest writes longer
# lines where it sees CI, and our own summary would go into that of the job which runs these tests.
_RUNNERS = "BUILD_", "CI_", "GITHUB_", "GITLAB_", "RUNNER_"
_OURS = "CUDA_", "GPUDOCTOR_", "_GPUDOCTOR_", "NCCL_", "NVIDIA_"
_EXACTLY = {"CI", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PYTEST_ADDOPTS", "PY_COLORS", "XDG_STATE_HOME"}


@pytest.fixture(scope="session", autouse=True)
def same_everywhere() -> Iterator[None]:
    """Not when this file is imported: what the outermost pytest writes is for the runner, and stays as it wants it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name in _EXACTLY or name.startswith((*_RUNNERS, *_OURS)):
                patch.delenv(name)
        mask = os.umask(0o022)
        yield
        os.umask(mask)
