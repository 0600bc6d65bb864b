"""FitPerKey: a model for each key, which scores the documents of that key."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.internal import pickler
from apache_beam.typehints.decorators import no_annotations

from beam_etl import schema
from beam_etl.io.columns import SHARED, Columns
from beam_etl.io.file_source import FileSource
from beam_etl.io.key_buckets import KeyBuckets
from beam_etl.io.map_files import MapFiles, MappedFiles
from beam_etl.io.together import together
from beam_etl.kernels.fitting import ALL, COPY, SALT, Fit, KeyFit, KeyModels, SpreadKeys, fitted
from beam_etl.kernels.hashing import hash_values
from beam_etl.kernels.join_salts import key_salts
from beam_etl.kernels.provenance import carry_file
from beam_etl.kernels.scoring import Predict
from beam_etl.transforms.batches import (
    Batches,
    MapBatches,
    RecordBatchCoder,
    merge_batches,
    run_or_reject,
    split_batch,
)
from beam_etl.transforms.gathering import GatherBatches, combine_all
from beam_etl.transforms.map_partitions import MapPartitions
from beam_etl.transforms.shuffle import Fold, Shuffle

STAGE = "fit per key"
"""What rejects have in the column `stage`."""

OWN_COLUMN = "own_model"

LOOK_BYTES, LOOK_PLACES = 1 << 20, 16
"""Of documents that the launcher reads to expect their bytes, and of keys, to find those with many documents."""

GATHER_BYTES = 32 << 20
"""Documents of a partition that are put together by key at once."""


@dataclass(eq=False, kw_only=True)
class FitPerKey(beam.PTransform):
    """A model for each key, fitted to a sample of its documents, scores all of them. One shuffle, or none.

    None where the input is a dataset whose manifest says that documents of a key are in one partition; then the input
    is read twice. Which it is shows in the plan. A key with fewer than `least` documents in its sample is scored by a
    model of all documents, and so is one for which `fit` returns None.

    A sample is the `most` documents with the smallest hashes of `sample_by`, less where they have more than 4 MiB of
    text; `fit` gets them in that order. So the scores depend on the documents alone, if `fit` and `score` do. A key
    with more documents than one partition should have, as a sample by the launcher tells, is spread over several, each
    of which gets what may be in the key's sample. What may be is told by hashes and a number of documents that the
    launcher estimates: where it is more than twice too high, of such a key or of all, the sample has fewer than `most`.

    Input: the pipeline. Output: MappedFiles: the documents in no order, with `column`, and `own_model`: whether the
    key's own model gave it; rejects are what couldn't be read, and what `score` fails on by itself.

    Args:
      source: the input; its documents() needn't be called.
      by: column of the key; null is a key.
      fit: from documents to a model, or None where they make none. That of all documents travels: it has to pickle.
      score: from a model and documents to one value each, as `predict` of ScoreWithModel.
      column: name of the scores.
      sample_by: column whose hash chooses a sample.
      least, most: documents of a sample.
      columns: as for FileSource.documents.

    Raises:
      ValueError: least and most are out of range, a column has no name of its own, or the documents lack one.
      KernelError, ValueError: while running, where `fit` fails, or `score` on more than MAX_FAILING rows at once.
      NoValuesError: while running, where `score` gives something else than a row of values.
    """

    source: FileSource
    by: str
    fit: Fit
    score: Predict
    column: str = "score"
    sample_by: str = schema.ID
    least: int = 100
    most: int = 1000
    columns: Columns | None = None
    _how: KeyFit = field(init=False)

    def __post_init__(self) -> None:
        super().__init__()
        if not 1 <= self.least <= self.most:
            raise ValueError(f"least is 1 to most, got least={self.least}, most={self.most}")
        if self.column == OWN_COLUMN:
            raise ValueError(f"column={OWN_COLUMN!r} is the name of another column that FitPerKey adds")
        self._how = KeyFit(
            by=self.by,
            fit=self.fit,
            score=self.score,
            column=self.column,
            own_column=OWN_COLUMN,
            sample_by=self.sample_by,
            most=self.most,
            least=self.least,
        )

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, pipeline: beam.Pipeline) -> MappedFiles:
        columns = self.columns or self.source.read.columns
        look = self.source.sample(LOOK_BYTES, LOOK_PLACES, columns)
        for batch in look.batches[:1]:
            if missing := sorted({self.by, self.sample_by} - set(batch.schema.names)):
                raise ValueError(f"no column {missing[0]!r}; documents have {', '.join(batch.schema.names)}")
        rows, size = look.expected(self.source.told_documents())
        whole = _FitAll(self._how, self._how.share(rows, look.batches))
        found = together(self.source.read, columns, (self.by,))
        if found is None:
            return self._shuffled(columns, whole, _Expected(rows, size, look.batches))
        documents, _, _ = self.source.documents(columns, again=True)
        mapped = pipeline | "Partitions" >> MapFiles(
            source=self.source,
            kernel=partial(_fit_in_place, how=self._how),
            columns=columns,
            groups=found.files,
            side=beam.pvalue.AsSingleton(documents | "Model of all" >> whole),
        )
        return _apart(mapped.batches, mapped.rejects)

    def _shuffled(self, columns: Columns, whole: "_FitAll", expected: "_Expected") -> MappedFiles:
        documents, rejects, _ = self.source.documents(columns)
        spread, copies = self._spread_keys(columns, expected)
        keys = (self.by, SALT) if spread.hashes else (self.by,)
        carried = documents | "Carry file" >> MapBatches(carry_file)
        if spread.hashes:
            carried |= "Spread" >> beam.ParDo(_Spread(self._how, spread)).with_output_types(pa.RecordBatch)
        scored = (
            carried
            | "Shuffle" >> Shuffle(by=keys, expected_bytes=expected.bytes + copies)
            | "Fit"
            >> MapPartitions(
                kernel=partial(_fit_partition, how=self._how, spread=spread),
                side=beam.pvalue.AsSingleton(documents | "Model of all" >> whole),
            )
        )
        return _apart(scored, rejects)

    def _spread_keys(self, columns: Columns, expected: "_Expected") -> tuple[SpreadKeys, int]:
        """The keys with too many documents for one partition, and the bytes of copies that parts get."""
        needed, carry = ((self.by,), ()) if self.by in SHARED else ((), (self.by,))
        narrow = replace(columns, needed=needed, optional=(), carry=carry)
        keys = self.source.sample(LOOK_BYTES, LOOK_PLACES, narrow).batches
        hashes = [hash_values(batch.column(self.by)) for batch in keys if batch.num_rows]
        if not hashes:
            return SpreadKeys(), 0
        sampled = np.concatenate(hashes)
        salts = key_salts(hashes, expected.bytes / len(sampled))
        shares, copies = {}, 0.0
        for key in salts:
            count = np.count_nonzero(sampled == np.uint64(key))
            fewest = count - 2 * np.sqrt(count)  # so many there may be by chance
            shares[key] = self._how.share(fewest / len(sampled) * expected.rows, expected.look)
            copies += salts[key] * min(shares[key], 1.0) * count / len(sampled) * expected.bytes
        return SpreadKeys.of(salts, shares), round(copies)


class _Expected(NamedTuple):
    """What the launcher knows of all documents: about how many, their bytes in memory, and some of them."""

    rows: int
    bytes: int
    look: list[pa.RecordBatch]


@dataclass(eq=False)
class _FitAll(beam.PTransform):
    """One element: the model of all documents, pickled; empty where there is none.

    Args:
      how: it is fitted.
      share: of all documents, that the sample is chosen from.
    """

    how: KeyFit
    share: float

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, documents: Batches) -> beam.PCollection[bytes]:
        return (
            documents
            | "Likely" >> MapBatches(partial(self.how.likely, shares=self.share))
            | "Cut" >> beam.ParDo(_CutSample(self.how)).with_output_types(bytes)
            | "Sample" >> Fold(merge=partial(_merged, how=self.how))
            | "Fit" >> beam.Map(_fitted, how=self.how, share=self.share).with_output_types(bytes)
        )


class _CutSample(GatherBatches):
    """Of what a bundle gathers what may be in the sample of all documents."""

    def __init__(self, how: KeyFit) -> None:
        super().__init__(GATHER_BYTES)
        self._how = how

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[bytes]:
        yield RecordBatchCoder().encode(self._how.sample_of_all(merge_batches(batches)))


def _merged(samples: list[bytes], how: KeyFit) -> bytes:
    batches = [RecordBatchCoder().decode(sample) for sample in samples if sample]
    return RecordBatchCoder().encode(how.sample_of_all(merge_batches(batches))) if batches else b""


def _fitted(sample: bytes, how: KeyFit, share: float) -> bytes:
    rows = RecordBatchCoder().decode(sample) if sample else None
    if rows is None or not rows.num_rows:
        return b""
    if share < 1 and how.is_short(rows):
        _tell_short(ALL, how)
    model = fitted(how, rows, ALL)
    try:
        packed: bytes = pickler.dumps(model)
    except Exception as error:
        raise ValueError(
            f"the model of {ALL}, a {type(model).__name__}, travels to the workers and doesn't pickle: "
            f"{type(error).__name__}: {error}"
        ) from error
    return packed


def _tell_short(of: str, how: KeyFit) -> None:
    logging.getLogger(__name__).warning(
        "the model of %s is fitted to fewer than %d documents: a look at the input had the "
        "launcher expect more, or longer ones. With the same documents in other files it may be fitted to more.",
        of,
        how.most,
    )


class _Spread(GatherBatches):
    """Rows to the parts of their keys."""

    def __init__(self, how: KeyFit, spread: SpreadKeys) -> None:
        super().__init__(GATHER_BYTES)
        self._how, self._keys = how, spread

    def release(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows in self._keys.spread(merge_batches(batches), self._how):
            yield from split_batch(rows)


def _fit_in_place(documents: Iterator[pa.RecordBatch], whole: bytes, how: KeyFit) -> Iterator[pa.RecordBatch]:
    with KeyBuckets(how.by) as buckets:
        for batch in documents:
            buckets.add(carry_file(batch))
        for part in buckets.parts():
            yield from _fit_partition(part, whole, how, SpreadKeys())


def _fit_partition(
    batches: Iterable[pa.RecordBatch], whole: bytes, how: KeyFit, spread: SpreadKeys
) -> Iterator[pa.RecordBatch]:
    """Documents with their scores, and rejects. The batches are read twice: for samples, and to be scored."""
    sample = next(combine_all(_candidates(batches, how, spread), how.sample), None)
    for key in [] if sample is None else spread.short(sample, how):
        _tell_short(f"{how.by}={key}", how)
    models = KeyModels(how, sample, pickler.loads(whole) if whole else None)
    for rows in _gathered(batches):
        for kernel, group in models.score(rows):
            for piece in split_batch(group):
                made, rejects = run_or_reject(kernel, piece, STAGE)
                yield from made
                if rejects is not None:
                    yield rejects


def _candidates(
    batches: Iterable[pa.RecordBatch], how: KeyFit, spread: SpreadKeys
) -> Iterator[pa.RecordBatch]:
    """What samples are chosen from: of keys that are spread, copies alone."""
    for batch in batches:
        if COPY in batch.schema.names:
            yield batch.drop_columns([COPY, SALT])
        else:
            yield spread.without(_without_salt(batch), how)


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The documents to be scored, so many at once that those of a key are together."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if COPY in batch.schema.names:
            continue
        waiting.append(_without_salt(batch))
        size += batch.nbytes
        if size > GATHER_BYTES:
            yield merge_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield merge_batches(waiting)


def _without_salt(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.drop_columns([SALT]) if SALT in batch.schema.names else batch


def _apart(mixed: Batches, rejects: Batches) -> MappedFiles:
    """Documents and rejects that came as one."""
    scored = mixed | "Scored" >> MapBatches(partial(_only, rejects=False))
    failed = mixed | "Failed" >> MapBatches(partial(_only, rejects=True))
    return MappedFiles(scored, (rejects, failed) | "Rejects" >> beam.Flatten())


def _only(batch: pa.RecordBatch, rejects: bool) -> pa.RecordBatch | None:
    return batch if batch.schema.equals(schema.REJECT) == rejects else None
