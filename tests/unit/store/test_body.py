"""Bodies frozen from pieces."""

import gzip
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.compression import Compression
from consumer.domain.errors import TransientError
from consumer.store import compression as packing
from consumer.store.body import BLOCK, ChangedError, Piece, blocks, freeze, into_buffers
from consumer.store.body_reader import BodyReader, InBlocks
from consumer.store.compression import remove_leftovers
from consumer.store.port import BytesBody

COMPRESSIONS: tuple[Compression, ...] = ("none", "gzip", "zstd")
UNPACK: dict[Compression, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


def piece(data: bytes, length: int | None = None) -> Piece:
    return Piece(lambda: io.BytesIO(data), length)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    ("header", "pieces", "expected"),
    [
        (b"", [], b""),
        (b"a,b\n", [], b"a,b\n"),
        (b"", [piece(b"1,2\n")], b"1,2\n"),
        (b"a,b\n", [piece(b""), piece(b"1,2\n"), piece(b""), piece(b"3,4\n5,6\n", 4)], b"a,b\n1,2\n3,4\n"),
        (b"a\n", [piece(b"x" * (2 * BLOCK + 1)), piece(b"y" * BLOCK)], b"a\n" + b"x" * (2 * BLOCK + 1) + b"y" * BLOCK),
    ],
)
@pytest.mark.parametrize("in_memory", [0, 100, packing.IN_MEMORY])
def test_header_then_pieces(
    monkeypatch: pytest.MonkeyPatch,
    in_memory: int,
    tmp_path: Path,
    compression: Compression,
    header: bytes,
    pieces: list[Piece],
    expected: bytes,
) -> None:
    monkeypatch.setattr(packing, "IN_MEMORY", in_memory)
    with freeze(pieces, header=header, compression=compression, folder=tmp_path) as body:
        assert body.temporary is None or compression != "none"
        for _ in range(2):
            with body.open() as reader:
                packed = reader.read()
            assert len(packed) == body.size
            assert hashlib.sha256(packed).hexdigest() == body.sha256
            assert UNPACK[compression](packed) == expected
            assert b"".join(blocks(body, 1000)) == packed
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed bytes go to the disk from the first one on."""
    monkeypatch.setattr(packing, "IN_MEMORY", 0)


def test_a_zstd_frame_says_its_size(tmp_path: Path) -> None:
    """Readers that unpack at one go ask for it."""
    with freeze([piece(b"1,2\n" * 3, 12)], header=b"a,b\n", compression="zstd", folder=tmp_path) as body:
        packed = body.open().read()
    assert zstandard.frame_content_size(packed) == 16
    assert zstandard.ZstdDecompressor().decompress(packed) == b"a,b\n" + b"1,2\n" * 3
    with freeze([piece(b"1,2\n")], header=b"a,b\n", compression="zstd", folder=tmp_path) as body:
        assert zstandard.frame_content_size(body.open().read()) == -1, "nobody knows"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_few_packed_bytes_need_no_disk(tmp_path: Path, compression: Compression) -> None:
    nowhere = tmp_path / "not there"
    with freeze([piece(b"1,2\n" * 100_000)], compression=compression, folder=nowhere) as body, body.open() as reader:
        assert UNPACK[compression](reader.read()) == b"1,2\n" * 100_000


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_many_packed_bytes_without_a_disk_are_an_outage(tmp_path: Path, compression: Compression) -> None:
    with pytest.raises(TransientError, match="cannot pack"):
        freeze([piece(b"1")], compression=compression, folder=tmp_path / "not there")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, compression: Compression) -> None:
    def digest() -> str:
        with freeze([piece(b"1,2\n" * 1000)], compression=compression, folder=tmp_path) as body:
            return body.sha256

    assert digest() == digest()


def test_what_is_appended_later_is_not_part_of_the_body(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"1\n")
    body = freeze([Piece(lambda: path.open("rb"))], folder=tmp_path)
    with path.open("ab") as file:
        file.write(b"2\n")
    assert b"".join(blocks(body, BLOCK)) == b"1\n"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_piece_that_is_too_short_is_an_outage(tmp_path: Path, compression: Compression) -> None:
    with pytest.raises(TransientError, match="2 bytes early"):
        freeze([piece(b"12", 4)], compression=compression, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_disk_that_fails_is_an_outage(tmp_path: Path, compression: Compression) -> None:
    def fail() -> BinaryIO:
        raise OSError(28, "No space left on device")

    with pytest.raises(TransientError, match="No space left"):
        freeze([Piece(fail)], compression=compression, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_holds_no_view_of_what_waited_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the collector meets a view of such bytes and their owner together, Python 3.12 ends with a signal."""
    place = packing.Place(tmp_path / "gone")
    place.write(b"few")
    waiting = place._few
    assert waiting is not None
    monkeypatch.setattr(packing, "IN_MEMORY", 3)
    with pytest.raises(FileNotFoundError) as caught:
        place.write(b"many")
    assert caught.value.__traceback__ is not None
    waiting.truncate(0)  # a view of it would forbid this


def test_a_file_that_changes_after_the_freeze_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"1\n")
    body = freeze([Piece(lambda: path.open("rb"))], folder=tmp_path)
    path.write_bytes(b"2\n")
    with pytest.raises(TransientError, match="changed while"):
        list(blocks(body, BLOCK))


def test_files_are_closed(tmp_path: Path) -> None:
    opened: list[BinaryIO] = []

    def opener() -> BinaryIO:
        opened.append(io.BytesIO(b"12345"))
        return opened[-1]

    body = freeze([Piece(opener), Piece(opener)], header=b"h", folder=tmp_path)
    with body.open() as reader:
        reader.read(3)
    list(blocks(body, 3))
    assert len(opened) >= 4
    assert all(file.closed for file in opened)


@pytest.mark.usefixtures("on_disk")
def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    freeze([piece(b"1")], compression="gzip", folder=tmp_path)
    (tmp_path / "rows").write_bytes(b"1")
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "rows"]


@given(st.binary(max_size=300), st.integers(1, 400))
def test_blocks_are_full_but_the_last(data: bytes, size: int) -> None:
    cut = list(blocks(BytesBody(data), size))
    assert b"".join(cut) == data
    assert all(len(block) == size for block in cut[:-1])
    assert all(cut)


def test_the_digest_of_a_body_that_checks_itself_is_not_computed_again(tmp_path: Path) -> None:
    """What changed between two readings goes unseen here: it is the piece's own reader that sees it."""
    data = bytearray(b"1,2\n")
    for trusted in (True, False):
        changing = Piece(lambda: io.BytesIO(bytes(data)), len(data), self_checking=trusted)
        body = freeze([changing], header=b"a,b\n", folder=tmp_path)
        assert body.self_checking is trusted
        data[0] ^= 1
        if trusted:
            assert b"".join(blocks(body, 3)) == b"a,b\n" + bytes(data)
        else:
            with pytest.raises(ChangedError):
                list(blocks(body, 3))


def test_a_packed_body_does_not_check_itself(tmp_path: Path) -> None:
    piece = Piece(lambda: io.BytesIO(b"1,2\n"), self_checking=True)
    with freeze([piece], compression="gzip", folder=tmp_path) as body:
        assert not body.self_checking


@given(st.binary(min_size=1, max_size=300), st.integers(1, 400))
def test_buffers_are_full_but_the_last(data: bytes, size: int) -> None:
    cut = [bytes(block) for block in into_buffers(BytesBody(data), size)]
    assert b"".join(cut) == data
    assert all(len(block) == size for block in cut[:-1])


@given(st.binary(max_size=300), st.integers(1, 400), st.booleans())
def test_a_body_is_sent_as_often_as_asked(data: bytes, size: int, checked: bool) -> None:
    with BodyReader(BytesBody(data), checked=checked) as reader:
        assert len(reader) == len(data)
        for _ in range(2):
            assert b"".join(iter(lambda: reader.read(size), b"")) == data
            assert reader.tell() == len(data)
            assert reader.seek(0) == 0
        assert reader.seek(0, io.SEEK_END) == len(data)
        with pytest.raises(io.UnsupportedOperation):
            reader.seek(-1, io.SEEK_SET)


@pytest.mark.parametrize("checked", [False, True])
def test_a_body_goes_in_blocks_as_often_as_asked(checked: bool) -> None:
    data = bytes(BLOCK) + b"x" * 10
    with BodyReader(BytesBody(data), checked=checked) as reader:
        sent = InBlocks(reader)
        for _ in range(2):
            assert [len(block) for block in sent] == [BLOCK, 10]
            assert sent.seek(0) == 0
        assert b"".join(sent) == data


@pytest.mark.parametrize("more", [b"", b"x", b"1,3\n", b"1,2\n5"])
def test_what_is_sent_checked_is_what_was_frozen(tmp_path: Path, more: bytes) -> None:
    data = bytearray(b"1,2\n")
    body = freeze([Piece(lambda: io.BytesIO(bytes(data)))], folder=tmp_path)
    data[:] = more
    with BodyReader(body, checked=True) as reader:
        if more.startswith(b"1,2\n"):
            assert reader.read() == b"1,2\n", "what was appended later is not part of it"
        else:
            with pytest.raises(TransientError):
                b"".join(iter(lambda: reader.read(3), b""))
