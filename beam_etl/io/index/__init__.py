"""An inverted index on disk: written by partitions, read by terms, merged from segments, checked byte by byte."""
