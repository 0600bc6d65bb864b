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
    "public": ("ping 8.8.8.8.", "ping <IP>.", 1),
    "port": ("http://93.184.216.34:8080/", "http://<IP>:8080/", 1),
    "private": ("10.0.0.1 192.168.1.1 127.0.0.1 172.16.0.1 169.254.0.1", None, 0),
    "documentation": ("192.0.2.1 2001:db8::1", None, 0),
    "version": ("version 1.2.3.4.5 and v8.8.8.8 and 8.8.8.8a", None, 0),
    "no address": ("256.1.1.1 1.2.3 12:30:45 ::", None, 0),
    "v6": ("at 2606:4700:4700::1111, or [2606:4700:4700::1001]:443", "at <IP>, or [<IP>]:443", 2),
    "v6, local": ("fe80::1 fc00::1 ::1", None, 0),
}


@pytest.mark.parametrize(("text", "masked", "count"), CASES.values(), ids=CASES)
def test_what_is_masked(text: str, masked: str | None, count: int) -> None:
    assert mask(text) == (text if masked is None else masked, count)


IP_LETTERS = set("0123456789abcdefABCDEF.:")


def slow_ips(text: str) -> str:
    """Every run of letters that an address may have, tried by the standard library."""
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
        address, rest = run, ""
        if run.count(".") == 3 and run.count(":") == 1:
            address, rest = run[: run.index(":")], run[run.index(":") :]
            if rest[1:] and not rest[1:].isdecimal():
                address, rest = run, ""
        elif not run.endswith("::"):
            address = run.rstrip(".:")
            rest = run[len(address) :]
        try:
            public = ipaddress.ip_address(address).is_global
        except ValueError:
            public = False
        out += f"<IP>{rest}" if public and not any(map(str.isalnum, beside)) else run
        at = stop
    return out


def test_random_texts_are_masked_as_the_standard_library_reads_them() -> None:
    draw = random.Random(7)
    parts = [
        "8.8.8.8",
        "10.0.0.1",
        "1.1.1.1:80",
        "2606:4700::1",
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
    for _ in range(5000):
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


def test_a_long_run_takes_no_longer_than_its_length() -> None:
    for text in ("a" * 3_000_000, "1." * 1_000_000, "@a" * 500_000, "a@" + "b-" * 500_000, ":" * 2_000_000):
        assert mask(text)[1] == 0
