"""What a runner needs that Beam's wheels don't carry: SDK workers, a Flink cluster, control of its jobs."""
