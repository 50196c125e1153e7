"""A small process that has imported the command already; each call is a fork of it, for a third of the time.

For its caller that is the command as a process of its own, with its arguments, its variables and its folder.
"""

import atexit
import base64
import os
import pickle
import select
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, NoReturn

PATIENCE = 60  # seconds


class _Call(NamedTuple):
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    given: str  # paths of files
    out: str
    err: str


def run_ready(
    arguments: tuple[str, ...], environment: Mapping[str, str], given: bytes = b""
) -> "subprocess.CompletedProcess[str]":
    """`gpudoctor ARGUMENTS` with these variables. `given`: on standard input. Raises TimeoutExpired.

    The standard streams are files then, not pipes.
    """
    file = tempfile.NamedTemporaryFile
    with file() as said, file() as out, file() as err:
        said.write(given)
        said.flush()
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        call = _Call(arguments, dict(environment), os.getcwd(), said.name, out.name, err.name)
        server.stdin.write(base64.b64encode(pickle.dumps(call)) + b"\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], PATIENCE)[0]:
            server.kill()
            _server.cache_clear()
            raise subprocess.TimeoutExpired(["gpudoctor", *arguments], PATIENCE)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())


@cache
def _server() -> "subprocess.Popen[bytes]":
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)  # it ends when it hears nothing more
    return server


def _serve() -> None:
    import gc
    from importlib import import_module
    from pkgutil import iter_modules

    import gpudoctor.cli
    import gpudoctor.preflight
    import gpudoctor.reports
    import gpudoctor.triage
    from gpudoctor.registry import load_plugins

    load_plugins()  # but not the fixes: whoever needs them has to ask for them
    for package in (gpudoctor.cli, gpudoctor.reports, gpudoctor.triage, gpudoctor.preflight):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    gc.freeze()  # a child that collects would copy all of it
    answers = os.dup(1)
    for line in sys.stdin.buffer:
        call = pickle.loads(base64.b64decode(line))
        child = os.fork()
        if child == 0:
            os.close(answers)
            _become_the_command(call)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(answers, b"%d\n" % code)


def _become_the_command(call: _Call) -> NoReturn:
    code = 1  # as of a Python that ends with a traceback
    try:
        for path, descriptor in ((call.given, 0), (call.out, 1), (call.err, 2)):
            opened = os.open(path, os.O_RDWR)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of this process
        os.chdir(call.folder)
        os.environ.clear()
        os.environ.update(call.environment)
        sys.path[:0] = [path for path in call.environment.get("PYTHONPATH", "").split(os.pathsep) if path]
        sys.argv = ["gpudoctor", *call.arguments]
        from gpudoctor.cli import run

        code = run([*call.arguments])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - what is left of the tests' process must not go on here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
