import threading
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_etl import ScoreWithModel, UnbatchRows
from beam_etl.kernels.scoring import NoValuesError, with_values
from beam_etl.transforms.batches import run_kernel
from tests.beam import run

LOADED: list[str] = []
_lock = threading.Lock()


def load(name: str = "default", factor: int = 2) -> dict[str, Any]:
    with _lock:
        LOADED.append(name)
    return {"name": name, "factor": factor}


def predict(model: dict[str, Any], batch: pa.RecordBatch) -> np.ndarray:
    texts = batch.column("text").to_pylist()
    if "poison" in texts:
        raise ValueError("not this one")
    return np.array([model["factor"] * len(text) for text in texts], np.float32)


def documents(texts: list[str]) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string()), "n": range(len(texts))})


@pytest.fixture(autouse=True)
def _none_loaded() -> None:
    LOADED.clear()


def test_a_model_is_loaded_once_whatever_the_threads_and_steps() -> None:
    """Another value is another model. What the model fails on is a reject."""
    batches = [documents(["a" * (n + 1), "b"]) for n in range(20)] + [documents(["x", "poison", "yy"])]
    loading = partial(load, "once", 3)
    with run("--direct_num_workers=4") as pipeline:
        read = pipeline | beam.Create(batches)
        one = read | "One" >> ScoreWithModel(load=loading, predict=predict)
        two = one.batches | "Two" >> ScoreWithModel(load=loading, predict=predict, column="again")
        other = read | "Other" >> ScoreWithModel(load=partial(load, "other"), predict=predict)
        scores = two.batches | UnbatchRows() | beam.Map(lambda row: (row["score"], row["again"]))
        expected = [(3 * (n + 1), 3 * (n + 1)) for n in range(20)] + [(3, 3)] * 21 + [(6, 6)]
        assert_that(scores, equal_to(expected), label="scores")
        told = one.rejects | "Rejects" >> UnbatchRows() | beam.Map(lambda row: (row["stage"], row["reason"]))
        assert_that(told, equal_to([("score with model", "ValueError: not this one")]), label="rejects")
        counts = other.batches | "Count" >> beam.Map(lambda batch: batch.num_rows)
        assert_that(counts | "Sum" >> beam.CombineGlobally(sum), equal_to([42]), label="other")
    assert sorted(LOADED) == ["once", "other"]


def fail_to_load(name: str) -> None:
    raise OSError(f"{name}: the store is away")


def test_a_model_that_cannot_be_loaded_rejects_no_documents() -> None:
    pipeline = run()
    batches = pipeline | beam.Create([documents(["a"])])
    batches | ScoreWithModel(load=partial(fail_to_load, "m.bin"), predict=predict)
    with pytest.raises(Exception, match=r"fail_to_load failed on this worker: OSError: m\.bin: the store"):
        pipeline.run().wait_until_finish()


FORMS: dict[str, Any] = {
    "list": [1.5, None],
    "numpy": np.array([1, 2]),
    "arrow": pa.array(["good", "bad"]),
    "chunked": pa.chunked_array([[1.0], [2.0]]),
}


@pytest.mark.parametrize("values", FORMS.values(), ids=FORMS)
def test_values_may_come_in_any_form(values: Any) -> None:
    scored = with_values(documents(["a", "b"]), values, "score")
    assert scored.schema.names == ["text", "n", "score"]
    assert (
        scored.column("score").to_pylist()
        == pa.array(list(FORMS["list"] if values is FORMS["list"] else values)).to_pylist()
    )
    assert with_values(scored, [7, 8], "n").column("n").to_pylist() == [7, 8]


@pytest.mark.parametrize("values", [[1.0], np.zeros(3), []], ids=["few", "many", "none"])
def test_other_than_one_value_a_row_is_an_error(values: Any) -> None:
    with pytest.raises(ValueError, match="of 2 rows, which need one each"):
        with_values(documents(["a", "b"]), values, "score")


def test_nothing_but_nulls_has_the_type_of_scores() -> None:
    """So a batch without any is like the others."""
    some, none = (with_values(documents(["a"]), [value], "score").schema for value in (0.5, None))
    assert some == none


NO_VALUES: dict[str, tuple[Any, str]] = {
    "a number": (0.5, "as float, of 2 rows: give one value for each row"),
    "a number of NumPy": (np.float32(0.5), r"as float32 of shape \(\)"),
    "nothing": (None, "as NoneType"),
    "a matrix": (np.zeros((2, 1)), r"as ndarray of shape \(2, 1\)"),
    "a table": (pa.table({"a": [1, 2]}), r"as Table of shape \(2, 1\)"),
    "an iterator": (iter([1, 2]), "as list_iterator"),
    "text": ("ab", "as str"),
}


@pytest.mark.parametrize(("values", "message"), NO_VALUES.values(), ids=NO_VALUES)
def test_what_is_no_row_of_values_is_told_and_rejects_no_documents(values: Any, message: str) -> None:
    with pytest.raises(NoValuesError, match=message):
        list(run_kernel(lambda batch: with_values(batch, values, "score"), documents(["a", "b"])))


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "a lambda": (lambda: 1, ValueError, "needs a function of a module"),
    "by name": (partial(load, name="a"), ValueError, "takes values by place"),
    "no function": ("model.bin", TypeError, "load and predict are functions"),
    "an unhashable value": (partial(load, ["a"]), TypeError, "unhashable"),
}


@pytest.mark.parametrize(("loading", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_a_process_could_not_know_again_is_refused(
    loading: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ScoreWithModel(load=loading, predict=predict)
