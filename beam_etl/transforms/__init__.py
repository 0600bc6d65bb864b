"""Composite PTransforms over batches. Wiring only: the algorithms are in `beam_etl.kernels`."""
