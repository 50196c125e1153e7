"""A reviewed plan in a file, from `fix --dry-run --format json`: carried out exactly as it stands, or not at all."""

import json
from typing import NamedTuple

from gpudoctor.plain_files import read_named
from gpudoctor.plan_data import BadPlan, Scope, items, mapping, plan_hash, scope_of, step_of, text, texts
from gpudoctor.reports.plan import PlanReport

SIZE_LIMIT = 16 * 1024 * 1024  # bytes


class ReviewedPlan(NamedTuple):
    """What a plan's file says. Its steps are not in here: what is carried out is what gpudoctor itself plans."""

    path: str
    machine: str
    scope: Scope
    hash: str


def read_plan(path: str) -> ReviewedPlan:
    """Raises BadSource (BadPlan) for what is no plan, or not as gpudoctor wrote it."""
    data = read_named(path, SIZE_LIMIT + 1)
    try:
        document = mapping(json.loads(data), path)
    except (ValueError, RecursionError):
        raise BadPlan(f"{path} is no plan: not whole JSON") from None
    if document.get("command") != "fix" or document.get("schema") != 1 or "steps" not in document:
        raise BadPlan(f"{path} is no plan that `gpudoctor fix --dry-run --format json` has written")
    try:
        machine, scope, cures = text(document, "machine"), scope_of(document.get("scope")), texts(document, "cures")
        steps = tuple(step_of(step) for step in items(document, "steps"))
        own_hash = text(document, "hash")
    except BadPlan as reason:
        raise BadPlan(f"{path} is not as gpudoctor wrote it: {reason}; nothing was changed") from None
    if plan_hash(machine, scope, cures, steps) != own_hash:
        raise BadPlan(f"{path} was changed after gpudoctor wrote it: its hash is wrong; nothing was changed")
    return ReviewedPlan(path, machine, scope, own_hash)


def require_same(reviewed: ReviewedPlan, planned: PlanReport) -> None:
    """Raises BadPlan unless the reviewed plan is exactly the one that is made for this machine now."""
    if not reviewed.machine:
        raise BadPlan(f"{reviewed.path} is a plan for a disk or a snapshot, made elsewhere; nothing was changed")
    if reviewed.machine != planned.machine:
        raise BadPlan(f"{reviewed.path} is the plan of another machine; nothing was changed")
    if reviewed.hash != planned.hash:
        raise BadPlan(
            f"{reviewed.path} is not what would be done now: the machine has changed since; nothing was changed"
        )
