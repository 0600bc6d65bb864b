"""Documents on their way through steps, and what these remove and reject: what extract and curate are made of."""

import apache_beam as beam

from beam_etl.kernels.document_rules import DocumentRule
from beam_etl.transforms.batches import Batches
from beam_etl.transforms.filters import FilterDocuments

DOCUMENTS, REMOVALS, REJECTS = "documents", "removals", "rejects"
"""Tables."""


class Steps:
    """Documents after the steps so far.

    Attributes:
      documents: those that are left.
      rejects, removals: of each step.
    """

    def __init__(self, documents: Batches, rejects: Batches) -> None:
        self.documents = documents
        self.rejects, self.removals = [rejects], list[Batches]()

    def map(self, label: str, step: beam.PTransform) -> None:
        """A step that gives MappedDocuments."""
        done = self.documents | label >> step
        self.documents = done.batches
        self.rejects.append(done.rejects)

    def filter(self, label: str, rules: tuple[DocumentRule, ...]) -> None:
        """The rules, if there are any."""
        if rules:
            self.remove(label, FilterDocuments(rules=rules))

    def remove(self, label: str, step: beam.PTransform) -> None:
        """A step that gives FilteredDocuments."""
        done = self.documents | label >> step
        self.documents = done.documents
        self.rejects.append(done.rejects)
        self.removals.append(self._told(label, done.removals))

    def by_table(self) -> dict[str, tuple[Batches, ...]]:
        """All that there is."""
        return {DOCUMENTS: (self.documents,), REMOVALS: tuple(self.removals), REJECTS: tuple(self.rejects)}

    def _told(self, label: str, removals: Batches) -> Batches:
        """The removals of a step as they are written."""
        del label
        return removals
