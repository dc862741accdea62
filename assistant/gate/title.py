"""One readable line for a change."""

from __future__ import annotations

from typing import Any

from assistant.domain.target import Target
from assistant.policy.api_path import ApiPath
from assistant.policy.diff import leaves, show_path
from assistant.policy.impact import at
from assistant.policy.kubectl import set_images

_SHOWN = 3


def title_of(method: str, api: ApiPath, target: Target, parsed: Any, live: dict[str, Any] | None) -> str:
    """Return what the change does, such as `set image of Deployment shop/web to web:2`."""
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
        case "PUT":
            return f"replace {api.sub + ' of ' if api.sub else ''}{target}"
        case _:
            return _patch(api, target, parsed)


def _patch(api: ApiPath, target: Target, parsed: Any) -> str:
    count = at(parsed, "spec", "replicas")
    if isinstance(count, int) and (api.sub == "scale" or set(parsed.get("spec", {})) == {"replicas"}):
        return f"scale {target} to {count}"
    images = set_images(parsed)
    if images:
        return f"set image of {target} to {', '.join(image for _, image in images)}"
    if at(parsed, "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"):
        return f"restart {target}"
    if isinstance(parsed, list):
        places = [str(op.get("path", "")).strip("/").replace("/", ".") for op in parsed if isinstance(op, dict)]
    else:
        places = [show_path(path) for path in sorted(leaves(parsed)) if path[:1] not in (("apiVersion",), ("kind",))]
        places = [place for place in places if not place.startswith(("metadata.name", "metadata.uid"))]
    shown = ", ".join(place[-60:] for place in places[:_SHOWN])
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return f"change {shown or 'nothing'}{more} of {target}"
