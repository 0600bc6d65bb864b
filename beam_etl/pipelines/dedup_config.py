"""The flags of deduplication, and what they say together."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from beam_etl import schema
from beam_etl.io.columns import ALL, STORED_PREFIX, Columns
from beam_etl.io.write import FILE_BYTES
from beam_etl.kernels.banding import Banding, choose_banding
from beam_etl.kernels.candidates import PERMUTATIONS, NearRule
from beam_etl.kernels.exact import ExactRule
from beam_etl.kernels.keeping import Keep
from beam_etl.kernels.window_text import parse_duration
from beam_etl.kernels.windows import FIXED, WindowSpec
from beam_etl.pipelines.config import TABLE_FORMATS, check_apart
from beam_etl.pipelines.flags import FOLDER, flag
from beam_etl.pipelines.window_config import WindowConfig
from beam_etl.transforms.memories import PARTITIONS
from beam_etl.transforms.oversized import ACTIONS, KEEP, SPLIT, Guard

OWN_COLUMNS = (schema.ADDRESS, *schema.DECISION.names)
"""Columns of the run: one of the input that has such a name is read as `stored_NAME`."""

OF_METHOD = {
    "near": (
        "ngram",
        "bands",
        "band_rows",
        "threshold",
        "seed",
        "against",
        "write_signatures",
        "max_cluster_size",
        "oversized",
        "components",
        "components_memory",
        "component_rounds",
    ),
    "exact": ("key", "normalised"),
}
"""Flags that only one method has."""


WITH_WINDOWS = ("remember", "remember_partitions")
"""Flags that say nothing without windows."""


@dataclass(frozen=True, kw_only=True)
class Config(WindowConfig):
    """What can be asked of the job."""

    WITHOUT_WINDOWS: ClassVar[tuple[str, ...]] = (
        "early_firing",
        "late_firing",
        "accumulation",
        "partitioned",
        "write_signatures",
        "components",
        "components_memory",
        "component_rounds",
    )

    output_format: str = flag(
        "format of the tables besides documents, which keep theirs", default="parquet", choices=TABLE_FORMATS
    )
    file_bytes: int = flag(
        "size at which a file of these tables is closed; documents are written a split a file",
        default=FILE_BYTES,
        unit="bytes",
    )
    method: str = flag("what duplicates are", default="near", choices=("near", "exact"))
    ngram: int = flag("near: words of a shingle", default=5, unit="words")
    bands: int | None = flag("near: bands of a signature (default: 16, or by --threshold)", default=None)
    band_rows: int | None = flag("near: rows of a band (default: 8, or by --threshold)", default=None)
    threshold: float | None = flag(
        "near: estimated Jaccard similarity that duplicates have, such as 0.8; chooses the bands, and verifies",
        default=None,
    )
    seed: int = flag("near: of the permutations", default=1)
    key: tuple[str, ...] = flag("exact: columns that are equal", default=(schema.TEXT,))
    normalised: bool = flag("exact: compare the lower-cased words of the text, not its bytes", default=False)
    within: str | None = flag("a column; documents that differ in it are never duplicates", default=None)
    keep: str = flag(
        "which document of a cluster stays: first, longest, shortest, newest, oldest, max:COLUMN or min:COLUMN",
        default="first",
    )
    partitioned: bool | None = flag(
        "with --within: each partition of the input dataset, or else each input file, has all documents of its values "
        "of that column, so nothing is shuffled (default: what the dataset's manifest tells)",
        default=None,
    )
    against: tuple[str, ...] = flag(
        "near: folders that --write_signatures wrote; what matches a document of theirs is removed as well",
        default=(),
        unit=FOLDER,
    )
    write_signatures: str | None = flag(
        "near: folder to keep this run's signatures in, for --against of later runs",
        default=None,
        unit=FOLDER,
    )
    max_cluster_size: int = flag(
        "near: clusters of more are counted, and dealt with by --oversized", default=10_000, unit="documents"
    )
    oversized: str = flag(
        "near: keep such clusters as they are, split them by pairs of bands, or fail",
        default=KEEP,
        choices=ACTIONS,
    )
    components: str = flag(
        "near: how clusters are made: in one process, in rounds of shuffles, or as their size asks for",
        default="auto",
        choices=("auto", "one", "rounds"),
    )
    components_memory: int = flag("near: memory of the one process", default=2 << 30, unit="bytes")
    component_rounds: int = flag("near: rounds at most", default=20)
    remember: str = flag(
        "with --window: documents of a window are compared with those of windows that ended less than this before",
        default="7d",
    )
    remember_partitions: int = flag(
        "with --window: parts of what is remembered, a power of two; 64 hold 8 million documents of 16 bands",
        default=PARTITIONS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_method()
        self._check_windows()
        self._check_folders()
        if min(self.components_memory, self.component_rounds) < 1:
            raise ValueError(
                f"--components_memory and --component_rounds must be at least 1, "
                f"got {self.components_memory} and {self.component_rounds}"
            )
        if (self.against or self.window is not None) and self.oversized == SPLIT:
            other = "--against" if self.against else "--window"
            raise ValueError(f"--oversized=split can't be combined with {other}")
        if self.partitioned and not self.within:
            raise ValueError("--partitioned needs --within=COLUMN: what the files are partitioned by")
        if self.partitioned and (self.against or self.write_signatures or self.oversized != KEEP):
            raise ValueError(
                "--partitioned can't be combined with --against, --write_signatures or --oversized"
            )
        self.near, self.exact, self.guard, self.keep_rule  # noqa: B018 - each checks its flags

    def _check_method(self) -> None:
        """A flag that the method doesn't have would say something that isn't done."""
        for method, names in OF_METHOD.items():
            told = [name for name in names if self._is_set(name)]
            if told and method != self.method:
                raise ValueError(f"--{told[0]} needs --method={method}")

    def _check_windows(self) -> None:
        """A window is decided once, when it closes, and by shuffles alone."""
        wrong = [name for name in WITH_WINDOWS if self.window is None and self._is_set(name)]
        if wrong:
            raise ValueError(f"--{wrong[0]} needs --window=fixed:10m")
        wrong = [name for name in self.WITHOUT_WINDOWS if self.window is not None and self._is_set(name)]
        if wrong:
            raise ValueError(f"--{wrong[0]} can't be combined with --window")
        if self.window_spec is not None and self.window_spec.kind != FIXED:
            raise ValueError(
                f"--window={self.window}: a document is decided once, so it is in one window: fixed:10m"
            )
        if (parts := self.remember_partitions) < 1 or parts & (parts - 1):
            raise ValueError(f"--remember_partitions is a power of two, got {parts}")
        if self.remembered < 1:
            raise ValueError(f"--remember is a time above 0, got {self.remember}")

    def _is_set(self, name: str) -> bool:
        return bool(getattr(self, name) != self.__dataclass_fields__[name].default)

    def _check_folders(self) -> None:
        folders = [("output", self.output), ("write_signatures", self.write_signatures)]
        folders += [("against", folder) for folder in self.against]
        check_apart((flag, folder) for flag, folder in folders if folder)

    @cached_property
    def near(self) -> NearRule:
        """The rule of --method=near."""
        if self.threshold is not None and self.bands is None and self.band_rows is None:
            banding = choose_banding(self.threshold, PERMUTATIONS)
        else:
            banding = Banding(
                bands=16 if self.bands is None else self.bands,
                rows=8 if self.band_rows is None else self.band_rows,
            )
        return NearRule(
            ngram=self.ngram,
            banding=banding,
            threshold=self.threshold,
            seed=self.seed,
            within=self.within_read,
        )

    @property
    def exact(self) -> ExactRule:
        """The rule of --method=exact."""
        key = tuple(map(_read_as, self.key))
        return ExactRule(key=key, normalised=self.normalised, within=self.within_read)

    @property
    def keep_rule(self) -> Keep:
        """Which document stays."""
        keep = Keep.parse(self.keep)
        return replace(keep, column=_read_as(keep.column)) if keep.column else keep

    @property
    def guard(self) -> Guard:
        """What becomes of large clusters."""
        return Guard(limit=self.max_cluster_size, action=self.oversized)

    @property
    def rule(self) -> NearRule | ExactRule:
        """The rule of the method."""
        return self.near if self.method == "near" else self.exact

    @property
    def within_read(self) -> str | None:
        """The column of --within as it is read."""
        return _read_as(self.within) if self.within else None

    @property
    def can_stay(self) -> bool:
        """Whether documents may be deduplicated where they lie."""
        others = self.against or self.write_signatures or self.oversized != KEEP
        return self.partitioned is not False and self.within is not None and not others

    @property
    def compared(self) -> dict[str, str]:
        """The input's columns whose values make duplicates, besides the text, and by which flag."""
        keys = {name: f"--key={name}" for name in self.key if name != schema.TEXT}
        return {**keys, **({self.within: f"--within={self.within}"} if self.within else {})}

    @property
    def window_spec(self) -> WindowSpec | None:
        """One pane a window: it waits for what other jobs take late."""
        spec = super().window_spec
        return None if spec is None else replace(spec, allowed_lateness=0)

    @property
    def disorder(self) -> int:
        """--max_disorder, and what other jobs call --allowed_lateness, in microseconds."""
        return super().disorder + parse_duration(self.allowed_lateness)

    @property
    def remembered(self) -> int:
        """--remember in microseconds."""
        try:
            return parse_duration(self.remember)
        except ValueError as error:
            raise ValueError(f"--remember={self.remember}: {error}") from error

    @property
    def columns(self) -> Columns:
        keep = Keep.parse(self.keep).column
        needed = (*self.compared, schema.TEXT, schema.ID, *([keep] if keep else []))
        carry = () if self.window is None else ALL
        return replace(self.read_as(needed, carry=carry, optional=(schema.DOMAIN,)), reserved=OWN_COLUMNS)

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.output, self.write_signatures) if self.write_signatures else (self.output,)

    def has_domain(self, stored: pa.Schema) -> bool:
        """Whether the input tells a domain, or a URL to derive it from."""
        names = {schema.DOMAIN, schema.URL, self.domain_column, self.url_column}
        return bool(names & set(stored.names))


def _read_as(column: str) -> str:
    return STORED_PREFIX + column if column in OWN_COLUMNS else column
