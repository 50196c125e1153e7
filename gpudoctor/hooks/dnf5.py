"""The conversation with dnf5's actions plugin in its JSON mode: which packages come and go, and, if need be, stop."""

import json
import os
import select
import time
from collections.abc import Mapping

from gpudoctor.hooks.judging import ENVIRONMENT, judge, speak, unforeseen
from gpudoctor.hooks.verdict import DEADLINE, say
from gpudoctor.preflight.transaction import Change, NoTransaction, Transaction, change

_QUESTION = {
    "op": "get",
    "domain": "trans_packages",
    "args": {"output": ["direction", "action", "name", "arch", "evr"]},
}


def converse(enforce: bool) -> int:
    """Ask, judge, and stop the transaction if it must not happen. Standard input and output are the plugin's."""
    if os.isatty(0):
        say("`hook run dnf-before` is what dnf5 calls: it asks dnf5 what it is about to do")
        return 0
    _send(_QUESTION)
    try:
        transaction = read_answer(_receive(DEADLINE))
    except NoTransaction as reason:
        return speak(unforeseen(str(reason)))
    verdict = judge(transaction, enforce, f"repeat the command with {ENVIRONMENT}=false in its environment")
    say(*verdict.lines)
    if verdict.stop:
        _send({"op": "stop", "args": {"message": "gpudoctor: after this upgrade the GPU would not work"}})
    return 0


def read_answer(text: str) -> Transaction:
    """Raises NoTransaction if it is not the plugin's answer."""
    try:
        answer = json.loads(text)
        if answer["status"] != "OK":
            raise NoTransaction(f"dnf5 answered: {str(answer.get('message', 'an error'))[:200]}")
        packages = answer["return"]["trans_packages"]
        changes: dict[tuple[str, str], Change] = {}
        for package in packages:
            one = _change(package)
            if one is not None:
                key = (one.name, one.architecture)
                # Each upgraded package comes twice: as it goes and as it comes.
                other = changes.get(key, one)
                changes[key] = one._replace(old=one.old or other.old, new=one.new or other.new)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoTransaction(f"dnf5 gave an answer that cannot be read: {text[:80]!r}") from error
    return Transaction("rpm", tuple(changes.values()), (), "dnf5")


def _change(package: Mapping[str, str]) -> Change | None:
    if package["action"] == "?":  # only the reason for which it is installed changes
        return None
    version = package["evr"].removeprefix("0:")
    coming = package["direction"] == "IN"
    return change(package["name"], package["arch"], "" if coming else version, version if coming else "")


def _send(message: Mapping[str, object]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _receive(seconds: float) -> str:
    """One JSON object; the plugin keeps the pipe open behind it. Raises NoTransaction if none comes in time."""
    deadline = time.monotonic() + seconds
    text = b""
    while True:
        ready, _, _ = select.select([0], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(0, 1 << 16) if ready else b""
        if not piece:
            raise NoTransaction("dnf5 did not answer" if not text else "dnf5 broke off in the middle of its answer")
        text += piece
        if text.rstrip().endswith(b"}") and _is_whole(text):
            return text.decode("utf-8", "replace")


def _is_whole(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
