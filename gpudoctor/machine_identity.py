"""Tells machines apart, and boots of this one: no plan or journal of one is ever carried out on another."""

from hashlib import sha256

from gpudoctor.host import Host


def machine_identity(host: Host) -> str:
    """Made from the machine id, which itself must not be shown (machine-id(5)); from the name of the machine where
    there is none. "" for disks and snapshots: no plan is carried out for those.
    """
    if host.source != "live":
        return ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        id = (host.read(path) or "").strip()
        if len(id) == 32:
            return sha256(f"gpudoctor: {id}".encode()).hexdigest()[:32]
    name = (host.read("/proc/sys/kernel/hostname") or "").strip()
    return sha256(f"gpudoctor, by name: {name}".encode()).hexdigest()[:32]


def this_boot() -> str:
    """Tells this boot of this machine from every other. Raises OSError."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
