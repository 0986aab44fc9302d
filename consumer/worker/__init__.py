"""The loop: receive, judge, spool; when due: seal."""
