"""Kernels compile when first called, once, and what is kept on disk helps or is passed over."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from numba.core.caching import IndexDataCacheFile
from numba.core.codegen import CPUCodegen

from beam_etl.kernels import compiled as module
from beam_etl.kernels.compiled import Kernel, ReadOnly, compiled
from beam_etl.kernels.hashing import hash_values


@compiled
def double(value: int) -> int:
    return 2 * value


def total(values: ReadOnly[np.int64], first: int) -> int:
    """Twice the sum of the values, from the first given."""
    out = 0
    for at in range(first, values.size):
        out += double(values[at])
    return out


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEAM_ETL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_version", module._version.__wrapped__)  # some tests change what it is of
    return tmp_path / "cache"


def compile_anew() -> tuple[int, int]:
    """What another process would do first: (kernels taken from the cache, kernels compiled)."""
    kernel = compiled(total)
    assert kernel(np.array([1, 2, 4]), 1) == 12
    native: Any = kernel.native()
    return sum(native.stats.cache_hits.values()), sum(native.stats.cache_misses.values())


def kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*.nb?") if "total" in path.name)


def test_a_second_process_takes_what_the_first_compiled(cache: Path) -> None:
    assert compile_anew() == (0, 1)
    assert compile_anew() == (1, 0)
    assert len(kept(cache)) == 2


def test_what_is_kept_is_loaded_ahead_and_the_rest_left_alone(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_kernels", [])
    compile_anew()
    kept_one, other = compiled(total), compiled(lambda value: value)
    assert list(module.load_kept()) == [
        "total",
        "total",
    ]  # the one that was compiled, and another of its source
    assert kept_one._native is not None
    assert kept_one(np.array([1, 2, 4]), 1) == 12
    assert other._native is None


def test_only_the_owner_can_write_to_the_cache(cache: Path) -> None:
    compile_anew()
    assert (cache / "kernels").stat().st_mode & 0o777 == 0o700


def test_nothing_is_written_beside_the_source(cache: Path) -> None:
    compile_anew()
    assert list(Path(__file__).parent.rglob("*.nb?")) == []
    assert list(Path(module.__file__).parent.rglob("*.nb?")) == []


def cut(size: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * size)]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": cut(0),
    "cut in half": cut(0.5),
    "cut at the end": cut(0.999),
    "one byte": lambda content: content[: len(content) // 2] + b"?" + content[len(content) // 2 + 1 :],
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc", ".json"])
def test_a_damaged_file_is_made_again(damage: Callable[[bytes], bytes], suffix: str, cache: Path) -> None:
    compile_anew()
    for path in cache.rglob(f"*{suffix}"):
        path.write_bytes(damage(path.read_bytes()))
    assert compile_anew() == (0, 1)
    assert compile_anew() == (1, 0)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc", ".json"])
def test_a_missing_file_is_made_again(suffix: str, cache: Path) -> None:
    compile_anew()
    for path in cache.rglob(f"*{suffix}"):
        path.unlink()
    assert compile_anew() == (0, 1)
    assert compile_anew() == (1, 0)


def test_a_kernel_is_compiled_again_when_any_kernel_changed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even in another file: what it calls is compiled into it. What the old sources were compiled to stays theirs."""
    compile_anew()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_SOURCES", "the digest of other sources")
        patch.setattr(module, "_digest_of_sources", lambda: "the digest of other sources")
        assert compile_anew() == (0, 1)
        assert compile_anew() == (1, 0)
    assert compile_anew() == (1, 0)


def test_what_was_imported_before_the_sources_changed_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_digest_of_sources", lambda: "the digest of other sources")
        compile_anew()
    assert compile_anew() == (0, 1)


def test_kinds_of_cpu_that_share_a_home_keep_kernels_apart(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_anew()
    ours = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(CPUCodegen, "magic_tuple", lambda codegen: ("x86_64", "another kind", "+sse"))
        assert compile_anew() == (0, 1)
        assert compile_anew() == (1, 0)
    assert {path: path.read_bytes() for path in ours} == ours
    assert compile_anew() == (1, 0)


def test_versions_that_were_not_used_for_a_month_go_when_there_is_a_new_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_anew()
    [unused] = (cache / "kernels").iterdir()
    not_ours = cache / "kernels" / "of another program"
    not_ours.mkdir()
    for path in (unused, not_ours):
        os.utime(path, (0, 0))
    monkeypatch.setattr(module, "_SOURCES", "the digest of other sources")
    compile_anew()
    assert not unused.exists()
    assert not_ours.exists()
    [used, _] = sorted((cache / "kernels").iterdir())
    os.utime(used, (0, 0))
    compile_anew()  # which uses it
    monkeypatch.undo()
    monkeypatch.setenv("BEAM_ETL_CACHE_DIR", str(cache))
    compile_anew()
    assert used.exists()


def test_to_compile_what_is_not_in_a_sound_folder_loads_no_blas(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as after the source of a kernel was touched."""
    compile_anew()
    loads: list[None] = []
    monkeypatch.setattr(module, "_load_arrays", lambda: loads.append(None))
    assert (compile_anew(), loads) == ((1, 0), [])
    monkeypatch.setattr(IndexDataCacheFile, "load", lambda file, key: None)
    assert (compile_anew(), loads) == ((0, 1), [None])


def no_folder(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").touch()
    return {"BEAM_ETL_CACHE_DIR": str(tmp_path / "file")}


def no_home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").touch()
    return {"BEAM_ETL_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": str(tmp_path / "file")}


def open_to_others(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(0o777)
    return {"BEAM_ETL_CACHE_DIR": str(tmp_path)}


def taken_by_a_file(tmp_path: Path) -> dict[str, str]:
    """The kernel's folder can be made, but not the one that Numba makes in it."""
    environment = {"BEAM_ETL_CACHE_DIR": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEAM_ETL_CACHE_DIR", str(tmp_path))
        compile_anew()
    for index in kept(tmp_path):
        index.unlink()
    folder = next(path for path in tmp_path.glob("kernels/*/*total*/*") if path.is_dir())
    folder.rmdir()
    folder.touch()
    return environment


@pytest.mark.parametrize("place", [no_folder, no_home, open_to_others, taken_by_a_file])
def test_kernels_run_where_nothing_can_be_kept(
    place: Callable[[Path], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in place(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert [compile_anew(), compile_anew()] == [(0, 1), (0, 1)]
    assert kept(tmp_path) == []


def test_the_cache_follows_xdg_cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEAM_ETL_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compile_anew()
    assert len(kept(tmp_path / "beam_etl" / "kernels")) == 2


def test_threads_that_call_first_wait_for_one_compilation(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compilations = []
    compile_once = module._compile
    monkeypatch.setattr(
        module, "_compile", lambda function: compilations.append(function) or compile_once(function)
    )
    kernel = compiled(total)
    start = threading.Barrier(8)
    results = []

    def work() -> None:
        start.wait()
        results.append(kernel(np.arange(100), 0))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [9900] * 8
    assert compilations.count(total) == 1


def test_arguments_are_what_the_annotations_say(cache: Path) -> None:
    kernel = compiled(total)
    arrow = np.frombuffer(pa.py_buffer(np.array([1, 2]).tobytes()), np.int64)
    assert not arrow.flags.writeable
    assert kernel(arrow, 0) == 6
    with pytest.raises(TypeError, match="No matching definition"):
        kernel(np.array([1.0, 2.0]), 0)


def test_an_array_may_be_written_or_returned(cache: Path) -> None:
    @compiled
    def squares(values: ReadOnly[np.int64], out: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
        for at in range(values.size):
            out[at] = values[at] ** 2
        return np.zeros(values.size)

    out = np.empty(3, np.uint32)
    assert squares(np.array([1, 2, 3]), out).tolist() == [0.0, 0.0, 0.0]
    assert out.tolist() == [1, 4, 9]
    with pytest.raises(TypeError, match="No matching definition"):
        squares(np.array([1]), np.frombuffer(pa.py_buffer(bytes(4)), np.uint32))


def test_a_kernel_that_calls_one_which_makes_arrays_frees_them_and_can_be_kept(
    cache: Path, tmp_path: Path
) -> None:
    script = tmp_path / "calls.py"  # Numba keeps nothing of a program that is in no file
    script.write_text("""
import resource
import numpy as np
import numpy.typing as npt
from beam_etl.kernels.compiled import compiled

@compiled
def ones(count: int) -> npt.NDArray[np.float64]:
    return np.ones(count)

@compiled
def last(count: int) -> float:
    return ones(count)[-1]

assert last(3) == 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(300):
    last(1 << 17)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10, "300 MiB weren't freed"
print(sum(last.native().stats.cache_hits.values()))
""")
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    runs = [
        subprocess.run([sys.executable, str(script)], env=environment, check=False, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [(run.returncode, run.stdout) for run in runs] == [(0, b"0\n"), (0, b"1\n")]


def test_an_annotation_that_is_no_array_or_scalar_is_refused(cache: Path) -> None:
    @compiled
    def length(text: str) -> int:
        return len(text)

    with pytest.raises(TypeError, match=r"<class 'str'> is no type of a kernel's argument or result"):
        length("a")


def test_a_kernel_keeps_its_name_and_its_python_function() -> None:
    kernel: Kernel[..., int] = compiled(total)
    assert (kernel.__name__, kernel.__doc__) == (total.__name__, total.__doc__)  # type: ignore[attr-defined]
    assert kernel.__wrapped__ is total  # type: ignore[attr-defined]


def test_importing_kernels_does_not_import_numba() -> None:
    code = "import sys, beam_etl.kernels.text; sys.exit('numba' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_a_kernel_loads_nothing_that_it_does_not_use() -> None:
    """Nor does it keep from others what they ask Numba for, such as to compile a kernel that calls it."""
    script = """
import sys
import numpy as np
import pyarrow as pa
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.hashing import _xxh64_strings, hash_values
hashes = hash_values(pa.array(["a", "b"]))
assert not {"numba.np.linalg", "scipy.linalg", "awkward"} & set(sys.modules), "loaded"
from numba.core import entrypoints
from numba.np import linalg
assert not entrypoints._already_initialized

@compiled
def last(data: ReadOnly[np.uint8], offsets: ReadOnly[np.int64]) -> np.uint64:
    return _xxh64_strings(data, offsets)[-1]

assert last(np.frombuffer(b"ab", np.uint8), np.arange(3)) == hashes[1]
linalg.ensure_blas()
assert "scipy.linalg" in sys.modules
"""
    hash_values(pa.array(["a"]))  # it is kept
    subprocess.run([sys.executable, "-c", script], check=True)
