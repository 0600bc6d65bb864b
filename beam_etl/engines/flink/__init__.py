"""Flink: a cluster on this machine, and the jobs on it. `python -m beam_etl.engines.flink` is the command."""
