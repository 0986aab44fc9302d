"""The words of the project as types: offsets, days, batches, errors, the clock. Imports nothing of ours."""
