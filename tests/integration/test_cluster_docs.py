"""What the pages about clusters show is taken by a real API server: manifests, what kubectl is piped, its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.apiserver import ApiServer, Namespace

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs/how-to").glob("cluster-*.md")), *sorted((ROOT / "docs/reference/cluster").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)
READS = ("get", "describe", "explain", "auth")
NEEDS_MORE = ("top", "nodes", "workloads", "localqueue", "--raw", "-w", "events", "cluster-")  # metrics, nodes, Kueue …


def blocks(language: str) -> list[tuple[str, str]]:
    """(page and line, text without its indent) of every fenced block of a language."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            if match[2] == language:
                line = text[: match.start()].count("\n") + 1
                found.append((f"{page.stem}:{line}", re.sub(rf"^{match[1]}", "", match[3], flags=re.M)))
    return found


def manifests() -> list[Any]:
    """Complete manifests, and what a here-document hands to `kubectl apply`."""
    whole = [(name, text) for name, text in blocks("yaml") if re.search("^apiVersion", text, re.M)]
    for name, text in blocks("console"):
        heres = re.findall(r"^\$ kubectl apply[^\n]*<<END\n(.*?)^END$", text, re.M | re.S)
        whole += [(f"{name} {number}", body) for number, body in enumerate(heres)]
    return [pytest.param(text, id=name) for name, text in whole]


def reads() -> list[Any]:
    """kubectl's commands that only read, without what a shell does with their output."""
    found = []
    for name, text in blocks("console"):
        for line in text.replace("\\\n", " ").splitlines():
            if line.startswith("$ kubectl "):
                words = first_command(line)[2:]
                if verb(words) in READS and not any(word in line for word in NEEDS_MORE):
                    found.append(pytest.param(words, id=f"{name} {' '.join(words)[:60]}"))
    return found


def first_command(line: str) -> list[str]:
    """The words up to the first pipe, redirection or further command."""
    shell = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    shell.whitespace_split = True
    words: list[str] = []
    for word in shell:
        if set(word) <= set("|&;<>"):
            break
        words.append(word)
    return words


def verb(words: list[str]) -> str:
    """The verb of a command line, after its options."""
    rest = words[2:] if words[0] == "-n" else words
    return rest[0]


@pytest.mark.parametrize("text", manifests())
def test_manifests_are_taken(text: str, namespace: Namespace) -> None:
    here = re.sub(r"(namespace: |namespace=)(team-a|default)\b", rf"\g<1>{namespace.name}", text)
    told = namespace.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=here)
    assert told.count("serverside-applied (server dry run)") == len(re.findall("^apiVersion", here, re.M))


@pytest.fixture(scope="module")
def shared_namespace(api_server: ApiServer) -> Iterator[Namespace]:
    """Empty, for all that only read."""
    with api_server.new_namespace() as namespace:
        yield namespace


@pytest.mark.parametrize("words", reads())
def test_commands_are_understood(words: list[str], shared_namespace: Namespace) -> None:
    """They may find nothing here; they must not be misspelt."""
    own = [word for word in words if not re.fullmatch(r"-A", word)]
    if "-n" in own:
        at = own.index("-n")
        own[at : at + 2] = []
    done = shared_namespace.run_kubectl(*own)
    said = done.stderr.lower()
    assert done.returncode == 0 or "not found" in said or done.stdout == "no\n", f"{done.stdout}{done.stderr}"
    assert "unknown" not in said
    assert "the server doesn't have a resource type" not in said


def test_the_quickstart_gets_its_claim_by_one_command(namespace: Namespace, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/cluster-install.md").read_text()
    (line,) = re.findall(r"\$ (kubectl patch --local .*?) \| kubectl apply -f -$", page, re.M | re.S)
    words = shlex.split(line.replace("\\\n", " "))[1:]
    patched = subprocess.run(
        [namespace.server.kubectl_path, *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "claimName: team-yard" in patched
    namespace.kubectl("apply", "-f", "-", text=patched)
    assert namespace.json("get", "tj", "quickstart")["spec"]["storage"] == {"claimName": "team-yard"}
