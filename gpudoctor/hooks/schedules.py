"""The files by which cron and systemd call gpudoctor from time to time."""

from gpudoctor.hooks.files import HookFile, mark
from gpudoctor.hooks.wish import Wish

SERVICE, TIMER = "gpudoctor-check.service", "gpudoctor-check.timer"


def _watch(wish: Wish) -> str:
    words = [word for target in wish.notify for word in ("--notify", target)]
    words += [] if wish.expect_gpus is None else ["--expect-gpus", str(wish.expect_gpus)]
    return wish.calls("watch", *words)


def cron(wish: Wish) -> tuple[HookFile, ...]:
    return (
        HookFile(
            "/etc/cron.d/gpudoctor",
            f"""{mark("cron")}
# Prints only what has changed since the last time, for cron to mail; nothing where --notify says whom to tell.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
17 * * * * root {_watch(wish)}
""",
        ),
    )


def systemd(wish: Wish) -> tuple[HookFile, ...]:
    return (
        HookFile(
            f"/etc/systemd/system/{SERVICE}",
            f"""{mark("systemd")}
[Unit]
Description=Report what has changed in the state of the GPUs

[Service]
Type=oneshot
ExecStart={_watch(wish)}
StateDirectory=gpudoctor
StateDirectoryMode=0700
ProtectSystem=full
Nice=10
TimeoutStartSec=3min
""",
        ),
        HookFile(
            f"/etc/systemd/system/{TIMER}",
            f"""{mark("systemd")}
[Unit]
Description=Look after the GPUs every hour

[Timer]
OnBootSec=5min
OnUnitActiveSec=1h
RandomizedDelaySec=5min

[Install]
WantedBy=timers.target
""",
        ),
    )
