"""Valid input and what somebody did to it, by the thousand: seeded, or made by hypothesis. Without any server."""
