"""What one of many processes does in a race for a key. It loads what it needs and no more: each imports it anew."""

import threading
from pathlib import Path

from consumer.store.folder import FolderStore
from consumer.store.port import BytesBody, Condition, Written


def put_at_once(root: Path, key: str, start: threading.Barrier, writer: int, condition: Condition) -> bool:
    """Put together with all others, and say whether this one won."""
    store = FolderStore(root)
    start.wait(60)
    return isinstance(store.put(key, BytesBody(b"writer %d" % writer), condition=condition), Written)
