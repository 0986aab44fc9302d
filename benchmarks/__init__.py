"""What the sink costs beside a bare consumer and beside the usual script: `make bench`."""
