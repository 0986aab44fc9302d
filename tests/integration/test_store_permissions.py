"""docs/iam-policy.json is enough for the store, and no statement of it can go. Tried as a session with that policy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.domain.errors import TransientError, UnknownOutcomeError
from consumer.store.conditional_writes.probe import conditional_writes
from consumer.store.port import Absent, BytesBody, Match, Refused, Written
from consumer.store.s3 import S3Store
from consumer.store.s3_clients import LEAST_PART, S3Options
from tests.conftest import BucketFactory
from tests.services.policy import policy_for, session
from tests.services.s3 import S3Address

ACTIONS = ["s3:ListBucket", "s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:AbortMultipartUpload"]
LARGE = BytesBody(b"x" * (LEAST_PART + 1))
SMALL = BytesBody(b"x")


@pytest.fixture(autouse=True)
def no_credentials_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own AWS settings are no part of a test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))


@pytest.fixture
def store_under(
    minio: S3Address, bucket: BucketFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], S3Store]:
    """A store of one bucket, whose credentials may do what the policy says less one action, and nothing else."""
    name = bucket()
    credentials = tmp_path / "aws-credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))

    def make(without: str) -> S3Store:
        env = session(minio, policy_for(name, without))
        credentials.write_text("[default]\n" + "".join(f"{key.lower()} = {value}\n" for key, value in env.items()))
        return S3Store(options)

    options = S3Options(
        bucket=name,
        prefix="folder",
        region=minio.region,
        endpoint_url=minio.endpoint_url,
        multipart_threshold=LEAST_PART,
        part_size=LEAST_PART,
    )
    return make


def test_the_policy_allows_what_the_store_calls_and_no_more() -> None:
    statements = policy_for("bucket")["Statement"]
    assert sorted(action for statement in statements for action in statement["Action"]) == sorted(ACTIONS)
    assert all("bucket" in statement["Resource"] for statement in statements)


def test_the_policy_is_enough(store_under: Callable[[str], S3Store]) -> None:
    store = store_under("")
    small = store.put("small", SMALL, condition=Absent(), metadata={"rows": "1"})
    assert isinstance(small, Written)
    assert isinstance(store.put("small", BytesBody(b"y"), condition=Match(small.etag)), Written)
    assert isinstance(store.put("large", LARGE, condition=Absent()), Written)
    assert store.put_in_parts("large", SMALL, condition=Absent()) == Refused()
    assert [facts.key for facts in store.list("")] == ["large", "small"]
    assert store.head("missing") is None
    assert store.get("missing") is None
    reader = store.open("large")
    assert reader is not None
    with reader:
        assert reader.read() == LARGE.data
    assert store.now().tzinfo is not None
    assert conditional_writes(store, races=4, writers=8) == []


def test_a_session_that_is_no_more_is_an_outage(store_under: Callable[[str], S3Store], tmp_path: Path) -> None:
    store = store_under("")
    good = (tmp_path / "aws-credentials").read_text()
    (tmp_path / "aws-credentials").write_text(f"{good.rstrip()}x\n")
    with pytest.raises(TransientError, match="403 InvalidTokenId"):
        store.put("small", SMALL, condition=Absent())
    (tmp_path / "aws-credentials").write_text(f"{good}half a line")
    with pytest.raises(TransientError, match="no usable AWS credentials") as caught:
        store.put("small", SMALL, condition=Absent())
    assert not isinstance(caught.value, UnknownOutcomeError)
    (tmp_path / "aws-credentials").write_text(good)
    assert isinstance(store.put("small", SMALL, condition=Absent()), Written)


@pytest.mark.parametrize(
    ("without", "ask"),
    [
        ("s3:ListBucket", lambda store: list(store.list(""))),
        ("s3:ListBucket", lambda store: store.now()),
        ("s3:ListBucket", lambda store: store.head("missing")),
        ("s3:PutObject", lambda store: store.put("small", SMALL, condition=Absent())),
        ("s3:PutObject", lambda store: store.put_in_parts("small", SMALL, condition=Absent())),
        ("s3:GetObject", lambda store: store.get("there")),
        ("s3:GetObject", lambda store: store.head("there")),
        ("s3:GetObject", lambda store: store.open("there")),
    ],
)
def test_a_missing_permission_is_named_and_waited_for(
    store_under: Callable[[str], S3Store], without: str, ask: Callable[[S3Store], object]
) -> None:
    store_under("").put("there", SMALL, condition=Absent())
    store = store_under(without)
    with pytest.raises(TransientError, match=f"was refused: 403.*{without}"):
        ask(store)
    store_under("")
    ask(store)


def test_without_the_right_to_abort_parts_are_left(
    store_under: Callable[[str], S3Store], minio: S3Address, capsys: pytest.CaptureFixture[str]
) -> None:
    store = store_under("s3:AbortMultipartUpload")
    assert isinstance(store.put("taken", SMALL, condition=Absent()), Written)
    assert store.put_in_parts("taken", SMALL, condition=Absent()) == Refused()
    bucket = store.location.removeprefix("s3://").partition("/")[0]
    left = minio.client().list_multipart_uploads(Bucket=bucket, Prefix="folder/taken")["Uploads"]
    assert len(left) == 1
    assert "s3:AbortMultipartUpload" in "".join(capsys.readouterr())
