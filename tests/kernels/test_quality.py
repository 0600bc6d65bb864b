"""Quality rules: the verdicts of datatrove, stored by tools/make_quality_gold.py, and their edges."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from beam_etl.kernels.quality import (
    RULE_SETS,
    SIGNAL_SCHEMA,
    Rule,
    failures,
    parse_thresholds,
    rules_of,
    signals,
)

GOLD = Path(__file__).with_name("datatrove_gold.json.gz")
ALL = rules_of(RULE_SETS)

PUBLISHED = {
    "gopher_quality.min_words": 50,
    "gopher_quality.max_words": 100_000,
    "gopher_quality.min_mean_word_length": 3,
    "gopher_quality.max_mean_word_length": 10,
    "gopher_quality.max_hash_signs": 0.1,
    "gopher_quality.max_ellipses": 0.1,
    "gopher_quality.max_bullet_lines": 0.9,
    "gopher_quality.max_ellipsis_lines": 0.3,
    "gopher_quality.min_letter_tokens": 0.8,
    "gopher_quality.min_stop_words": 2,
    "gopher_repetition.min_characters": 1,
    "gopher_repetition.max_duplicate_paragraphs": 0.3,
    "gopher_repetition.max_duplicate_paragraph_characters": 0.2,
    "gopher_repetition.max_duplicate_lines": 0.3,
    "gopher_repetition.max_duplicate_line_characters": 0.2,
    "gopher_repetition.max_top_2gram": 0.2,
    "gopher_repetition.max_top_3gram": 0.18,
    "gopher_repetition.max_top_4gram": 0.16,
    "gopher_repetition.max_duplicate_5gram": 0.15,
    "gopher_repetition.max_duplicate_6gram": 0.14,
    "gopher_repetition.max_duplicate_7gram": 0.13,
    "gopher_repetition.max_duplicate_8gram": 0.12,
    "gopher_repetition.max_duplicate_9gram": 0.11,
    "gopher_repetition.max_duplicate_10gram": 0.1,
    "fineweb.min_filled_lines": 1,
    "fineweb.min_punctuated_lines": 0.12,
    "fineweb.max_short_lines": 0.67,
    "fineweb.max_duplicate_line_characters": 0.01,
    "fineweb.max_new_lines": 0.3,
    "c4.max_lorem_ipsum_lines": 0,
    "c4.max_brace_lines": 0,
    "c4.min_sentences": 5,
}

TOLD = {
    "gopher_short_doc": "min_words",
    "gopher_long_doc": "max_words",
    "gopher_below_avg_threshold": "min_mean_word_length",
    "gopher_above_avg_threshold": "max_mean_word_length",
    "gopher_too_many_hashes": "max_hash_signs",
    "gopher_too_many_ellipsis": "max_ellipses",
    "gopher_too_many_bullets": "max_bullet_lines",
    "gopher_too_many_end_ellipsis": "max_ellipsis_lines",
    "gopher_below_alpha_threshold": "min_letter_tokens",
    "gopher_enough_stop_words": "min_stop_words",
    "dup_para_frac": "max_duplicate_paragraphs",
    "dup_para_char_frac": "max_duplicate_paragraph_characters",
    "dup_line_frac": "max_duplicate_lines",
    "dup_line_char_frac": "max_duplicate_line_characters",
    **{f"top_{n}_gram": f"max_top_{n}gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"max_duplicate_{n}gram" for n in range(5, 11)},
    "line_punct_ratio": "min_punctuated_lines",
    "short_line_ratio": "max_short_lines",
    "char_dup_ratio": "max_duplicate_line_characters",
    "list_ratio": "max_new_lines",
    "lorem_ipsum": "max_lorem_ipsum_lines",
    "curly_bracket": "max_brace_lines",
    "too_few_sentences": "min_sentences",
}
"""datatrove's reasons, and the rule that each one is."""


@pytest.mark.parametrize("place", range(4), ids=[*RULE_SETS])
def test_real_documents_have_the_verdicts_of_datatrove(place: int, webtext: list[dict[str, Any]]) -> None:
    with gzip.open(GOLD, "rt", encoding="utf-8") as stored:
        gold = json.load(stored)
    name = gold["sets"][place]
    english = [document for document in webtext if document["id"] in gold["verdicts"]]
    ours = failures(signals(pa.array([document["text"] for document in english])), RULE_SETS[name])
    wrong = []
    for document, failed in zip(english, ours.column("failed").to_pylist(), strict=True):
        reason = gold["verdicts"][document["id"]][place]
        told = f"{name}.{TOLD[reason]}" if reason else None
        if failed[:1] != ([told] if told else []):  # rules are in the order in which datatrove asks
            wrong.append((document["id"], reason, failed))
    assert len(english) == 734
    assert wrong == []


def test_the_thresholds_are_those_that_were_published() -> None:
    assert {rule.name: rule.threshold for rule in ALL} == PUBLISHED


def made(**counts: int) -> pa.RecordBatch:
    """Signals of one document: these, and 0 of all others."""
    columns = [pa.array([counts.get(field.name, 0)], field.type) for field in SIGNAL_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SIGNAL_SCHEMA)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_a_threshold_itself_is_kept_and_one_more_or_less_is_not(rule: Rule) -> None:
    of = 100
    at = round(rule.threshold * (of if rule.of else 1))
    beyond = at - 1 if rule.bound == "min" else at + 1
    wholes = {rule.of: of} if rule.of else {}
    for count, broken in ((at, []), (beyond, [[rule.name]])):
        told = failures(made(**wholes, **{rule.signal: count}), [rule]).column("failed").to_pylist()
        assert told == (broken or [[]])


def test_all_rules_that_a_document_fails_are_told_in_order_with_what_broke_them() -> None:
    texts = ["The end of it, and that is that.\n\n\n", None, "a # a # a # a # a"]
    told = failures(signals(pa.array(texts)), rules_of(("gopher_quality", "fineweb"))).to_pylist()
    assert told[0]["reasons"] == [
        "gopher_quality.min_words: 8 < 50",
        "gopher_quality.min_mean_word_length: 2.875 < 3",
    ]
    assert told[2]["reasons"] == [
        "gopher_quality.min_words: 5 < 50",
        "gopher_quality.min_mean_word_length: 1 < 3",
        "gopher_quality.max_hash_signs: 0.444444 > 0.1",
        "gopher_quality.min_letter_tokens: 0.555556 < 0.8",
        "gopher_quality.min_stop_words: 0 < 2",
        "fineweb.min_punctuated_lines: 0 < 0.12",
        "fineweb.max_short_lines: 1 > 0.67",
    ]
    assert all([reason.split(":")[0] for reason in row["reasons"]] == row["failed"] for row in told)
    assert told[1] == {"failed": [], "reasons": []}


TOLD_APART = {
    "just above": ("max", 0.3, 300_000_001, "0.300000001 > 0.3"),
    "just below": ("min", 0.3, 299_999_999, "0.299999999 < 0.3"),
    "well above": ("max", 0.3, 412_345_678, "0.412346 > 0.3"),
    "a long threshold": ("max", 0.1234567, 123_456_800, "0.123457 > 0.1234567"),
    "a large threshold": ("min", 12_345_678, 0, "0 < 12345678"),
}


@pytest.mark.parametrize(("bound", "threshold", "count", "said"), TOLD_APART.values(), ids=TOLD_APART)
def test_a_value_is_told_apart_from_its_threshold(
    bound: str, threshold: float, count: int, said: str
) -> None:
    rule = Rule(f"mine.{bound}_signs", "hash_signs", threshold, "tokens")
    told = failures(made(hash_signs=count, tokens=10**9), [rule])
    assert told["reasons"].to_pylist() == [[f"mine.{bound}_signs: {said}"]]


def test_an_empty_document_fails_each_set() -> None:
    told = failures(signals(pa.array([""])), ALL).column("failed").to_pylist()
    assert told == [
        [
            "gopher_quality.min_words",
            "gopher_quality.min_stop_words",
            "gopher_repetition.min_characters",
            "fineweb.min_filled_lines",
            "c4.min_sentences",
        ]
    ]


def test_thresholds_can_be_others_and_rules_left_out() -> None:
    rules = rules_of(["c4"], {"c4.min_sentences": 3, "c4.max_brace_lines": None})
    assert [(rule.name, rule.threshold) for rule in rules] == [
        ("c4.max_lorem_ipsum_lines", 0),
        ("c4.min_sentences", 3),
    ]
    own = Rule("house.max_bytes", "bytes", 10)
    assert rules_of([own, "c4"])[0] is own


def test_thresholds_are_read_from_flags() -> None:
    assert parse_thresholds(["a.max_b:0.5", "a.min_c:none", "a.max_d:1e3"]) == {
        "a.max_b": 0.5,
        "a.min_c": None,
        "a.max_d": 1000,
    }
    for wrong in ("a.max_b", "a.max_b:", "a.max_b:x", ""):
        with pytest.raises(ValueError, match=f"a threshold is RULE:NUMBER or RULE:none, got '{wrong}'"):
            parse_thresholds([wrong])


def test_what_does_not_exist_is_told_with_what_does() -> None:
    with pytest.raises(ValueError, match="no rule set 'gopher'; there are gopher_quality, gopher_repetition"):
        rules_of(["gopher"])
    with pytest.raises(ValueError, match=r"no rule 'c4.max_words'; there are c4.max_lorem_ipsum_lines, "):
        rules_of(["c4"], {"c4.max_words": 1})
    with pytest.raises(ValueError, match="house.min_letters: no signal 'letters'; there are bytes, "):
        Rule("house.min_letters", "letters", 1)
    with pytest.raises(ValueError, match="a rule's name is set.min_what or set.max_what, got 'few_words'"):
        Rule("few_words", "words", 1)
    with pytest.raises(KeyError, match="no signal 'words'; there are bytes"):
        failures(made().select(["bytes"]), RULE_SETS["gopher_quality"])
