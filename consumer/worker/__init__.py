"""The loop: receive, transform, spool; when due: seal."""
