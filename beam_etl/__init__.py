"""Apache Beam pipelines that turn a web crawl into a training corpus."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beam_etl.io.columns import Columns as Columns
    from beam_etl.io.errors import InputError as InputError
    from beam_etl.io.evaluations import evaluations_in as evaluations_in
    from beam_etl.io.fit_per_key import FitPerKey as FitPerKey
    from beam_etl.io.index.files import WriteIndex as WriteIndex
    from beam_etl.io.index.reader import InvertedIndex as InvertedIndex
    from beam_etl.io.manifest import DatasetError as DatasetError
    from beam_etl.io.map_partitions import MapDocumentPartitions as MapDocumentPartitions
    from beam_etl.io.read import ReadDocuments as ReadDocuments
    from beam_etl.io.vocabularies import load_vocabulary as load_vocabulary
    from beam_etl.io.write import WriteDataset as WriteDataset
    from beam_etl.kernels.banding import Banding as Banding
    from beam_etl.kernels.candidates import NearRule as NearRule
    from beam_etl.kernels.exact import ExactRule as ExactRule
    from beam_etl.kernels.keeping import Keep as Keep
    from beam_etl.kernels.partitioning import Partitioning as Partitioning
    from beam_etl.kernels.repeated_lines import LineRule as LineRule
    from beam_etl.kernels.sorting import Order as Order
    from beam_etl.kernels.window_text import parse_window as parse_window
    from beam_etl.kernels.windows import WindowSpec as WindowSpec
    from beam_etl.observe.plan import plan as plan
    from beam_etl.transforms.aggregate import Aggregate as Aggregate
    from beam_etl.transforms.aggregate_columns import AggregateColumns as AggregateColumns
    from beam_etl.transforms.annotations import DetectLanguages as DetectLanguages
    from beam_etl.transforms.annotations import MaskAddresses as MaskAddresses
    from beam_etl.transforms.batches import Batches as Batches
    from beam_etl.transforms.batches import KernelError as KernelError
    from beam_etl.transforms.batches import MapBatches as MapBatches
    from beam_etl.transforms.batches import RecordBatchCoder as RecordBatchCoder
    from beam_etl.transforms.components import ConnectedComponents as ConnectedComponents
    from beam_etl.transforms.decontaminate import Decontaminate as Decontaminate
    from beam_etl.transforms.dedup import DeduplicateExact as DeduplicateExact
    from beam_etl.transforms.dedup import DeduplicateNear as DeduplicateNear
    from beam_etl.transforms.dedup_windows import DeduplicateWindows as DeduplicateWindows
    from beam_etl.transforms.domain_join import JoinDomainScores as JoinDomainScores
    from beam_etl.transforms.domain_score import ScoreDomains as ScoreDomains
    from beam_etl.transforms.extract import ExtractText as ExtractText
    from beam_etl.transforms.filters import FilterDocuments as FilterDocuments
    from beam_etl.transforms.inverted_index import BuildInvertedIndex as BuildInvertedIndex
    from beam_etl.transforms.join import Join as Join
    from beam_etl.transforms.late_gate import GateLateRows as GateLateRows
    from beam_etl.transforms.map_partitions import MapPartitions as MapPartitions
    from beam_etl.transforms.quality import FilterQuality as FilterQuality
    from beam_etl.transforms.repeated_lines import FindRepeatedLines as FindRepeatedLines
    from beam_etl.transforms.repeated_lines import RemoveLines as RemoveLines
    from beam_etl.transforms.repeated_lines import RemoveRepeatedLines as RemoveRepeatedLines
    from beam_etl.transforms.rows import BatchRows as BatchRows
    from beam_etl.transforms.rows import UnbatchRows as UnbatchRows
    from beam_etl.transforms.sampling import SampleKeys as SampleKeys
    from beam_etl.transforms.score_with_model import ScoreWithModel as ScoreWithModel
    from beam_etl.transforms.shuffle import Rebalance as Rebalance
    from beam_etl.transforms.shuffle import Shuffle as Shuffle
    from beam_etl.transforms.token_count import CountTokens as CountTokens
    from beam_etl.transforms.top import TopK as TopK
    from beam_etl.transforms.windows import AddWindows as AddWindows
    from beam_etl.transforms.windows import AssignWindows as AssignWindows

__version__ = "0.1.0"

_PUBLIC = {
    "AddWindows": "transforms.windows",
    "Aggregate": "transforms.aggregate",
    "AggregateColumns": "transforms.aggregate_columns",
    "AssignWindows": "transforms.windows",
    "Banding": "kernels.banding",
    "BatchRows": "transforms.rows",
    "Batches": "transforms.batches",
    "BuildInvertedIndex": "transforms.inverted_index",
    "Columns": "io.columns",
    "ConnectedComponents": "transforms.components",
    "CountTokens": "transforms.token_count",
    "DatasetError": "io.manifest",
    "Decontaminate": "transforms.decontaminate",
    "DeduplicateExact": "transforms.dedup",
    "DeduplicateNear": "transforms.dedup",
    "DeduplicateWindows": "transforms.dedup_windows",
    "DetectLanguages": "transforms.annotations",
    "ExactRule": "kernels.exact",
    "ExtractText": "transforms.extract",
    "FilterDocuments": "transforms.filters",
    "FilterQuality": "transforms.quality",
    "FindRepeatedLines": "transforms.repeated_lines",
    "FitPerKey": "io.fit_per_key",
    "GateLateRows": "transforms.late_gate",
    "InputError": "io.errors",
    "InvertedIndex": "io.index.reader",
    "Join": "transforms.join",
    "JoinDomainScores": "transforms.domain_join",
    "Keep": "kernels.keeping",
    "KernelError": "transforms.batches",
    "LineRule": "kernels.repeated_lines",
    "MapBatches": "transforms.batches",
    "MapDocumentPartitions": "io.map_partitions",
    "MapPartitions": "transforms.map_partitions",
    "MaskAddresses": "transforms.annotations",
    "NearRule": "kernels.candidates",
    "Order": "kernels.sorting",
    "Partitioning": "kernels.partitioning",
    "ReadDocuments": "io.read",
    "Rebalance": "transforms.shuffle",
    "RecordBatchCoder": "transforms.batches",
    "RemoveLines": "transforms.repeated_lines",
    "RemoveRepeatedLines": "transforms.repeated_lines",
    "SampleKeys": "transforms.sampling",
    "ScoreDomains": "transforms.domain_score",
    "ScoreWithModel": "transforms.score_with_model",
    "Shuffle": "transforms.shuffle",
    "TopK": "transforms.top",
    "UnbatchRows": "transforms.rows",
    "WindowSpec": "kernels.windows",
    "WriteDataset": "io.write",
    "WriteIndex": "io.index.files",
    "evaluations_in": "io.evaluations",
    "load_vocabulary": "io.vocabularies",
    "parse_window": "kernels.window_text",
    "plan": "observe.plan",
}
"""Public names and the modules that hold them. They are loaded when they are first used: Beam takes most of a second,
and `python -m beam_etl` needs none of it."""

__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'beam_etl' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"beam_etl.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
