"""The whole worker under a fake clock and fake neighbours."""
