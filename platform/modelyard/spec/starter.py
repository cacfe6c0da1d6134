"""A first manifest for a folder of text: what is there, and sizes that suit it. Called by `modelyard init`."""

from __future__ import annotations

import glob
import gzip
import json
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelyard.errors import BadDataError, NotFoundError
from modelyard.spec.loading import parse
from modelyard.spec.parts import JOB_NAME_PATTERN

ENDINGS = {".txt": "text", ".text": "text", ".md": "text", ".rst": "text", ".jsonl": "jsonl", ".ndjson": "jsonl"}
PACKED = (".gz", ".zst")
MOST_FILES = 100_000  # looked at; a larger folder is judged by these
# (fewest documents, share of them to measure on): each document falls to it by its digest, so a share may come out
# empty, and then nothing trains: with these less than once in 1,000 folders, (1 - share) ** documents.
VALIDATION_SHARES = ((135, 0.05), (32, 0.2))
BYTES_PER_TOKEN = 3.5  # English at a vocabulary of 4096 to 16384, measured on the standard library's docstrings
UNPACKED = 3  # bytes of text per packed byte, roughly


@dataclass(frozen=True)
class Found:
    """What a folder holds: the files of the commonest format."""

    folder: str
    format: str
    ending: str
    files: int
    others: int  # of text too, but with another ending: not in the manifest
    size_bytes: int
    nested: bool
    column: str
    documents: int

    @property
    def summary(self) -> str:
        kind = "JSON lines" if self.format == "jsonl" else "text"
        size = f"{self.size_bytes / 1e6:.1f} MB" if self.size_bytes >= 1e5 else f"{self.size_bytes / 1e3:.1f} kB"
        rest = f" ({self.others:,} with other endings left out)" if self.others else ""
        return f"{self.files:,} {'file' if self.files == 1 else 'files'} of {kind}, {size}{rest}"


def look_at(folder: Path) -> Found:
    """Which text a folder holds; NotFoundError when there is none, BadDataError when its records have no text."""
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", hint="name one: modelyard init --data FOLDER")
    files = dict(sorted(_text_files(folder)))
    if not files:
        raise NotFoundError(
            f"{folder} holds no text", hint=f"files end in {', '.join(ENDINGS)}, also packed as .gz, .zst"
        )
    ending = _commonest(_ending(file) for file in files)
    chosen = {file: size for file, size in files.items() if _ending(file) == ending}
    kind = ENDINGS["." + ending.lower().split(".")[1]]
    size_bytes = sum(size * (UNPACKED if _packing(file) else 1) for file, size in chosen.items())
    if not size_bytes:
        raise BadDataError(f"the {ending} files in {folder} are all empty", hint="put text into them, or name others")
    first = next(iter(chosen))
    return Found(
        folder=_as_written(folder),
        format=kind,
        ending=ending,
        files=len(chosen),
        others=len(files) - len(chosen),
        size_bytes=size_bytes,
        nested=any(file.parent != folder for file in chosen),
        column=_text_column(first) if kind == "jsonl" else "text",
        documents=len(chosen) if kind == "text" else size_bytes // max(1, len(_first_line(first))),
    )


def _as_written(folder: Path) -> str:
    """A manifest's path does not go up with `..`."""
    return (folder.resolve() if ".." in folder.parts else folder).as_posix()


def starter_manifest(found: Found, *, name: str | None = None, file: str = "FILE") -> str:
    """The manifest's text, to be written to `file`; it validates. Raises ManifestError when `name` is no name."""
    called = name or _as_name(Path(found.folder).resolve().name)
    sizes = _sizes(found.size_bytes)
    share = next((share for fewest, share in VALIDATION_SHARES if found.documents >= fewest), None)
    text = _TEMPLATE.format(
        name=called,
        file=file,
        summary=found.summary,
        path=_quoted(_pattern(found)),
        format=found.format,
        columns="" if found.column == "text" else f"\n        columns: {{text: {_quoted(found.column)}}}",
        validation=_VALIDATION.format(share=share) if share else _NO_VALIDATION,
        evaluation=_EVALUATION.format(**sizes) if share else "",
        **sizes,
    )
    parse(text, origin="(starter)")
    return text


def _pattern(found: Found) -> str:
    """A glob of the files; what the folder's own name has of `[`, `*` and `?` means itself."""
    folder = PurePosixPath(glob.escape(found.folder))
    return str(folder / ("**" if found.nested else "") / f"*{found.ending}")


def _quoted(text: str) -> str:
    """In quotes for YAML, which reads what cannot be printed only when it is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _sizes(size_bytes: int) -> dict[str, int | float]:
    """A model and a length that suit so much text: two passes, between 200 and 20,000 steps. By feel, on 2 cores."""
    small, middle = size_bytes < 20e6, size_bytes < 500e6
    width, depth, heads = (192, 4, 6) if small else (384, 6, 6) if middle else (512, 8, 8)
    length = 256 if small else 512
    tokens = size_bytes / BYTES_PER_TOKEN
    steps = int(min(20_000, max(200, 2 * tokens / (8 * length))) // 10 * 10)
    return {
        "width": width,
        "inner": width * 8 // 3 // 64 * 64,
        "depth": depth,
        "heads": heads,
        "vocabulary": 4096 if small else 8192 if middle else 16384,
        "length": length,
        "steps": steps,
        "warmup": max(10, steps // 20),
        "rate": 0.003 if small else 0.001,
        "every": max(20, steps // 10),
    }


def _text_files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Files of text below the folder, and their sizes; hidden ones and what cannot be read are passed over."""
    seen = 0
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in (Path(here, name) for name in names if not name.startswith(".")):
            size = _readable_bytes(file) if _ending(file) else None
            if size is None:
                continue
            yield file, size
            seen += 1
            if seen >= MOST_FILES:
                return


def _readable_bytes(file: Path) -> int | None:
    """The size of a file that can be read; None also of one that went away meanwhile."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) and os.access(file, os.R_OK) else None


def _ending(file: Path) -> str:
    """`.jsonl.gz` of `a.jsonl.gz`; "" when it is not text that is read."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    packed = file.suffixes[-1] if _packing(file) else ""
    plain = suffixes[:-1] if packed else suffixes
    return file.suffixes[len(plain) - 1] + packed if plain and plain[-1] in ENDINGS else ""


def _packing(file: Path) -> str:
    return file.suffix.lower() if file.suffix.lower() in PACKED else ""


def _commonest(endings: Iterable[str]) -> str:
    return Counter(endings).most_common(1)[0][0]


def _text_column(file: Path) -> str:
    """The column of the first record that holds text: `text`, or the one with the longest string."""
    try:
        record = json.loads(_first_line(file))
    except ValueError as error:
        raise BadDataError(f"{file}:1 is not a JSON record: {error}", hint="each line must be a JSON object") from error
    texts = {key: value for key, value in record.items() if isinstance(value, str)} if isinstance(record, dict) else {}
    if not texts:
        raise BadDataError(f"{file}:1 has no column of text", hint='each line must be like {"text": "…"}')
    return "text" if "text" in texts else max(texts, key=lambda key: len(texts[key]))


def _first_line(file: Path) -> bytes | str:
    if _packing(file) == ".zst":
        return '{"text": ""}'  # unpacking it needs the platform's packages: taken for the usual form
    try:
        with gzip.open(file) if _packing(file) else file.open("rb") as opened:
            return opened.readline(1 << 26)
    except (OSError, EOFError, zlib.error) as error:
        raise BadDataError(f"{file} cannot be read: {error}") from error


def _as_name(word: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:50].strip("-")
    return plain if re.fullmatch(JOB_NAME_PATTERN, plain) else f"job-{plain}".strip("-")


_TEMPLATE = """\
# Trains a small language model on {summary}:
#
#   modelyard run -f {file}
#
# Every field: modelyard explain trainingjob.spec
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata:
  name: {name}
spec:
  objective: causal-lm

  model:
    architecture: llama # random weights; or from: a folder or registry://name@version
    config: # transformers' own keys; larger learns more and takes longer
      hidden_size: {width}
      intermediate_size: {inner}
      num_hidden_layers: {depth}
      num_attention_heads: {heads}
      tie_word_embeddings: true
    tokenizer:
      train: {{vocabSize: {vocabulary}}} # trained on the text below

  data:
    train:
      - name: text
        path: {path} # from the folder in which modelyard runs
        format: {format}{columns}
{validation}
    sequenceLength: {length}

  optimization:
    steps: {steps}
    globalBatchExamples: 8 # sequences per step, over all workers
    optimizer: {{learningRate: {rate}}}
    schedule: {{name: cosine, warmupSteps: {warmup}}}

  workers:
    count: 1 # more when there are more cores or GPUs

  checkpoint:
    everySteps: {every} # a killed run goes on from the last of these

{evaluation}  register:
    name: {name}
    aliases: [candidate]
"""
_VALIDATION = """\
    validation:
      fraction: {share} # of the documents: never trained on"""
_NO_VALIDATION = """\
    # Too few documents to set some aside; name others to measure on, then add evaluation: {suites: …}:
    # validation: {sources: [{name: heldout, path: …}]}"""
_EVALUATION = """\
  evaluation:
    everySteps: {every} # the loss on the validation documents
    suites:
      - {{name: heldout, task: perplexity}} # on the validation documents, at the end
    # gates: # no alias moves when one fails
    #   - {{metric: heldout/bits_per_byte, atMost: 2.5}}

"""
