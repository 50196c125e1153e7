"""With what error the kernel refuses to open the GPU's device files, which NVML does not say."""

import errno
import os


def node_refusals(folder: str) -> dict[str, str]:
    """By node, the name of the error. NVML has opened them before, so this does no more to the machine than it did."""
    refused = {}
    for name in sorted(os.listdir(folder)):
        number = name.removeprefix("nvidia")
        if name != number and (number == "ctl" or number.isdigit()):
            try:
                os.close(os.open(os.path.join(folder, name), os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
            except OSError as error:
                refused[f"/dev/{name}"] = errno.errorcode.get(error.errno or 0, str(error.errno))
    return refused
