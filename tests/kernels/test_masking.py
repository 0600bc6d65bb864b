"""Masks stand where a slow and plain reading of the rules finds an address, and nothing else changes."""

import ipaddress
import random

import pyarrow as pa
import pytest

from beam_etl.kernels.masking import mask, mask_addresses
from beam_etl.testing import check_kernel

CASES = {
    "mail": ("write to Joe.Doe+x@mail.example.co.uk.", "write to <EMAIL>.", 1),
    "mail in brackets": ("<a_b@example.org>", "<<EMAIL>>", 1),
    "no mail": (
        "@user a@b x@.com a@-b.com a@example.1 @example.com",
        "@user a@b x@.com a@-b.com a@example.1 @example.com",
        0,
    ),
    "two mails": ("a@b.de,c@d.fr", "<EMAIL>,<EMAIL>", 2),
    "mail, long": ("x" * 70 + "@example.com", "x" * 6 + "<EMAIL>", 1),
    "mail, letters": ("müller@example.de (José.Álvarez@example.com)", "<EMAIL> (<EMAIL>)", 2),
    "mail, marks of their own": ("mu\u0308ller@example.de", "<EMAIL>", 1),
    "mail, other alphabets": ("почта: иван@example.com, μ@example.gr", "почта: <EMAIL>, <EMAIL>", 2),
    "mail, beside a bracket": ("«müller@example.de» –a@example.de", "«<EMAIL>» –<EMAIL>", 2),
    "mail, long, letters": ("é" * 70 + "@example.com", "é" * 6 + "<EMAIL>", 1),
    "mail in a script without spaces": (
        "请写信到abc@example.com。お問い合わせはa@example.jpまで ติดต่อa@example.com",
        "请写信到<EMAIL>。お問い合わせは<EMAIL>まで ติดต่อ<EMAIL>",
        3,
    ),
    "public": ("ping 8.8.8.8.", "ping <IP>.", 1),
    "port": ("http://93.184.216.34:8080/", "http://<IP>:8080/", 1),
    "port before the end of a sentence": (
        "8.8.8.8:53. 8.8.8.8:53: 8.8.8.8:53... 8.8.8.8:",
        "<IP>:53. <IP>:53: <IP>:53... <IP>:",
        4,
    ),
    "private": ("10.0.0.1 192.168.1.1 127.0.0.1 172.16.0.1 169.254.0.1", None, 0),
    "documentation": ("192.0.2.1 2001:db8::1", None, 0),
    "version": ("version 1.2.3.4.5 and v8.8.8.8 and 8.8.8.8a", None, 0),
    "no address": ("256.1.1.1 1.2.3 12:30:45 ::", None, 0),
    "v6": ("at 2606:4700:4700::1111, or [2606:4700:4700::1001]:443", "at <IP>, or [<IP>]:443", 2),
    "v6 before the end of a sentence": (
        "2606:4700:: and 2606:4700::. Or 2606:4700::1111::.",
        "<IP> and <IP>. Or <IP>::.",
        3,
    ),
    "v6, local": ("fe80::1 fc00::1 ::1", None, 0),
}


@pytest.mark.parametrize(("text", "masked", "count"), CASES.values(), ids=CASES)
def test_what_is_masked(text: str, masked: str | None, count: int) -> None:
    assert mask(text) == (text if masked is None else masked, count)


IP_LETTERS = set("0123456789abcdefABCDEF.:")


def slow_ips(text: str) -> str:
    """Every run of letters that an address may have, tried by the standard library: the longest start that is one.

    Behind it may be a port, and what ends a sentence.
    """
    out, at = "", 0
    while at < len(text):
        stop = at
        while stop < len(text) and text[stop] in IP_LETTERS:
            stop += 1
        run = text[at:stop]
        if not run:
            out, at = out + text[at], at + 1
            continue
        beside = (text[at - 1 : at] + text[stop : stop + 1]).replace("_", "a")
        known = [size for size in range(1, len(run) + 1) if is_address(run[:size]) and may_follow(run, size)]
        public = bool(known) and ipaddress.ip_address(run[: known[-1]]).is_global
        out += f"<IP>{run[known[-1] :]}" if public and not any(map(str.isalnum, beside)) else run
        at = stop
    return out


def is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def may_follow(run: str, size: int) -> bool:
    rest = run[size:].rstrip(".:")
    has_port = run[:size].count(".") == 3 and ":" not in run[:size]
    return not rest or (has_port and rest[0] == ":" and rest[1:].isdecimal())


def test_random_texts_are_masked_as_the_standard_library_reads_them() -> None:
    draw = random.Random(7)
    parts = [
        "8.8.8.8",
        "10.0.0.1",
        "1.1.1.1:80",
        "2606:4700::1",
        "2606:4700::",
        "::1",
        "fe80::",
        ".",
        ":",
        " ",
        "x",
        "_",
        "9",
        "(",
        "é",
        "a",
    ]
    for _ in range(3000):
        text = "".join(draw.choices(parts, k=draw.randint(1, 7)))
        assert mask(text)[0] == slow_ips(text), text


def test_texts_of_a_batch_are_masked_and_counted() -> None:
    texts = [*(text for text, _, _ in CASES.values()), None, ""]
    batch = pa.RecordBatch.from_pydict(
        {"id": list(map(str, range(len(texts)))), "text": pa.array(texts, pa.large_string())}
    )
    made = mask_addresses(batch).to_pydict()
    assert made["text"] == [None if text is None else mask(text)[0] for text in texts]
    assert made["masked"] == [count for _, _, count in CASES.values()] + [0, 0]
    check_kernel(mask_addresses, batch)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_titles_are_masked_and_counted_too(kind: pa.DataType) -> None:
    titles = ["Mail of a@example.com", None, "Server 8.8.8.8", "no address"]
    urls = ["https://example.com/?mail=a@example.com"] * 4
    columns = {
        "text": ["b@example.com", "b@example.com", None, ""],
        "title": pa.array(titles).cast(kind),
        "url": urls,
    }
    made = mask_addresses(pa.RecordBatch.from_pydict(columns))
    assert made["title"].to_pylist() == ["Mail of <EMAIL>", None, "Server <IP>", "no address"]
    assert made["title"].type == kind
    assert made["text"].to_pylist() == ["<EMAIL>", "<EMAIL>", None, ""]
    assert made["masked"].to_pylist() == [2, 1, 1, 0]
    assert made["url"].to_pylist() == urls


def test_a_title_that_is_no_text_stays() -> None:
    batch = pa.RecordBatch.from_pydict({"text": ["b@example.com"], "title": [7]})
    assert mask_addresses(batch)["title"].to_pylist() == [7]


def test_a_long_run_takes_no_longer_than_its_length() -> None:
    for text in ("a" * 3_000_000, "1." * 1_000_000, "@a" * 500_000, "a@" + "b-" * 500_000, ":" * 2_000_000):
        assert mask(text)[1] == 0
