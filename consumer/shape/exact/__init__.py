"""The exact engine: one record at a time, the oracle of the fast one."""
