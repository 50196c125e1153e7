"""Questions whose answering can hang or crash: each runs in a child process of its own and prints one JSON object.

Nothing here is imported by the doctor itself. Start-up counts: a probe imports only what its question needs.
"""

import os
import sys
from typing import NoReturn

NAMES = ("nvml", "cuda", "processes")


def main(name: str) -> NoReturn:
    """Answer the question `name` on standard output and end the process.

    Exit code 0: one JSON object was printed; a driver's error code is an answer, too. 3: no such question.
    4: a Python package that the question needs cannot be imported. The reason of 3 and 4 is one line on standard error.
    """
    # Driver libraries and what they start may print. Their standard output becomes standard error, so that the
    # answer stays pure JSON; the real one is kept on a descriptor that programs started by a library do not inherit.
    answer_descriptor = os.dup(1)
    os.dup2(2, 1)
    try:
        answer = _ask(name)
    except ImportError as error:
        _refuse(4, f"the probe {name} cannot start: {error}")
    import json  # here: processes and failures above get by without

    with open(answer_descriptor, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(answer) + "\n")
    # Not sys.exit: the clean-up that libraries register for the end of a process can hang or crash with a sick driver.
    os._exit(0)


def _ask(name: str) -> dict[str, object]:
    match name:
        case "nvml":
            from gpudoctor.probes.nvml import ask_nvml

            return ask_nvml()
        case "cuda":
            from gpudoctor.probes.cuda import ask_cuda

            return ask_cuda()
        case "processes":
            from gpudoctor.probes.processes import ask_processes

            return ask_processes()
        case _:
            _refuse(3, f"no probe is called {name!r}; there are {', '.join(NAMES)}")


def _refuse(exit_code: int, reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(exit_code)
