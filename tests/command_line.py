"""The command gpudoctor as a process of its own."""

import os
import subprocess
import sys

GPUDOCTOR = [sys.executable, "-m", "gpudoctor"]


def gpudoctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GPUDOCTOR, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )
