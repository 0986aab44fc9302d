"""Replacements of stored days, over a bucket and a log in memory."""
