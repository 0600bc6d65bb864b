"""Sources that don't end: arriving files, Kafka, Pub/Sub, and stored documents that are played again."""
