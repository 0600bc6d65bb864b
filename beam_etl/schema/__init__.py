"""Every column name and every Arrow schema that is read or written.

The vocabulary is stated for users in docs/vocabulary.md; this package is what the code uses.
"""

from beam_etl.schema.dedup import *
from beam_etl.schema.documents import *
from beam_etl.schema.index import *
from beam_etl.schema.removals import *
from beam_etl.schema.tokens import *
from beam_etl.schema.windows import *
