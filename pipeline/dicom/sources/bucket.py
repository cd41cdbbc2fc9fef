"""A prefix of an S3 bucket: objects by name, read by ranges.

Credentials and endpoint are those of the environment, as botocore finds them (``AWS_*``,
``AWS_ENDPOINT_URL``); an address never carries any.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.archive import text_of
from pipeline.dicom.sources.source import Entry
from pipeline.reasons import Reason

SCHEME: Final = "s3://"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
#: the first request brings so much: nearly every header, so that one costs one request
_HEAD: Final = 1 << 16
#: later small reads bring so much
_AHEAD: Final = 1 << 18
_PAGE: Final = 1000


class Bucket:
    """The objects below a prefix; of the name of one object, that object."""

    def __init__(self, address: str) -> None:
        """Connect to nothing yet.

        Raises:
            SourceRefused: the address is none, or the extra ``s3`` is not installed.

        """
        self._bucket, _, key = address.removeprefix(SCHEME).partition("/")
        if not _BUCKET.fullmatch(self._bucket):
            sentence = "an address in a bucket has the form s3://bucket/prefix"
            raise SourceRefused(sentence, Reason.SOURCE_UNREADABLE)
        if importlib.util.find_spec("s3fs") is None:
            sentence = "s3:// needs the extra s3: pip install nightshift[s3]"
            raise SourceRefused(sentence, Reason.SOURCE_UNREADABLE)
        self._key = key
        self._prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        self._client: Any = None

    def entries(self) -> Iterator[Entry]:
        """Yield every object, as ``Source.entries`` says, sorted by the bytes of its name."""
        is_empty = True
        for found in self._listed(self._prefix):
            is_empty = False
            # An object named like a folder is what consoles make to show an empty one.
            if not found["Key"].endswith("/"):
                yield _entry(found, self._prefix)
        if is_empty and self._prefix and not self._key.endswith("/"):
            for found in self._listed(self._key, most=1):
                if found["Key"] == self._key:
                    yield _entry(
                        found, self._key.rpartition("/")[0] + "/" if "/" in self._key else ""
                    )

    def open(self, name: str) -> BucketFile:
        """Open one object: its first bytes come with it."""
        key = self._prefix + name
        last = self._key.rpartition("/")[2]
        with _spoken_for_file():
            try:
                return BucketFile(self._connected(), self._bucket, key)
            except FileNotFoundError:
                if name != last:
                    raise
            return BucketFile(self._connected(), self._bucket, self._key)

    def _listed(self, prefix: str, most: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the objects whose names begin so, a page in memory at a time."""
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        asked["MaxKeys"] = most or _PAGE
        while True:
            with _spoken():
                page = self._connected().call_s3("list_objects_v2", **asked)
            yield from page.get("Contents", ())
            if most is not None or not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _connected(self) -> Any:
        if self._client is None:
            import s3fs  # an optional extra, and slow to import

            # Not one of fsspec's shared instances: those outlive the source.
            self._client = s3fs.S3FileSystem(skip_instance_cache=True)
        return self._client


class BucketFile:
    """One object, open: its first bytes are there, others are asked for by range."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._client, self._asked = client, {"Bucket": bucket, "Key": key}
        self._start, self._block = 0, b""
        self._tag = ""
        self.size: int = 0
        try:
            self._block = self._get(0, _HEAD)
        except FileNotFoundError:
            raise
        except OSError:
            # S3 has no range of an empty object; asked as a whole it tells whether it is one.
            if self._stated_size():
                raise

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes, as ``OpenFile.read_at`` says."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        begin = offset - self._start
        if not 0 <= begin <= begin + length <= len(self._block):
            self._block, self._start = self._fetched(offset, max(length, _AHEAD)), offset
            begin = 0
        return self._block[begin : begin + length]

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view``, as ``OpenFile.read_into`` says."""
        length = max(0, min(len(view), self.size - offset))
        begin = offset - self._start
        held = self._block[begin : begin + length] if 0 <= begin < len(self._block) else b""
        view[: len(held)] = held
        if len(held) < length:
            rest = self._fetched(offset + len(held), length - len(held))
            view[len(held) : len(held) + len(rest)] = rest
            return len(held) + len(rest)
        return length

    def _fetched(self, offset: int, length: int) -> bytes:
        with _spoken_for_file():
            return self._get(offset, min(length, self.size - offset))

    def _get(self, offset: int, length: int) -> bytes:
        """Ask for a range. The object must be the one that the first answer came from."""
        from fsspec.asyn import sync

        wanted = f"bytes={offset}-{offset + length - 1}"
        answer = self._client.call_s3("get_object", **self._asked, Range=wanted)
        size = int(
            str(answer.get("ContentRange", "")).rpartition("/")[2] or answer["ContentLength"]
        )
        tag = str(answer.get("ETag", ""))
        data: bytes = sync(self._client.loop, answer["Body"].read)
        if not self._tag:
            self._tag, self.size = tag, size
        if (tag, size) != (self._tag, self.size) or len(data) != min(length, size - offset):
            sentence = "the object changed while it was read"
            raise FileRefused(sentence, Reason.FILE_UNREADABLE)
        return data

    def _stated_size(self) -> int:
        answer = self._client.call_s3("head_object", **self._asked)
        return int(answer["ContentLength"])

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what was read."""
        self._block = b""


def _entry(found: Mapping[str, Any], prefix: str) -> Entry:
    name = found["Key"].removeprefix(prefix)
    stamp = f"{found.get('ETag', '')} {found.get('LastModified', '')}"
    if text_of(name.encode("utf-8", "surrogatepass")) != name:
        refused = (Reason.FILE_UNREADABLE, "its name is not valid UTF-8")
        safe = text_of(name.encode("utf-8", "surrogatepass"))
        return Entry(name=safe, size=found["Size"], stamp=stamp, refused=refused)
    return Entry(name=name, size=found["Size"], stamp=stamp)


@contextlib.contextmanager
def _spoken() -> Iterator[None]:
    """Turn what the store or the network raises into the refusal of the source."""
    try:
        yield
    except FileNotFoundError:
        raise SourceRefused("there is no such bucket", Reason.SOURCE_MISSING) from None
    except _errors() as error:
        sentence = f"the bucket cannot be read: {_cause(error)}"
        raise SourceRefused(sentence, Reason.SOURCE_UNREADABLE) from None


@contextlib.contextmanager
def _spoken_for_file() -> Iterator[None]:
    """Turn what the store or the network raises into the refusal of one file."""
    try:
        yield
    except FileNotFoundError:
        raise FileRefused("the object is not there any more", Reason.FILE_MISSING) from None
    except _errors() as error:
        sentence = f"it cannot be read: {_cause(error)}"
        raise FileRefused(sentence, Reason.FILE_UNREADABLE) from None


def _errors() -> tuple[type[Exception], ...]:
    from aiohttp import ClientError as ConnectionLost
    from botocore.exceptions import BotoCoreError, ClientError

    return (OSError, TimeoutError, BotoCoreError, ClientError, ConnectionLost)


def _cause(error: Exception) -> str:
    """Say what kind of thing went wrong. Messages of the store may quote names and keys."""
    if isinstance(error, PermissionError):
        return "the store refused the credentials"
    return type(error).__name__
