"""Raw logs in, a memory-mapped dataset on disk out (polars)."""
