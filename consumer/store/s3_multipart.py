"""Multipart uploads: an object made of parts that are sent or copied. A failed one is aborted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from consumer.domain.errors import HaltError, TransientError, UsageError
from consumer.store import s3_errors
from consumer.store.port import Condition, ObjectInfo
from consumer.store.s3_bucket import S3Bucket, answered, condition_headers
from consumer.store.s3_clients import MIB, MOST_PARTS

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

log = structlog.get_logger(__name__)

COPY_PART = 512 * MIB
"""Bytes of a part that is copied: the largest object has 10,000 of them."""

Upload = Mapping[str, Any]
"""An upload under way, as its requests name it."""


def send_parts(
    bucket: S3Bucket,
    key: str,
    parts: Iterable[bytes | bytearray],
    condition: Condition,
    metadata: Mapping[str, str] | None,
) -> str:
    """Send an object part by part; returns its ETag. Raises UnmetError, which only the last request can detect."""
    return _joined(
        bucket, key, metadata, lambda upload: list(_sent(bucket, key, parts, upload)), condition_headers(condition)
    )


def copy_parts(bucket: S3Bucket, target: str, source: ObjectInfo, wanted: Mapping[str, Any]) -> None:
    """Copy a large object. `wanted` names it, and the ETag that it must have."""
    _joined(bucket, target, source.metadata, lambda upload: list(_copied(bucket, target, source, {**wanted, **upload})))


def _joined(
    bucket: S3Bucket,
    key: str,
    metadata: Mapping[str, str] | None,
    make_parts: Callable[[Upload], list[CompletedPartTypeDef]],
    condition: Mapping[str, Any] | None = None,
) -> str:
    create = bucket.about(key, metadata)
    created = bucket.call(s3_errors.CREATE, key, lambda client: client.create_multipart_upload(**create))
    upload = {"UploadId": answered(created, "UploadId", s3_errors.CREATE, bucket.where(key)), **bucket.at(key)}
    try:
        finish: dict[str, Any] = {"MultipartUpload": {"Parts": make_parts(upload)}, **upload, **(condition or {})}
        answer = bucket.call(s3_errors.COMPLETE, key, lambda client: client.complete_multipart_upload(**finish))
    except BaseException:
        _abort(bucket, key, upload)
        raise
    return str(answered(answer, "ETag", s3_errors.COMPLETE, bucket.where(key)))


def _sent(
    bucket: S3Bucket, key: str, parts: Iterable[bytes | bytearray], upload: Upload
) -> Iterator[CompletedPartTypeDef]:
    for number, data in enumerate(parts, start=1):
        if number > MOST_PARTS:
            raise UsageError(f"{bucket.where(key)} would need more than {MOST_PARTS} parts: export fewer days")
        yield _part(bucket, key, {"PartNumber": number, "Body": data, **upload})


def _part(bucket: S3Bucket, key: str, about: Mapping[str, Any]) -> CompletedPartTypeDef:
    answer = bucket.call(s3_errors.PART, key, lambda client: client.upload_part(**about))
    return {"PartNumber": about["PartNumber"], "ETag": answered(answer, "ETag", s3_errors.PART, bucket.where(key))}


def _copied(bucket: S3Bucket, key: str, source: ObjectInfo, about: Mapping[str, Any]) -> Iterator[CompletedPartTypeDef]:
    for number, start in enumerate(range(0, source.size, COPY_PART), start=1):
        end = min(start + COPY_PART, source.size)
        yield _part_copied(bucket, key, {**about, "PartNumber": number, "CopySourceRange": f"bytes={start}-{end - 1}"})


def _part_copied(bucket: S3Bucket, key: str, about: Mapping[str, Any]) -> CompletedPartTypeDef:
    answer = bucket.call(s3_errors.PART_COPY, key, lambda client: client.upload_part_copy(**about))
    copied = answer.get("CopyPartResult", {})
    return {"PartNumber": about["PartNumber"], "ETag": answered(copied, "ETag", s3_errors.PART_COPY, bucket.where(key))}


def _abort(bucket: S3Bucket, key: str, upload: Upload) -> None:
    """Give the parts back. Where that fails too, a lifecycle rule of the bucket has to; the first error counts."""
    try:
        bucket.call(s3_errors.ABORT, key, lambda client: client.abort_multipart_upload(**upload))
    except (TransientError, HaltError) as error:
        log.warning("multipart_upload_left", key=key, upload=upload["UploadId"], error=str(error))
