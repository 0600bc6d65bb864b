"""What `import beam_etl` gives. A name that is added or lost here is a change that users see."""

import subprocess
import sys

import beam_etl

PUBLIC = [
    *("AddWindows", "Aggregate", "AggregateColumns", "AssignWindows", "Banding"),
    *("BatchRows", "Batches", "BuildInvertedIndex", "Columns", "ConnectedComponents", "CountTokens"),
    *("DatasetError", "Decontaminate", "DeduplicateExact", "DeduplicateNear", "DeduplicateWindows"),
    *("DetectLanguages", "ExactRule", "ExtractText", "FilterDocuments", "FilterQuality"),
    *("FindRepeatedLines", "FitPerKey", "GateLateRows", "InputError", "InvertedIndex", "Join"),
    *("JoinDomainScores", "Keep", "KernelError", "LineRule", "MapBatches", "MapDocumentPartitions"),
    *("MapPartitions", "MaskAddresses", "NearRule", "Order", "Partitioning", "ReadDocuments", "Rebalance"),
    *("RecordBatchCoder", "RemoveLines", "RemoveRepeatedLines", "SampleKeys", "ScoreDomains"),
    *("ScoreWithModel", "Shuffle", "TopK", "UnbatchRows", "WindowSpec", "WriteDataset", "WriteIndex"),
    *("__version__", "evaluations_in", "load_vocabulary", "parse_window", "plan"),
]


def test_the_public_names_are_these_and_each_can_be_imported() -> None:
    assert sorted(beam_etl.__all__) == PUBLIC
    assert all(getattr(beam_etl, name) is not None for name in PUBLIC)
    assert sorted(dir(beam_etl)) == PUBLIC


def test_importing_the_package_imports_no_beam() -> None:
    code = "import beam_etl, sys; print('apache_beam' in sys.modules, beam_etl.__version__)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", beam_etl.__version__]
