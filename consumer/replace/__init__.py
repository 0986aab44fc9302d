"""Correcting the past: what stored days would be under other rules, and putting it in the place of what stands."""
