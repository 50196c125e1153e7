"""Steps as plain data, and back: for plan files, journals and the JSON report. What is read is checked strictly."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from gpudoctor.host import BadSource
from gpudoctor.repair import Action, Manual, Phase, Reboot, RemoveFile, Risk, Run, Step, WriteFile

Json = object  # what json.loads gives: every use is checked


class Scope(NamedTuple):
    """What a repair is about, as the user has narrowed it down: the diagnosis before and after it looks at no more."""

    only: tuple[str, ...] = ()  # ids of checks, or domains
    skip: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()  # the Python environments that are meant
    to: tuple[str, ...] = ()  # requests: "driver=580"
    runfile: str = ""  # that the request is to be met from, "" packages
    opengl: bool = True


class BadPlan(BadSource):
    """A file that is no plan or journal of gpudoctor's, or not as it was written; the text says what is wrong."""


def step_as_data(step: Step) -> dict[str, Json]:
    """A step as a JSON object; `undo` null: it cannot be undone, file actions are undone from the journal."""
    return {
        "action": action_as_data(step.action),
        "why": step.why,
        "phase": step.phase.name.lower(),
        "risk": step.risk.name.lower(),
        "root": step.root,
        "verify": None if step.verify is None else action_as_data(step.verify),
        "undo": None if step.undo is None else action_as_data(step.undo),
    }


def action_as_data(action: Action) -> dict[str, Json]:
    match action:
        case Run(argv):
            return {"kind": "run", "argv": list(argv)}
        case WriteFile(path, text, was):
            return {"kind": "write-file", "path": path, "text": text, "was": was, "diff": list(action.diff)}
        case RemoveFile(path):
            return {"kind": "remove-file", "path": path}
        case Reboot():
            return {"kind": "reboot"}
        case Manual(instruction):
            return {"kind": "manual", "instruction": instruction}


def step_of(data: Json) -> Step:
    """The step that `step_as_data` made this of. Raises BadPlan."""
    fields = mapping(data, "a step")
    verify, undo = (fields.get(name) for name in ("verify", "undo"))
    proof = None if verify is None else action_of(verify)
    back = None if undo is None else action_of(undo)
    if not (proof is None or isinstance(proof, Run)) or not (back is None or isinstance(back, Run | Manual)):
        raise BadPlan("a step is verified by a command, and undone by a command or a person")
    return Step(
        action_of(fields.get("action")),
        text(fields, "why"),
        _phase(text(fields, "phase")),
        _risk(text(fields, "risk")),
        flag(fields, "root"),
        proof,
        back,
    )


def action_of(data: Json) -> Action:
    """The action that `action_as_data` made this of. Raises BadPlan."""
    fields = mapping(data, "an action")
    match fields.get("kind"):
        case "run":
            argv = fields.get("argv")
            words = [word for word in argv if isinstance(word, str) and word] if isinstance(argv, list) else []
            if not words or words != argv or any("\0" in word for word in words):
                raise BadPlan("a command is a list of words")
            return Run(tuple(words))
        case "write-file":
            was = fields.get("was")
            return WriteFile(_path(fields), text(fields, "text"), None if was is None else text(fields, "was"))
        case "remove-file":
            return RemoveFile(_path(fields))
        case "reboot":
            return Reboot()
        case "manual":
            return Manual(text(fields, "instruction"))
    raise BadPlan(f"there is no action {fields.get('kind')!r}")


def digest(data: Json) -> str:
    """SHA-256 of data in one way of writing it, in hexadecimal."""
    return sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def scope_as_data(scope: Scope) -> dict[str, Json]:
    """A scope as a JSON object."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in scope._asdict().items()}


def scope_of(data: Json) -> Scope:
    """The scope that `scope_as_data` made this of. Raises BadPlan."""
    fields = mapping(data, "a scope")
    only, skip, pythons, to = (texts(fields, name) for name in ("only", "skip", "pythons", "to"))
    return Scope(only, skip, pythons, to, text(fields, "runfile"), flag(fields, "opengl"))


def plan_hash(machine: str, scope: Scope, cures: Sequence[str], steps: Sequence[Step]) -> str:
    """What makes a plan this plan: for which machine, scope and findings it is, and its steps."""
    return digest([machine, scope_as_data(scope), list(cures), [step_as_data(step) for step in steps]])


def mapping(data: Json, what: str) -> Mapping[str, Json]:
    """Data that must be a JSON object. Raises BadPlan."""
    if not isinstance(data, dict):
        raise BadPlan(f"{what} is no JSON object")
    return data


def text(fields: Mapping[str, Json], name: str) -> str:
    """A field that must be a string. Raises BadPlan."""
    found = fields.get(name)
    if not isinstance(found, str):
        raise BadPlan(f"{name!r} is no text")
    return found


def flag(fields: Mapping[str, Json], name: str) -> bool:
    """A field that must be true or false. Raises BadPlan."""
    found = fields.get(name)
    if not isinstance(found, bool):
        raise BadPlan(f"{name!r} is neither true nor false")
    return found


def texts(fields: Mapping[str, Json], name: str) -> tuple[str, ...]:
    """A field that must be a list of strings. Raises BadPlan."""
    found = fields.get(name)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadPlan(f"{name!r} is no list of texts")
    return tuple(found)


def items(fields: Mapping[str, Json], name: str) -> Sequence[Json]:
    """A field that must be a list. Raises BadPlan."""
    found = fields.get(name)
    if not isinstance(found, list):
        raise BadPlan(f"{name!r} is no list")
    return found


def _path(fields: Mapping[str, Json]) -> str:
    path = text(fields, "path")
    if not path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise BadPlan(f"{path!r} is no plain absolute path")
    return path


def _phase(name: str) -> Phase:
    found = next((phase for phase in Phase if phase.name.lower() == name), None)
    if found is None:
        raise BadPlan(f"there is no phase {name!r}")
    return found


def _risk(name: str) -> Risk:
    found = next((risk for risk in Risk if risk.name.lower() == name), None)
    if found is None:
        raise BadPlan(f"there is no risk {name!r}")
    return found
