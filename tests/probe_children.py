"""Runs the probes as the doctor does: each in a child of its own."""

import json
import subprocess
import sys
from typing import Any


def run_python(code: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def run_probe(
    name: str, environment: dict[str, str] | None = None, preparation: str = "pass"
) -> subprocess.CompletedProcess[str]:
    """`preparation`: Python that the child runs before it is asked."""
    return run_python(f"from gpudoctor.probes import main; {preparation}; main({name!r})", environment)


def ask(name: str, environment: dict[str, str] | None = None, preparation: str = "pass") -> dict[str, Any]:
    """The answer of a probe that gives one."""
    result = run_probe(name, environment, preparation)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer
