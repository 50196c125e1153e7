"""The published schema of the JSON report, as readers use it and as we hold ourselves to it."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files("gpudoctor.reports") / "report.schema.json").read_text(encoding="utf-8"))
    return found


def closed(node: Any) -> Any:
    """The schema without room for fields that it does not describe, as readers must leave it and we must not use it."""
    if isinstance(node, list):
        return [closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    node = {key: closed(value) for key, value in node.items() if key not in ("allOf",)}
    if "properties" in node and node.get("type") == "object":
        node["additionalProperties"] = False
    return node


def require_described(document: object) -> None:
    for validator in validators():
        validator.validate(document)


@cache
def validators() -> list[jsonschema.Draft202012Validator]:
    """Of the schema as it is published, and closed."""
    forms = (schema(), closed(schema()))
    for one in forms:
        jsonschema.Draft202012Validator.check_schema(one)
    return [jsonschema.Draft202012Validator(one, format_checker=jsonschema.FormatChecker()) for one in forms]
