"""Running suites: documents in, an EvaluationRecord out. Deterministic but for the seconds it took.

A document is scored as it was trained on: from the beginning-of-text token, every token of the text and then its
end, each exactly once (windows: modelyard.infer.scoring). Only sums per document are kept.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modelyard.data import BadRecord, open_split, read_documents
from modelyard.errors import InvalidInputError
from modelyard.evaluate.comparisons import Baseline, DocumentKey, Measured, SuiteScores, difference, no_difference, pair
from modelyard.evaluate.metrics import DocumentScores, perplexity_metrics
from modelyard.evaluate.references import LARGEST_XZ_BYTES, unigram_nats, xz_bits_per_byte
from modelyard.evaluate.verdicts import MAX_UNSCORED_FRACTION, Comparison, combine, decide, reasons_in_words
from modelyard.infer import Model, ScoreItem
from modelyard.records import EvaluationRecord, SuiteResult, Verdict
from modelyard.text import open_tokenizer

if TYPE_CHECKING:
    from modelyard.spec import GateSpec, SuiteSpec

Progress = Callable[[str, int, int], None]
BATCH_TOKENS = 1 << 16  # documents are handed to the model in groups of about this many tokens


def _silent(suite: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Text:
    """A document to score: its token ids without begin and end, its text in UTF-8, its place in the suite.

    `num_bytes` are those of the text as it was read: what a tokenizer gives back may be shorter (lower case, accents).
    """

    tokens: Sequence[int]
    utf8: bytes
    num_bytes: int
    place: int = 0

    @property
    def key(self) -> DocumentKey:
        """Which document it is, to whatever model reads it."""
        return self.place, _short_digest(self.utf8)


@dataclass(frozen=True)
class _Shelf:
    """Where documents come from."""

    model: Model
    root: Path
    dataset_folder: Path | None

    def documents(self, suite: SuiteSpec) -> Iterator[Text | str]:
        """The suite's documents; a string is the reason why one cannot be scored."""
        if not suite.sources:
            if self.dataset_folder is None:
                raise InvalidInputError(
                    f"suite {suite.name} names no sources, and there are no validation documents to take instead",
                    hint=f"set sources of suite {suite.name}",
                )
            yield from self._validation_split(self.dataset_folder)
        for source in suite.sources:
            for document in read_documents(source, root=self.root):
                yield document.reason if isinstance(document, BadRecord) else _fresh(document.text)

    def _validation_split(self, dataset_folder: Path) -> Iterator[Text]:
        split = open_split(dataset_folder, "validation")
        tokenizer = open_tokenizer(dataset_folder / "tokenizer")
        same = tokenizer.digest == self.model.tokenizer.digest
        for index in range(split.documents):
            tokens = split.tokens(index).tolist()
            text = tokenizer.decode(tokens).encode()
            yield Text(tokens if same else (), text, split.text_bytes(index))


def _short_digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def _fresh(text: str) -> Text:
    utf8 = text.encode()
    return Text((), utf8, len(utf8))


@dataclass
class _Tally:
    """What is known of a suite so far. `references`: the texts are kept for them."""

    references: bool = True
    rows: list[tuple[float, int, int, int]] = field(default_factory=list)
    keys: list[DocumentKey] = field(default_factory=list)
    cuts: list[bytes] = field(default_factory=list)
    unigram: float = 0.0
    unscored: Counter[str] = field(default_factory=Counter)
    texts: list[bytes] = field(default_factory=list)
    text_bytes: int = 0

    def scores(self) -> DocumentScores:
        columns = np.array(self.rows, dtype=np.float64).reshape(-1, 4).T
        return DocumentScores(nats=columns[0], tokens=columns[1], hits=columns[2], text_bytes=columns[3])


def evaluate(
    model: Model,
    suites: Sequence[SuiteSpec],
    gates: Sequence[GateSpec] = (),
    *,
    root: Path,
    now: str,
    model_name: str,
    model_digest: str,
    dataset_folder: Path | None = None,
    seed: int = 0,
    progress: Progress = _silent,
    environment: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    max_unscored_fraction: float = MAX_UNSCORED_FRACTION,
    baseline: Baseline | None = None,
) -> EvaluationRecord:
    """Score `model` on each suite and judge the gates; those that compare look at `baseline`.

    A suite's sources are read below `root`. One without takes the validation split of the prepared `dataset_folder`
    (what the model was prepared with, whatever became of the files since). The dataset's training histogram gives the
    unigram reference, when its tokenizer is the model's.
    `progress(suite, documents done, documents in all)`. `now` is the record's time; `seed` draws the resamples.
    Raises what reading the documents raises (missing files); a suite with nothing to score is an `Error` verdict.
    """
    started = clock()
    measured = measure(model, suites, root=root, dataset_folder=dataset_folder, seed=seed, progress=progress)
    results = tuple(suite.result for suite in measured.suites)
    decided = tuple(
        decide(
            gate,
            results,
            comparison=_comparison(gate, measured, baseline, seed=seed),
            max_unscored_fraction=max_unscored_fraction,
        )
        for gate in gates
    )
    unmeasured: list[Verdict] = ["Error" for result in results if not result.items]
    return EvaluationRecord(
        model=model_name,
        model_digest=model_digest,
        suites=results,
        gates=decided,
        verdict=combine([*(gate.verdict for gate in decided), *unmeasured]),
        baseline=baseline.record(measured) if baseline else None,
        created=now,
        seconds=round(clock() - started, 3),
        environment=dict(environment or {}),
    )


def measure(
    model: Model,
    suites: Sequence[SuiteSpec],
    *,
    root: Path,
    dataset_folder: Path | None = None,
    seed: int = 0,
    progress: Progress = _silent,
    references: bool = True,
) -> Measured:
    """Score `model` on each suite, as `evaluate` does, and keep the scores of each document.

    `references`: also tell what xz makes of the texts, which takes a second a megabyte.
    """
    costs = _unigram_costs(model, dataset_folder)
    shelf = _Shelf(model, root, dataset_folder)
    return Measured(
        tuple(
            _run_suite(shelf, suite, _Tally(references), costs=costs, seed=seed, progress=progress) for suite in suites
        )
    )


def _comparison(gate: GateSpec, target: Measured, baseline: Baseline | None, *, seed: int) -> Comparison | None:
    """What a gate's metric is compared with; None for a gate that compares nothing, or without a baseline."""
    wish = gate.not_worse_than_baseline
    if wish is None or baseline is None:
        return None
    comparison = Comparison(baseline.model, missing=baseline.missing, when_missing=baseline.when_missing)
    name, _, metric = gate.metric.partition("/")
    ours = target.suite(name)
    theirs = baseline.measured.suite(name) if baseline.measured else ours
    found = next((one for one in ours.result.metrics if one.metric == metric), None) if ours else None
    if baseline.missing or ours is None or theirs is None or found is None:
        return comparison
    if baseline.measured is None:
        return replace(comparison, difference=no_difference(found.value, found.items, confidence=wish.confidence))
    pairs = pair(ours, theirs)
    differs = difference(metric, pairs, confidence=wish.confidence, rng=_random(seed, name))
    return replace(comparison, difference=differs, same_tokens=pairs.same_tokens, message=theirs.result.message)


def _random(seed: int, suite: str) -> np.random.Generator:
    return np.random.default_rng([seed, *suite.encode()])


def _run_suite(
    shelf: _Shelf,
    suite: SuiteSpec,
    tally: _Tally,
    *,
    costs: npt.NDArray[np.float64] | None,
    seed: int,
    progress: Progress,
) -> SuiteScores:
    total = sum(1 for _ in shelf.documents(suite))
    for batch in _batches(shelf.documents(suite), tally):
        _score(shelf.model, batch, tally, costs)
        progress(suite.name, len(tally.rows) + tally.unscored.total(), total)
    scores = tally.scores()
    result = _result(suite, tally, scores, seed=seed, has_unigram=costs is not None)
    return SuiteScores(result, scores, tuple(tally.keys), tuple(tally.cuts))


def _result(suite: SuiteSpec, tally: _Tally, scores: DocumentScores, *, seed: int, has_unigram: bool) -> SuiteResult:
    unscored = tally.unscored.total()
    if not len(scores):
        words = (
            f"{unscored} could not be scored ({reasons_in_words(tally.unscored)})"
            if unscored
            else "its sources hold none"
        )
        return SuiteResult(
            name=suite.name,
            task=suite.task,
            items=0,
            unscored=unscored,
            unscored_reasons=dict(tally.unscored),
            message=f"suite {suite.name} scored no documents: {words}",
        )
    return SuiteResult(
        name=suite.name,
        task=suite.task,
        items=len(scores),
        unscored=unscored,
        unscored_reasons=dict(tally.unscored),
        metrics=perplexity_metrics(suite.name, scores, unscored=unscored, rng=_random(seed, suite.name)),
        references=_references(tally, has_unigram),
    )


def _batches(documents: Iterator[Text | str], tally: _Tally) -> Iterator[list[Text]]:
    """Documents in groups of about BATCH_TOKENS bytes of text; the others are counted with their reasons."""
    batch: list[Text] = []
    size = 0
    for place, document in enumerate(documents):
        if isinstance(document, str):
            tally.unscored[document] += 1
            continue
        batch.append(replace(document, place=place))
        size += len(document.utf8)
        if size >= 4 * BATCH_TOKENS:  # a token is about four bytes
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _score(model: Model, batch: Sequence[Text], tally: _Tally, costs: npt.NDArray[np.float64] | None) -> None:
    tokenizer = model.tokenizer
    fresh = iter(tokenizer.encode_batch([text.utf8.decode() for text in batch if not text.tokens]))
    encoded = [list(text.tokens) or next(fresh) for text in batch]
    streams = [ScoreItem((tokenizer.bos_id, *tokens, tokenizer.eos_id)) for tokens in encoded]
    for text, tokens, stream, scores in zip(batch, encoded, streams, model.score(streams), strict=True):
        nats = -float(scores.logprobs.sum())
        if not tokens or not np.isfinite(nats):
            tally.unscored["not_finite" if tokens else "no_tokens"] += 1
            continue
        tally.rows.append((nats, len(scores.logprobs), int(scores.greedy.sum()), text.num_bytes))
        tally.keys.append(text.key)
        tally.cuts.append(_short_digest(np.asarray(tokens, dtype=np.int64).tobytes()))
        if costs is not None:
            tally.unigram += float(costs[list(stream.tokens[1:])].sum())
        tally.text_bytes += text.num_bytes
        if tally.references and tally.text_bytes <= LARGEST_XZ_BYTES:
            tally.texts.append(text.utf8)


def _references(tally: _Tally, has_unigram: bool) -> dict[str, float]:
    """bits per byte of the unigram model and of `xz -9`, where they can be told."""
    references = {}
    if has_unigram:
        references["unigram_bits_per_byte"] = tally.unigram / float(np.log(2)) / tally.text_bytes
    packed = xz_bits_per_byte(tally.texts) if tally.text_bytes <= LARGEST_XZ_BYTES else None
    if packed is not None:
        references["xz_bits_per_byte"] = packed
    return references


def _unigram_costs(model: Model, dataset_folder: Path | None) -> npt.NDArray[np.float64] | None:
    if dataset_folder is None or open_tokenizer(dataset_folder / "tokenizer").digest != model.tokenizer.digest:
        return None
    return unigram_nats(open_split(dataset_folder, "train").label_counts())
