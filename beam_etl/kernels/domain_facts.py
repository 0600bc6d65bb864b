"""What statistics of domains are made of, without texts, of documents that may be removed yet."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl import schema
from beam_etl.kernels.content import byte_lengths
from beam_etl.kernels.domain_measures import TEXT_BYTES, Measures
from beam_etl.kernels.domain_statistics import partial_statistics

_JUDGED = "beam_etl.judged"
"""struct: what documents were judged by."""


def document_facts(
    documents: pa.RecordBatch, judge: Callable[[pa.RecordBatch], pa.RecordBatch], measures: Measures
) -> pa.RecordBatch:
    """Facts of documents, some 150 bytes each. A null text is no document.

    Args:
      documents: with address, text and domain, and where there are language, date and id.
      judge: makes what `partial_statistics` takes as `judged`.
      measures: what will be counted. Its sample is by columns other than the text.

    Returns:
      schema.NODE, the columns named above but the text, TEXT_BYTES, and one of what was judged.

    Raises:
      ValueError: the sample is by the text.
    """
    if schema.TEXT in measures.sample_by:
        raise ValueError("facts of documents have no text to choose a sample by")
    if documents.column(schema.TEXT).null_count:
        documents = documents.filter(pc.is_valid(documents.column(schema.TEXT)))
    wanted = (schema.DOMAIN, schema.LANGUAGE, schema.DATE, schema.ID, *measures.sample_by)
    names = [name for name in dict.fromkeys(wanted) if name in documents.schema.names]
    judged = judge(documents)
    columns = {
        schema.NODE: documents.column(schema.ADDRESS),
        **{name: documents.column(name) for name in names},
        TEXT_BYTES: byte_lengths(documents.column(schema.TEXT)).cast(pa.int64()),
        _JUDGED: pa.StructArray.from_arrays(judged.columns, fields=list(judged.schema)),
    }
    return pa.RecordBatch.from_pydict(columns)


def facts_statistics(facts: pa.RecordBatch, measures: Measures) -> pa.RecordBatch:
    """The partial statistics that `partial_statistics` would make of the documents of some facts."""
    judged = pa.RecordBatch.from_struct_array(facts.column(_JUDGED))
    documents = facts.drop_columns([_JUDGED])
    names = [schema.ADDRESS if name == schema.NODE else name for name in documents.schema.names]
    return partial_statistics(documents.rename_columns(names), judged, measures)
