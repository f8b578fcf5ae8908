"""The runbooks as data: what they say to type, and what for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "deploy" / "runbooks"
PROGRAM = "./mediactl"

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_PLACEHOLDER = re.compile(r"\b[A-Z]+\b")
_ENDS_OF_COMMANDS = {"|", "||", "&&", ";", "&"}


@dataclass(frozen=True)
class Section:
    """What stands under one heading; ``above`` is the heading that it belongs to."""

    above: str
    title: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines to type, whole, in their order."""
        return [line for block in _BLOCK.findall(self.text) for line in block.splitlines()]


@dataclass(frozen=True)
class Runbook:
    """One file of deploy/runbooks."""

    name: str
    text: str

    @property
    def look(self) -> list[str]:
        """What to type to see the cause."""
        return [line for one in self._under("Look") for line in one.lines]

    def cures(self) -> dict[str, list[str]]:
        """Return what to type to mend it, by what it is; "" is for all of it."""
        return {
            "" if one.title == one.above else one.title: one.lines
            for one in self._under("Cure")
            if one.lines
        }

    def typed(self) -> list[str]:
        """Return every line to type, those within a sentence too."""
        lines = [line for section in self._sections() for line in section.lines]
        return lines + [word for word in self.named() if word.startswith(f"{PROGRAM} ")]

    def named(self) -> list[str]:
        """Return what is printed as code within sentences."""
        return [" ".join(one.split()) for one in _INLINE.findall(_BLOCK.sub("", self.text))]

    def _under(self, title: str) -> Iterator[Section]:
        return (one for one in self._sections() if title in {one.title, one.above})

    def _sections(self) -> Iterator[Section]:
        above = ""
        for part in re.split(r"^(?=##+ )", self.text, flags=re.MULTILINE):
            heading, _, text = part.partition("\n")
            level, _, title = heading.partition(" ")
            above = title if level == "##" else above
            yield Section(above, title, text)


def runbooks() -> list[Runbook]:
    """Return all of them, and their introduction."""
    return [Runbook(path.name, path.read_text()) for path in sorted(FOLDER.glob("*.md"))]


def runbook(name: str) -> Runbook:
    """Return the one that a runbook_url leads to."""
    return Runbook(name, (FOLDER / name).read_text())


def commands(line: str) -> list[list[str]]:
    """Return the commands of a line of shell; what xargs adds to one is an ASSET."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in _ENDS_OF_COMMANDS:
            found.append([])
        else:
            found[-1].append(word)
    return [
        [*words[2:], "ASSET"] if words[:2] == ["xargs", "-r"] else words for words in found if words
    ]


def placeholders(words: Sequence[str]) -> set[str]:
    """Return the words that are to be filled in."""
    return {word for word in words if _PLACEHOLDER.fullmatch(word)}


def filled(line: str, values: Mapping[str, str]) -> str:
    """Return *line* with *values* in place of its placeholders; a missing one is a KeyError."""
    bare = line.partition(" #")[0].rstrip()
    return _PLACEHOLDER.sub(lambda found: values[found[0]], bare)
