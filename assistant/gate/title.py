"""One readable line for a change."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.domain.target import Target
from assistant.policy.api_path import ApiPath
from assistant.policy.diff import Change
from assistant.policy.summary import summary, told, with_removals
from assistant.policy.surroundings import counted

# A whole object that is sent back with so many changes is told as what it is: a replacement.
_FEW = 3


def title_of(method: str, api: ApiPath, target: Target, found: Sequence[Change], *, exists: bool) -> str:
    """Return what the change does, such as `set image of container web in Deployment shop/web: 5.21.0 → 5.12.0`.

    `found` is what the request changes in the object, without secret values; an apply to none makes it.
    """
    kept, removed = told(found)
    match method:
        case "DELETE" if api.name:
            return f"delete {target}"
        case "DELETE":
            return f"delete all {api.resource} in {api.namespace or 'the cluster'}"
        case "POST" if api.sub == "eviction":
            return f"evict {target}"
        case "POST" if api.sub:
            return f"{api.sub} of {target}"
        case "POST":
            return f"create {target}"
        case _ if not exists:
            return f"create {target}"
        case "PUT" if api.sub not in ("", "scale") or len(kept) > _FEW or not (kept or removed):
            count = f": {counted(len(kept), 'field')} changed" if kept else ""
            return with_removals(f"replace {api.sub + ' of ' if api.sub else ''}{target}{count}", found)
        case _ if api.sub not in ("", "scale"):
            return f"{summary(found, target)} ({api.sub})"
        case _:
            return summary(found, target)
