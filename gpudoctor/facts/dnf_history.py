"""The transaction databases of dnf 4 (libdnf) and dnf 5 (libdnf5).

Tables and numbers follow libdnf's create_tables.sql (schema 1.1 and 1.2) and Types.hpp, and libdnf5's
create_tables.sql (schema 1.1), where the command line is called the description.
"""

from collections.abc import Iterable, Mapping, Sequence

from gpudoctor.facts.history import PackageEvent
from gpudoctor.facts.log_times import written
from gpudoctor.facts.package_names import sql_condition
from gpudoctor.host import SqlValue

_DNF4 = (
    "SELECT t.id, t.dt_begin, t.dt_end, 'dnf ' || t.cmdline, i.action, r.name, r.epoch, r.version, r.release, r.arch"
    " FROM trans t JOIN trans_item i ON i.trans_id = t.id JOIN rpm r ON r.item_id = i.item_id"
    f" WHERE {sql_condition('r.name')} ORDER BY i.id DESC LIMIT 5000"
)
_DNF5 = (
    "SELECT t.id, t.dt_begin, t.dt_end, t.description, a.name, n.name, r.epoch, r.version, r.release, c.name"
    " FROM trans t JOIN trans_item i ON i.trans_id = t.id JOIN trans_item_action a ON a.id = i.action_id"
    " JOIN rpm r ON r.item_id = i.item_id JOIN pkg_name n ON n.id = r.name_id JOIN arch c ON c.id = r.arch_id"
    f" WHERE {sql_condition('n.name')} ORDER BY i.id DESC LIMIT 5000"
)

DATABASES: Mapping[str, str] = {
    "/var/lib/dnf/history.sqlite": _DNF4,
    "/usr/lib/sysimage/libdnf5/transaction_history.sqlite": _DNF5,
}

# "leave": the version that goes while another of the same package comes.
_ACTIONS: Mapping[SqlValue, str] = {
    1: "install",
    2: "downgrade",
    3: "leave",
    4: "install",  # of a package that replaces others
    5: "leave",
    6: "upgrade",
    7: "leave",
    8: "remove",
    9: "reinstall",
    10: "leave",
    "Install": "install",
    "Upgrade": "upgrade",
    "Downgrade": "downgrade",
    "Reinstall": "reinstall",
    "Remove": "remove",
    "Replaced": "leave",
}


def read_rows(rows: Iterable[Sequence[SqlValue]], source: str) -> list[PackageEvent]:
    """Events in the rows of a query of DATABASES (newest first), oldest first. Two rows make one upgrade: the version
    that came and the one that left. A package that only left was replaced by another: it was removed.
    """
    came: list[tuple[tuple[int, str, SqlValue], PackageEvent]] = []
    left: dict[tuple[int, str, SqlValue], PackageEvent] = {}
    for row in reversed([*rows]):
        match row:
            case [int(run), int(start), end, command, act, str(name), int(epoch), str(version), str(release), arch]:
                full = (f"{epoch}:" if epoch else "") + f"{version}-{release}"
                action = _ACTIONS.get(act, "")
            case _:
                continue
        event = PackageEvent(
            float(start), written(start), action, name, "", full, str(command or ""), end is not None, source
        )
        if action == "leave":
            left[run, name, arch] = event
        elif action:
            came.append(((run, name, arch), event))
    events = []
    for key, event in came:
        if event.action == "remove":
            event = event._replace(old=event.new, new="")
        elif gone := left.pop(key, None):
            event = event._replace(old=gone.new)
        events.append(event)
    events += [event._replace(action="remove", old=event.new, new="") for event in left.values()]
    return sorted(events, key=lambda event: event.time)
