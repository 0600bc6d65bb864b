"""A list of any size blocks what a set of its items does."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from beam_etl.io import blocklists
from beam_etl.io.blocklists import blocklist_rules, read_listed
from beam_etl.io.errors import InputError
from beam_etl.kernels.document_rules import NotBlocked, NotListed, filter_documents
from beam_etl.kernels.process import OncePerProcess

ITEMS = [
    *(f"{'WWW.' if n % 7 == 0 else ''}Host{n}.example" for n in range(40_000)),
    *(f"https://ok.example/{n}?q=Ü" for n in range(20_000)),
    *("# a comment", "", "  spaced.example\t", ".dotted.example.", "a.b.c.example"),
]
URLS = [
    *(f"http://user@x.y.host{n}.example:80/p" for n in range(39_990, 40_010)),
    *(
        "https://host7.example/",
        "https://www.host7.example/",
        "https://nothost8.example/",
        "https://host8.example./",
    ),
    *(f"https://ok.example/{n}?q=Ü" for n in (0, 19_999, 20_000)),
    *(
        "https://ok.example/1?q=ü",
        "https://spaced.example",
        "https://dotted.example/x",
        "https://b.c.example/",
    ),
    *("https://z.a.b.c.example/", "mailto:host8.example", "host8.example", "https:///", ""),
    None,
]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "list.txt"
    path.write_text("\r\n".join(ITEMS))
    return path


def by_sets() -> NotBlocked:
    items = [item.strip() for item in ITEMS if item and not item.startswith("#")]
    return NotBlocked(
        frozenset(item.lower().strip(".") for item in items if "://" not in item),
        frozenset(item for item in items if "://" in item),
    )


@pytest.mark.parametrize("piece", [50_001, 4 << 20], ids="{} bytes at once".format)
def test_a_large_list_blocks_what_a_set_does(
    piece: int, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocklists, "PIECE_BYTES", piece)
    told = read_listed(str(listed))(pa.array(URLS)).to_pylist()
    assert told == by_sets().broken(pa.RecordBatch.from_pydict({"url": URLS})).to_pylist()
    assert told[:2] == ["host39990.example", None]  # of 39991 only the host that begins with www
    assert 10 < told.count(None) < 25


def test_lists_are_taken_by_their_size(listed: Path, tmp_path: Path) -> None:
    small, packed = tmp_path / "small.txt", tmp_path / "list.txt.gz"
    small.write_text("small.example\n")
    packed.write_bytes(gzip.compress(b"packed.example\n"))
    rules = blocklist_rules(["given.example", f"@{small}", f"@{listed}", f"@file://{packed}"])
    assert [type(rule) for rule in rules] == [NotBlocked, NotListed, NotListed]
    urls = [f"https://{name}.example/" for name in ("given", "small", "host9", "packed", "none")]
    batch = pa.RecordBatch.from_pydict({"id": list("abcde"), "url": urls, "text": urls})
    done = filter_documents(batch, rules)
    assert done.kept.column("id").to_pylist() == ["e"]
    assert [why[0] for why in done.removed.column("reasons").to_pylist()] == [
        f"blocklist: {name}.example" for name in ("given", "small", "host9", "packed")
    ]
    assert blocklist_rules([]) == ()


@pytest.mark.parametrize("pattern", ["*.txt", "", "a.tx?"], ids=["glob", "folder", "glob of one"])
def test_a_list_is_one_file(pattern: str, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"{name}.example\n")
    with pytest.raises(InputError, match=r"a list is one file, and this stands for [12], as .*\.txt"):
        blocklist_rules([f"@{tmp_path}/{pattern}"])


def test_a_list_that_is_replaced_while_the_job_runs_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress(b"old.example\n"))
    [rule] = blocklist_rules([f"@{path}"])
    assert isinstance(rule, NotListed)
    assert isinstance(rule.listed, OncePerProcess)
    path.write_bytes(gzip.compress(b"old.example\nnew.example\n"))
    with pytest.raises(InputError, match=r"list\.txt\.gz: the list changed while the job ran"):
        rule.listed.factory(*rule.listed.args)  # as another process does


@pytest.mark.parametrize("content", [None, b"caf\xe9.example\n" * 100_000], ids=["absent", "latin-1"])
def test_a_list_that_cannot_be_read_is_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"list\.txt: no list with an item a line"):
        blocklist_rules([f"@{path}"])


UNLIKE = ["a.example/page", "*.a.example", "a.example:8080", "joe@a.example", "[2001:db8::1]:80"]


@pytest.mark.parametrize("item", UNLIKE)
def test_an_item_that_can_block_nothing_is_an_error(item: str) -> None:
    with pytest.raises(InputError, match="would block nothing: a host is written as a.example, a URL with"):
        blocklist_rules(["b.example", item])


@pytest.mark.parametrize("name", ["list.txt", "list.txt.gz", "./list"])
def test_a_list_without_its_mark_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a.example\n")
    with pytest.raises(InputError, match=rf"'{name}' is a file. Write @{name} to block what it lists"):
        blocklist_rules([name])


def test_a_host_may_have_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.example").write_text("b.example\n")
    [rule] = blocklist_rules(["a.example"])
    assert rule == NotBlocked(frozenset({"a.example"}), frozenset())
    assert "'a.example' is a file. Write @a.example to block what it lists. It is taken for" in caplog.text


@pytest.mark.parametrize("name", ["list.txt", "list.txt.gz"])
def test_lines_of_a_list_that_can_block_nothing_are_counted_once(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    lines = "\n".join([*UNLIKE, "[2001:db8::1]", "https://a.example/*", "b_c.example", "# a/b"]).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    for _ in range(2):
        blocklist_rules([f"@{path}"])
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"{path}: 5 of its lines block nothing: a host is written as")
