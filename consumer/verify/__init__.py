"""Re-reading the bucket: do chain, objects and manifests still say the same? Changes nothing."""
