"""The pages of a list as the API server sends them, and the objects in them: dictionaries, or pods kept as bytes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

import msgspec

from assistant.cluster.held import HeldObject, HeldPod, Objects, Pods, PodText
from assistant.cluster.sharing import Shared
from assistant.cluster.status import Reply, not_json
from assistant.errors import ClusterError

Item = dict[str, Any] | HeldPod | HeldObject
_BETWEEN: Final = "Something in between may have changed it."
BATCH: Final = 100
"""Objects that are decoded before the loop may turn to something else: 2 to 8 ms."""


class _Head(msgspec.Struct):
    kind: Any = None
    apiVersion: Any = None
    metadata: Any = None


class _Page(_Head):
    items: msgspec.Raw = msgspec.Raw(b"null")


class _PodPage(_Head):
    items: list[PodText] = []


_PAGE = msgspec.json.Decoder(_Page)
_POD_PAGE = msgspec.json.Decoder(_PodPage)
_TEXTS = msgspec.json.Decoder(list[msgspec.Raw])
Text = msgspec.Raw | PodText


class Keeping(Enum):
    """How the objects of a list are kept."""

    DICTIONARIES = "as dictionaries with their common parts shared"
    OBJECTS = "as bytes"
    PODS = "as bytes, with what is asked of every pod"


class Page:
    """One page: its head is read at once, so that the next page can be asked for before the objects are decoded."""

    def __init__(self, reply: Reply, keeping: Keeping = Keeping.DICTIONARIES) -> None:
        """Read the head. Raises ClusterError for what is no list."""
        head = _pod_page(reply.data) if keeping is Keeping.PODS else None
        if head is not None:
            self._texts: Sequence[Text] = head.items
            self._take(head)
            return
        try:
            page = _PAGE.decode(reply.data)
        except msgspec.ValidationError as error:
            raise not_json(reply, "The answer is not a JSON object.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise not_json(reply) from error
        texts = _texts(page.items)
        if texts is None and not str(page.kind or "").endswith("List"):
            names = sorted(msgspec.json.decode(reply.data))[:9]
            text = "The answer is not a list of objects."
            raise ClusterError(text, "Check what answers at this address.", detail=f"keys: {names}")
        self._texts = texts or ()
        self._take(page)

    def _take(self, head: _Head) -> None:
        self.kind = str(head.kind or "").removesuffix("List")
        self.api_version = str(head.apiVersion or "")
        self.count = len(self._texts)
        meta = head.metadata if isinstance(head.metadata, dict) else {}
        self.next = str(meta.get("continue") or "")
        left = meta.get("remainingItemCount")
        self.remaining = left if isinstance(left, int) else 0

    def batches(self) -> Iterator[Sequence[Text]]:
        """Yield the objects' texts, `BATCH` at a time."""
        for start in range(0, self.count, BATCH):
            yield self._texts[start : start + BATCH]


def _pod_page(data: bytes) -> _PodPage | None:
    try:
        page = _POD_PAGE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # read leniently, as all other kinds are; what is wrong with it shows there
    return page if page.items else None


def _texts(items: msgspec.Raw) -> list[msgspec.Raw] | None:
    try:
        return _TEXTS.decode(items)
    except msgspec.ValidationError:
        return None


class Reading:
    """The objects of one list, page by page."""

    def __init__(self, keeping: Keeping) -> None:
        """Start empty."""
        self.items: list[Item] = []
        self._shared = Shared()
        self._pods = Pods()
        self._objects = Objects() if keeping is Keeping.OBJECTS else None

    def add(self, texts: Sequence[Text]) -> None:
        """Decode some objects; what is none is left out. Raises ClusterError for what is no text."""
        try:
            with without_collection():
                for text in texts:
                    if isinstance(text, PodText):
                        self._keep(self._pods.keep, text)
                    elif self._objects is not None:
                        self._keep(self._objects.keep, text)
                    else:
                        self._decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClusterError("The answer is not JSON.", _BETWEEN) from error

    def _keep(self, keep: Callable[[Any], Item], text: Text) -> None:
        try:
            self.items.append(keep(text))
        except msgspec.ValidationError:
            # Not the form of any API server: read leniently, as the objects of all other kinds are.
            self._decode(text if isinstance(text, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(text)))

    def _decode(self, text: msgspec.Raw) -> None:
        self.items += self._shared.items([msgspec.json.decode(text)])


@contextmanager
def without_collection() -> Iterator[None]:
    """Let no garbage be looked for while JSON is decoded."""
    # JSON has no cycles: looking for some while it is built finds none and takes most of the time (measured: 4 to 1).
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
