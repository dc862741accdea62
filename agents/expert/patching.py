"""How a patch that somebody wrote is sent, so that it changes what it names and takes nothing else away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agents.expert.reading import CORE_GROUPS
from agents.expert.remedies import MERGE_PATCH
from assistant.policy.loss import list_losses, template_losses
from assistant.policy.patch import merged

STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"


def sent_as(group: str, kind: str, live: Mapping[str, Any], patch: Mapping[str, Any]) -> tuple[str, str]:
    """Return the media type, and what would go without being named ("" for nothing).

    A strategic patch changes the entry of a list that it names, and only kinds of Kubernetes itself take one. A merge
    patch (RFC 7386) replaces lists whole, and whoever writes two fields of an entry does not mean to drop ten.
    """
    if group in CORE_GROUPS:
        return STRATEGIC_PATCH, ""
    after = merged(dict(live), dict(patch))
    lost = (losses(kind, live, after) for losses in (template_losses, list_losses))
    return MERGE_PATCH, "; ".join(each for each in lost if each)
