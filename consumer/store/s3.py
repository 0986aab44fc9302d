"""`s3://`: conditional writes, in one request or multipart. Deletes nothing but its own failed multipart uploads.

boto does not retry conditional writes: after a lost answer a second attempt would meet our own object as 412. The
caller reads back instead (UnknownOutcomeError) or compares (Refused).
"""

from __future__ import annotations

import email.utils
import io
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.store import s3_errors
from consumer.store.body import blocks, into_buffers, regrouped
from consumer.store.body_reader import BodyReader
from consumer.store.conditional_writes.barrier import held_back
from consumer.store.document_sizes import refuse_unread, refuse_unwritten
from consumer.store.port import (
    Absent,
    Body,
    BytesBody,
    Condition,
    ObjectInfo,
    Refused,
    Stored,
    Written,
)
from consumer.store.s3_bucket import S3Bucket, answered, condition_headers
from consumer.store.s3_clients import MIB, MOST_PART, MOST_PARTS, S3Options
from consumer.store.s3_errors import MissingKeyError, OtherBytesError, UnmetError
from consumer.store.s3_multipart import copy_parts, send_parts

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

LARGE = MIB
"""Bytes above which a body is sent as it is read."""
WRONG_CHECKSUM = "_checks/wrong-checksum"
"""Result of the test for a store that does not verify checksums."""
PAGE = 1000
"""Objects a list request asks for: the most that S3 gives."""
MOST_COPIED = 5 * 1024 * MIB
"""Bytes that S3 copies in one request."""


class S3Store:
    """One folder of one bucket. Any thread may call; a call ends within a few timeouts of the options."""

    def __init__(self, options: S3Options) -> None:
        self._bucket = S3Bucket(options)
        self._asking = threading.Lock()
        self._compared: bool | None = None

    @property
    def keeps_metadata(self) -> bool:
        """Yes."""
        return True

    @property
    def location(self) -> str:
        """Bucket and folder; the endpoint too where it is not AWS."""
        place = f"s3://{self._bucket.options.bucket}/{self._bucket.prefix}".rstrip("/")
        if not self._bucket.options.endpoint_url:
            return place
        endpoint = urlsplit(self._bucket.options.endpoint_url)
        return f"{place}?endpoint={endpoint.scheme}://{endpoint.netloc.rpartition('@')[2]}"

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        """See `Store.put`. A body above the threshold goes up in parts, and counts from their completion on."""
        refuse_unwritten(key, self._bucket.where(key), body.size)
        if body.size > self._bucket.options.multipart_threshold:
            if isinstance(condition, Absent) and self.head(key):
                return Refused()  # known before gigabytes are sent in vain
            return self.put_in_parts(key, body, condition=condition, metadata=metadata)
        about = {**self._bucket.about(key, metadata), **condition_headers(condition)}
        try:
            return Written(
                self._put_large(key, body, about) if body.size > LARGE else self._put_small(key, body, about)
            )
        except UnmetError:
            return Refused()

    def _put_small(self, key: str, body: Body, about: Mapping[str, Any]) -> str:
        data = b"".join(blocks(body, max(body.size, 1)))  # one block: it is not copied
        return self._put(key, {"Body": held_back(data), **about})

    def _put(self, key: str, what: Mapping[str, Any], *, bound: bool = False) -> str:
        answer = self._bucket.call(s3_errors.PUT, key, lambda client: client.put_object(**what), bound=bound)
        return str(answered(answer, "ETag", s3_errors.PUT, self._bucket.where(key)))

    def _put_large(self, key: str, body: Body, about: Mapping[str, Any]) -> str:
        """From the disk, without a copy in memory.

        If the store verifies checksums it gets the known digest as a signed header: nothing is computed here, and bytes
        that changed on the disk or in transit are refused there. Otherwise boto signs the digest of what it reads,
        which is compared with the body's.
        """
        if not self.sends_checksums():
            with BodyReader(body, checked=True) as reader:
                return self._put(key, {"Body": reader, **about})
        checksum = b64encode(bytes.fromhex(body.sha256)).decode()
        try:
            with BodyReader(body, checked=False) as reader:
                return self._put(key, {"Body": reader, "ChecksumSHA256": checksum, **about}, bound=True)
        except OtherBytesError:
            for _ in blocks(body, MIB):  # raises where the disk is to blame
                pass
            raise

    def sends_checksums(self) -> bool:
        """Whether large bodies are uploaded with their sha256 for the store to verify, by the setting `checksums`."""
        if self._bucket.options.checksums == "auto":
            return self.compares_checksums()
        return self._bucket.options.checksums == "when_supported"

    def compares_checksums(self) -> bool:
        """Whether the store refuses a body that has another checksum than the one it comes with. Asked once."""
        with self._asking:
            if self._compared is None:
                self._compared = self._refuses_wrong_checksum()
        return self._compared

    def _refuses_wrong_checksum(self) -> bool:
        """Put a new object with a wrong checksum. It stays if the store accepts it."""
        wrong: dict[str, Any] = {"Body": b"check", "ChecksumSHA256": b64encode(bytes(32)).decode(), "IfNoneMatch": "*"}
        try:
            self._bucket.call(
                s3_errors.PUT,
                WRONG_CHECKSUM,
                lambda client: client.put_object(**self._bucket.about(WRONG_CHECKSUM, None), **wrong),
                bound=True,
            )
        except OtherBytesError:
            return True
        except UnmetError:
            return False
        except HaltError as error:
            if error.reason is not HaltReason.UNSAFE_STORE:
                raise
            return False  # it does not even know the header
        return False

    def put_in_parts(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        """`put` as a multipart upload, of any size but empty. A failed one is aborted."""
        size = max(self._bucket.options.part_size, -(-body.size // MOST_PARTS))
        return self._joined(key, into_buffers(body, size), condition, metadata)

    def put_stream(
        self,
        key: str,
        blocks: Iterable[bytes],
        *,
        condition: Condition,
        metadata: Mapping[str, str] | None = None,
        expected: int = 0,
    ) -> Written | Refused:
        """See `StreamingStore.put_stream`. All parts but the last have the same size, as some stores want it."""
        size = min(max(self._bucket.options.part_size, -(-expected // MOST_PARTS)), MOST_PART)
        parts = regrouped(blocks, size)
        first = next(parts, b"")
        if len(first) < size:
            return self.put(key, BytesBody(first), condition=condition, metadata=metadata)
        if isinstance(condition, Absent) and self.head(key):
            return Refused()
        return self._joined(key, chain((first,), parts), condition, metadata)

    def _joined(
        self,
        key: str,
        parts: Iterable[bytes | bytearray],
        condition: Condition,
        metadata: Mapping[str, str] | None,
    ) -> Written | Refused:
        try:
            return Written(send_parts(self._bucket, key, parts, condition, metadata))
        except UnmetError:
            return Refused()

    def get(self, key: str) -> Stored | None:
        """The object whole, or None."""

        def read(client: S3Client) -> Stored:
            answer, where = client.get_object(**self._bucket.at(key)), self._bucket.where(key)
            refuse_unread(key, where, answered(answer, "ContentLength", s3_errors.GET, where))
            etag = answered(answer, "ETag", s3_errors.GET, where)
            data = answer["Body"].read()
            return Stored(ObjectInfo(key, len(data), etag, _metadata(answer["Metadata"])), data)

        try:
            return self._bucket.call(s3_errors.GET, key, read)
        except MissingKeyError:
            return None

    def head(self, key: str) -> ObjectInfo | None:
        """The object's facts, or None."""
        try:
            answer = self._bucket.call(s3_errors.HEAD, key, lambda client: client.head_object(**self._bucket.at(key)))
        except MissingKeyError:
            self._page("", "", limit=1)  # HEAD cannot tell a missing object from a missing bucket; this can
            return None
        size, etag = (
            answered(answer, name, s3_errors.HEAD, self._bucket.where(key)) for name in ("ContentLength", "ETag")
        )
        return ObjectInfo(key, size, etag, _metadata(answer["Metadata"]), _version(answer.get("VersionId")))

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:
        """The object as a stream, or None. Its reads raise TransientError."""
        place = {**self._bucket.at(key), **({"VersionId": version_id} if version_id else {})}
        what = s3_errors.GET_VERSION if version_id else s3_errors.GET
        try:
            answer = self._bucket.call(what, key, lambda client: client.get_object(**place))
        except MissingKeyError:
            return None
        return io.BufferedReader(_ObjectReader(answer["Body"], self._bucket.where(key)), MIB)

    def copy(self, source: str, target: str, *, etag: str) -> bool:
        """See `Store.copy`. Above S3's limit for one request it goes in parts."""
        facts = self.head(source)
        if facts is None or facts.etag != etag:
            return False
        wanted: dict[str, Any] = {"CopySource": self._bucket.at(source), "CopySourceIfMatch": etag}
        try:
            if facts.size > MOST_COPIED:
                copy_parts(self._bucket, target, facts, wanted)
            else:
                about = {**self._bucket.about(target, facts.metadata), "MetadataDirective": "REPLACE", **wanted}
                self._bucket.call(s3_errors.COPY, target, lambda client: client.copy_object(**about))
        except (UnmetError, MissingKeyError):
            return False
        return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Objects in key order, page by page. Raises HaltError for a store that lists in another order.

        What is listed behind a later key would be missed by whoever continues after the last one, and a chain without
        its newest record would be continued from an older one.
        """
        last, token = after, ""
        while True:
            page = self._page(prefix, after, token)
            for item in page.get("Contents", []):
                found = _listed(item, self._bucket)
                if found.key > last:
                    yield found
                    last = found.key
                elif found.key > after:  # a store may ignore StartAfter; a console's folder marker is skipped
                    raise HaltError(
                        HaltReason.UNSAFE_STORE,
                        f"{self.location}: {found.key} is listed after {last}: the store does not list keys in order,"
                        " or lists some twice. Use another store",
                    )
            if not page["IsTruncated"]:
                return
            before, token = token, answered(page, "NextContinuationToken", s3_errors.LIST, self.location)
            if token == before:
                raise TransientError(f"{self.location}: the store lists the same page over and over")

    def now(self) -> datetime:
        """The `Date` of an answer to the cheapest list; whole seconds."""
        date = self._page("", "", limit=1)["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            now = email.utils.parsedate_to_datetime(date)
        except ValueError as error:
            raise TransientError(f"{self.location}: the store's answer has no usable Date: {date!r}") from error
        if now.tzinfo is None:
            raise TransientError(f"{self.location}: the store's Date has no zone: {date!r}")
        return now

    def _page(self, prefix: str, after: str, token: str = "", limit: int = 0) -> ListObjectsV2OutputTypeDef:
        place: dict[str, Any] = {
            "Bucket": self._bucket.options.bucket,
            "Prefix": self._bucket.prefix + prefix,
            "MaxKeys": limit or PAGE,
        }
        if token:
            place["ContinuationToken"] = token
        elif after:
            place["StartAfter"] = self._bucket.prefix + after
        page = self._bucket.call(s3_errors.LIST, prefix, lambda client: client.list_objects_v2(**place))
        answered(
            page, "IsTruncated", s3_errors.LIST, self.location
        )  # else any page of a proxy is a folder without keys
        return page


class _ObjectReader(io.RawIOBase):
    """An object's bytes as they come; a connection lost on the way is TransientError, never a short read."""

    def __init__(self, body: StreamingBody, where: str) -> None:
        self._body = body
        self._where = where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # narrower than any writable buffer
        try:
            data = self._body.read(len(buffer))
        except s3_errors.CAUGHT as error:
            raise s3_errors.explain(error, s3_errors.GET, self._where) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def _listed(item: Mapping[str, Any], bucket: S3Bucket) -> ObjectInfo:
    key, size, etag = (answered(item, name, s3_errors.LIST, bucket.where("")) for name in ("Key", "Size", "ETag"))
    return ObjectInfo(key.removeprefix(bucket.prefix), size, etag)


def _version(said: str | None) -> str:
    """The version that names a body forever: a suspended bucket's "null" does not."""
    return "" if said in {None, "null"} else str(said)


def _metadata(given: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in given.items()}
