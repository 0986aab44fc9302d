"""Rows on the local disk by (partition, day), and the checkpoint that says how far they reach."""
