"""A change that the model writes: one patch of one object, tried on the server before anybody is shown it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from agents.expert.patching import STRATEGIC_PATCH, sent_as
from agents.expert.remedies import path_of, risk_of
from agents.model.reading import Reader
from agents.model.tools import Toolbox, UnansweredError
from assistant.domain.action import Action, Remedy
from assistant.errors import ClusterError
from assistant.policy.redact import has_placeholder, redact_text

LARGEST_PATCH: Final = 20_000
_NOT_ITS_BUSINESS: Final = ("apiVersion", "kind", "status")
_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion", "managedFields", "ownerReferences", "finalizers")


async def written(given: Mapping[str, Any], toolbox: Toolbox, reader: Reader, name: str, by: str) -> Remedy:
    """Return the change as a remedy called `name`. Raises UnansweredError with what the model has to mend."""
    patch = given.get("patch")
    if not isinstance(patch, dict) or not patch:
        raise UnansweredError("`patch` has to be an object with the fields to change.")
    _check(patch)
    try:
        _, thing = await toolbox.find(given)
        body = json.dumps(patch, ensure_ascii=False)
        kind, lost = sent_as(thing.resource.partition(".")[2], thing.kind, thing.raw, patch)
        if lost:
            raise UnansweredError(f"It would also remove {lost}: write its lists whole.")
        await reader.try_patch(path_of(thing), body, kind)
    except ClusterError as error:
        raise UnansweredError(f"The server refuses it: {error.meaning} {error.detail}".strip()[:600]) from error
    title = " ".join(str(given.get("title") or "").split())[:160] or f"Patch {thing.target}"
    place = f"-n {thing.namespace} " if thing.namespace else ""
    how = "strategic" if kind == STRATEGIC_PATCH else "merge"
    line = f"kubectl {place}patch {thing.resource} {thing.name} --type {how} -p {shlex.quote(body)}"
    reason = " ".join(str(given.get("why") or "").split())[:300]
    action = Action("PATCH", path_of(thing), thing.target, (), kind, body)
    undo = "the gate keeps what stood there before"
    return Remedy(name, title, (), risk_of(thing), action, line, undo, f"{by}: {reason}" if reason else by)


def _check(patch: Mapping[str, Any]) -> None:
    for key in _NOT_ITS_BUSINESS:
        if key in patch:
            raise UnansweredError(f"Leave `{key}` out of the patch.")
    meta = patch.get("metadata")
    for key in _IDENTITY:
        if isinstance(meta, dict) and key in meta:
            raise UnansweredError(f"A patch must not touch metadata.{key}.")
    body = json.dumps(patch, ensure_ascii=False)
    if len(body) > LARGEST_PATCH:
        raise UnansweredError("The patch is too large: only the fields that change belong into it.")
    if has_placeholder(body) or redact_text(body)[1]:
        raise UnansweredError("The patch holds something that looks like a secret, or a placeholder of one.")
