"""What the user wants of a hook, as its files carry it."""

from typing import NamedTuple


class Wish(NamedTuple):
    """The options of `gpudoctor hook KIND`."""

    command: tuple[str, ...]  # how gpudoctor is called
    enforce: bool = False  # stop an upgrade that would break the GPU
    notify: tuple[str, ...] = ()  # "mail:root", "syslog", "wall", "command:/path"
    expect_gpus: int | None = None
    json_actions: bool = False  # the actions plugin of dnf5 here can hold a conversation

    def calls(self, *words: str) -> str:
        """A command line that needs no quotes: its letters were looked at (`command.require_safe_letters`)."""
        return " ".join((*self.command, "hook", "run", *words))
