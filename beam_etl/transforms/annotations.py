"""DetectLanguages and MaskAddresses: columns and texts that each document gets by itself."""

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from beam_etl.kernels.languages import check_detector, detect_languages
from beam_etl.kernels.masking import mask_addresses
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.documents import MapDocuments, MappedDocuments


@dataclass(eq=False, kw_only=True)
class DetectLanguages(beam.PTransform):
    """Adds `lang` and `lang_score` (languages.detect_languages). No shuffle.

    Input: batches of documents with text. Output: MappedDocuments.

    Raises:
      NoDetectorError: when it is made: the detector isn't installed here.
    """

    def __post_init__(self) -> None:
        super().__init__()
        check_detector()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> MappedDocuments:
        found: MappedDocuments = documents | "Detect" >> MapDocuments(
            detect_languages, stage="detect language"
        )
        return found


@dataclass(eq=False, kw_only=True)
class MaskAddresses(beam.PTransform):
    """Masks e-mail and public IP addresses (masking.mask), and adds `masked`, their number. No shuffle.

    Input: batches of documents with text. Output: MappedDocuments.
    """

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # type: ignore[untyped-decorator]  # Beam has no type for several outputs
    def expand(self, documents: Batches) -> MappedDocuments:
        found: MappedDocuments = documents | "Mask" >> MapDocuments(mask_addresses, stage="mask addresses")
        return found
