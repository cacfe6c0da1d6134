"""Collect a small, real corpus of English from the Python that runs this: what its standard library says of itself.

    python examples/collect_corpus.py [--out corpus]

Writes corpus/train/*.jsonl and corpus/validation/*.jsonl, one document {"text", "id"} a line: the docstrings of the
standard library's modules, classes and functions, and the topics of `pydoc`. The sources are parsed, never imported.
A module's documents are all in one split, and no text is in the corpus twice, so validation shares nothing with train.
The same Python gives the same bytes; a corpus that stands is left alone. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import inspect
import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Not documentation: the test suites, generated tables, and what is installed beside the library.
LEFT_OUT = {"__pycache__", "dist-packages", "ensurepip", "idle_test", "lib2to3", "site-packages", "test", "tests"}
TOPICS = "pydoc_data.topics"
VALIDATION_PERCENT = 15
SHORTEST_CHARACTERS = 20  # shorter ones are labels ("See above."), not text. By feel
FORMAT = 1


def modules(library: Path) -> Iterator[tuple[str, Path]]:
    """Every module of the standard library with its source, by name."""
    found = {}
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).with_suffix("").parts
        if not LEFT_OUT.intersection(parts) and not parts[0].startswith("config-"):
            found[".".join(parts).removesuffix(".__init__")] = path
    yield from sorted(found.items())


def documents(module: str, path: Path) -> Iterator[tuple[str, str]]:
    """(id, text) of a module's documents in source order."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    if module == TOPICS:
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                        yield f"{module}:{key.value}", str(value.value)
        return
    yield from docstrings(module, tree)


def docstrings(name: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    """The docstring of a node and of everything defined in it, under `if` and `try` too."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield name, inspect.cleandoc(text)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from docstrings(f"{name}.{child.name}", child)
        elif isinstance(child, ast.stmt | ast.ExceptHandler):
            yield from docstrings(name, child)


def split_of(module: str) -> str:
    """train or validation, by a hash of the module's name; the topics, a third of all text, are for training."""
    bucket = int.from_bytes(hashlib.sha256(module.encode()).digest()[:4], "big") % 100
    return "validation" if module != TOPICS and bucket < VALIDATION_PERCENT else "train"


def collect(library: Path) -> dict[str, list[str]]:
    """The lines of each split."""
    lines: dict[str, list[str]] = {"train": [], "validation": []}
    seen = set()
    for module, path in modules(library):
        for name, text in documents(module, path):
            clean = text.encode("utf-8", errors="ignore").decode().strip()
            if len(clean) >= SHORTEST_CHARACTERS and clean not in seen:
                seen.add(clean)
                lines[split_of(module)].append(json.dumps({"text": clean, "id": name}, ensure_ascii=False))
    return lines


def stands(folder: Path) -> bool:
    """Whether the folder holds the corpus of this very Python, unharmed."""
    try:
        record = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        files = record["files"]
        return (record["format"], record["python"]) == (FORMAT, sys.version) and all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"] for name, entry in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write(path: Path, text: str) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("corpus"), help="the folder to write (default: corpus)")
    folder = parser.parse_args().out
    if stands(folder):
        print(f"{folder}: the corpus stands")
        return 0
    files = {}
    for split, lines in collect(Path(sysconfig.get_path("stdlib"))).items():
        text = "".join(f"{line}\n" for line in lines)
        name = f"{split}/stdlib.jsonl"
        write(folder / name, text)
        size = sum(len(json.loads(line)["text"].encode()) for line in lines)
        files[name] = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "documents": len(lines), "textBytes": size}
        print(f"{folder / name}: {len(lines)} documents, {size / 1e6:.2f} MB of text")
    record = {"format": FORMAT, "python": sys.version, "files": files}
    write(folder / "corpus.json", json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
