"""The project's words as types: offsets, days, batches, errors, the clock. Imports no other package."""
