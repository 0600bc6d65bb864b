"""Archives of the web: members of a compressed file, the records in them, and what a record says."""
