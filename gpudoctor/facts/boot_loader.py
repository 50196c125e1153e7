"""Which of several installed kernels the boot loader takes next: what GRUB's menu, its settings or systemd-boot say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.facts.shell_lines import plain_settings
from gpudoctor.host import Host, Unavailable


class MenuEntry(NamedTuple):
    """One entry of GRUB's menu."""

    position: tuple[int, ...]  # from 0; (1, 2) is the third entry of the submenu that comes second
    names: tuple[tuple[str, ...], ...]  # title and id, of each level
    image: str  # as GRUB names it, without /boot where that is a partition; "" of what boots no Linux kernel

    def is_meant_by(self, choice: str) -> bool:
        """Is it, or does it lie in, what this value of GRUB's `default` names: "0", "1>2", a title, an id?"""
        parts = choice.split(">")
        return len(parts) <= len(self.position) and all(
            part == str(number) or part in names
            for part, number, names in zip(parts, self.position, self.names, strict=False)
        )


def next_boot(host: Host, images: Mapping[str, str]) -> tuple[str, str]:
    """The release that boots next, "" if that cannot be told, and what says so.

    `images`: release to the path of its image, newest first.
    """
    releases = tuple(images)
    if len(releases) < 2:
        return (releases[0], "the only installed kernel") if releases else ("", "")
    for ask in (_grub_menu, _grub_settings, _systemd_boot, _debian_link):
        answer = ask(host, images)
        if answer is not None:
            return answer
    if all(release in image for release, image in images.items()):
        return releases[0], "the newest installed kernel"
    return "", ""  # Arch's images have no version in their names, and which of them is the default is anybody's choice


def _grub_menu(host: Host, images: Mapping[str, str]) -> tuple[str, str] | None:
    for path in ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"):
        try:
            text = host.read(path) or ""
        except Unavailable:
            return None  # some systems let only root read it: the settings tell nearly as much
        lines = [line.strip() for line in text.splitlines()]
        entries = [*_menu(lines)]
        specification = "blscfg" in lines  # the entries are files in /boot/loader/entries, the newest comes first
        if not specification and not any(entry.image for entry in entries):
            continue
        default, source = _default(lines), path
        environment = path.replace("grub.cfg", "grubenv")
        try:
            saved = plain_settings(host.read(environment) or "")
        except Unavailable as reason:
            return "", str(reason)
        once = saved.get("next_entry", "")
        if once or "saved_entry" in default:
            default = once or saved.get("saved_entry", "")
            source = f"{environment}: {default}" if default else path
        if specification:
            return _named(default, images) or _numbered(default, images), source
        chosen = [entry for entry in entries if entry.is_meant_by(default or "0")] or entries
        return _of_image(chosen[0].image, images), source
    return None


def _grub_settings(host: Host, images: Mapping[str, str]) -> tuple[str, str] | None:
    text = host.read("/etc/default/grub")
    if text is None:
        return None
    folder = "/etc/default/grub.d"
    texts = [host.read(f"{folder}/{name}") or "" for name in host.list(folder) or () if name.endswith(".cfg")]
    settings = plain_settings("\n".join([text, *texts]))
    choice = settings.get("GRUB_DEFAULT") or "0"
    source = f"/etc/default/grub: GRUB_DEFAULT={choice}"
    if choice == "0":
        # Ubuntu's images for clouds put their own flavour above a newer generic kernel.
        for flavour in settings.get("GRUB_FLAVOUR_ORDER", "").split():
            for release in images:
                if release.endswith(f"-{flavour}"):
                    return release, f"/etc/default/grub: GRUB_FLAVOUR_ORDER={flavour}"
        versioned = all(release in image for release, image in images.items())
        return (next(iter(images)), f"{source}: the newest") if versioned else None
    return _named(choice, images), source


def _systemd_boot(host: Host, images: Mapping[str, str]) -> tuple[str, str] | None:
    for folder in ("/boot", "/efi", "/boot/efi"):
        try:
            text = host.read(f"{folder}/loader/loader.conf")
        except Unavailable as reason:
            return "", str(reason)
        if text is None:
            continue
        for line in text.splitlines():
            word, _, value = line.strip().partition(" ")
            if word == "default":
                newest = next(iter(images)) if "*" in value else ""
                return _named(value, images) or newest, f"{folder}/loader/loader.conf: default {value.strip()}"
    return None


def _debian_link(host: Host, images: Mapping[str, str]) -> tuple[str, str] | None:
    for path in ("/vmlinuz", "/boot/vmlinuz"):
        release = _of_image(host.link(path) or "", images)
        if release:
            return release, path
    return None


def _menu(lines: Sequence[str]) -> Iterator[MenuEntry]:
    counters = [0]  # how many entries came so far, on each level
    names: list[tuple[str, ...]] = []
    blocks: list[str] = []  # first words of the lines that opened the blocks we are in
    image = ""
    for line in lines:
        word = line.partition(" ")[0]
        if line.endswith("{"):
            blocks.append(word)
            if word in ("menuentry", "submenu"):
                marks = (word, "$menuentry_id_option", "--id")
                names.append(tuple(name for name in (_behind(mark, line) for mark in marks) if name))
                counters.append(0)
                image = ""
        elif line == "}" and blocks:
            word = blocks.pop()
            if word == "menuentry":
                yield MenuEntry(tuple(counters[:-1]), tuple(names), image)
            if word in ("menuentry", "submenu"):
                names.pop()
                counters.pop()
                counters[-1] += 1
        elif blocks and blocks[-1] == "menuentry":
            command, *words = line.split() or ("",)
            if command in ("linux", "linuxefi", "linux16") and words:
                image = words[0]


def _behind(mark: str, line: str) -> str:
    """The word that follows a mark; in quotes it may have spaces. "" without the mark."""
    rest = line.partition(f"{mark} ")[2].lstrip()
    return rest[1:].partition(rest[0])[0] if rest[:1] in ("'", '"') else rest.partition(" ")[0]


def _default(lines: Sequence[str]) -> str:
    values = [line.removeprefix("set default=").strip("\"'") for line in lines if line.startswith("set default=")]
    return next((value for value in values if "next_entry" not in value), "0")


def _named(choice: str, images: Mapping[str, str]) -> str:
    """The release that is part of an entry's title or id; the longest one, for 6.1.0-5 is in 6.1.0-56."""
    return max((release for release in images if release in choice), key=len, default="")


def _numbered(choice: str, images: Mapping[str, str]) -> str:
    """By its place in the menu; the newest where the choice is empty, or an id ("machine-release") that is gone."""
    machine, dash, _ = choice.partition("-")
    if not choice or (dash and len(machine) == 32):
        return next(iter(images))
    number = int(choice) if choice.isdecimal() and len(choice) < 4 else len(images)
    return tuple(images)[number] if number < len(images) else ""


def _of_image(image: str, images: Mapping[str, str]) -> str:
    name = image.rpartition("/")[2]
    found = [release for release, path in images.items() if path.rpartition("/")[2] == name]
    return found[0] if len(found) == 1 else ""  # below /lib/modules all images have one name
