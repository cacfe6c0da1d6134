"""Dockerfiles as data: their instructions, stages and install steps, without Docker."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction: its keyword and what follows, continued lines joined."""

    keyword: str
    text: str


@dataclass
class Stage:
    """What stands between one FROM and the next."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, keyword: str) -> list[str]:
        """The texts of all instructions of a kind, in order."""
        return [one.text for one in self.instructions if one.keyword == keyword]

    @property
    def environment(self) -> dict[str, str]:
        """Its ENV."""
        words = [word for text in self.of("ENV") for word in shlex.split(text)]
        return dict(word.split("=", 1) for word in words)


def instructions(text: str) -> list[Instruction]:
    """All instructions of a Dockerfile; comments between continued lines are left out, as Docker does."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]
    return [Instruction(words[0].upper(), words[1] if len(words) > 1 else "") for words in found]


def arguments(text: str) -> dict[str, str]:
    """Every ARG with its default, those of all stages together."""
    given = [one.text for one in instructions(text) if one.keyword == "ARG"]
    return {name: value for name, _, value in (one.partition("=") for one in given) if value}


def stages(text: str) -> list[Stage]:
    """The stages, in order; the last one is the image."""
    found: list[Stage] = []
    for one in instructions(text):
        if one.keyword == "FROM":
            base, _, name = one.text.partition(" AS ")
            found.append(Stage(base.strip(), name.strip()))
        elif found:
            found[-1].instructions.append(one)
    return found


def run_steps(stage: Stage) -> list[list[str]]:
    """The commands of its RUNs, one list of words each; `&&` and grouping parted."""
    commands = [part for text in stage.of("RUN") for part in re.split(r"&&|\|\||[()]", text)]
    return [words for words in (shlex.split(part) for part in commands) if words]


def install_steps(path: Path) -> list[list[str]]:
    """Every `pip install` of a Dockerfile, the words after these two."""
    steps = [words for stage in stages(path.read_text()) for words in run_steps(stage)]
    return [words[2:] for words in steps if Path(words[0]).name == "pip" and words[1] == "install"]
