"""The object store: objects, buckets, users and presigned URLs."""
