"""Correcting stored days: what they would be under other rules, and replacing their objects."""
