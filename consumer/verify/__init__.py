"""Re-reading the bucket: do chain, objects and manifests still agree? Changes nothing."""
