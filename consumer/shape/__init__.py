"""From records to rows: day, filter, cells, CSV text."""
