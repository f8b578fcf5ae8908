"""Mends what was lost on its way: uploads, tasks and buckets."""
