"""Objects read one after the other and uploaded as one, with nothing looked at: what any export has to do at least.

`python -m benchmarks.plain_copy FILE`, where FILE holds the address, the bucket, the prefix and the target's key.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3

PART = 8 << 20
BLOCK = 1 << 20


def main(path: Path) -> None:
    told = json.loads(path.read_text())
    bucket, prefix, target = told.pop("bucket"), told.pop("prefix"), told.pop("target")
    client = boto3.client("s3", **told)
    upload = {"Bucket": bucket, "Key": target}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    parts: list[Any] = []
    held = bytearray()

    def send() -> None:
        answer = client.upload_part(PartNumber=len(parts) + 1, Body=bytes(held), **upload)
        parts.append({"PartNumber": len(parts) + 1, "ETag": answer["ETag"]})
        held.clear()

    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page["Contents"]:
            if not item["Key"].endswith(".csv"):
                continue
            body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"]
            while block := body.read(BLOCK):
                held += block
                if len(held) >= PART:
                    send()
    send()
    client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
