"""The native engine: whole batches at once, in an extension that may be missing."""
