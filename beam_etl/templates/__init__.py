"""Dataflow flex templates of the pipelines: `python -m beam_etl.templates` writes them."""
