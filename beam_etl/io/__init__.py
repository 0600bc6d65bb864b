"""Files in and out: documents with their rejects, datasets, and the commit that publishes them."""
