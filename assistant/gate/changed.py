"""The diff of one change, from the live object, the request and the dry run, without secret values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import yaml

from assistant.domain.action import Action
from assistant.domain.proposal import LineOrigin
from assistant.domain.target import Target
from assistant.gate.prepare import JSON_PATCH, Prepared, media_type
from assistant.gate.shown import shown_body
from assistant.policy.api_path import ApiPath
from assistant.policy.diff import Change, Path, asked, changes, pointer_asked, requested
from assistant.policy.kubectl import kubectl_line
from assistant.policy.redact import Redactor
from assistant.policy.surroundings import Obj, at

# The state before is kept with the proposal in journal and log; of a very large object its beginning is enough.
_BEFORE_CHARACTERS: Final = 256 * 1024
_WHOLE: Final = frozenset[Path]({()})


@dataclass(frozen=True, slots=True)
class Changed:
    """One change of one object, before and after, as it may be shown."""

    redactor: Redactor
    api: ApiPath
    target: Target
    prepared: Prepared
    parsed: Any
    live: Obj | None
    after: Obj | None

    def changes(self) -> list[Change]:
        """Return what differs; without a dry run, what the body says."""
        prepared, parsed = self.prepared, self.parsed
        if prepared.method == "POST" and self.api.sub:
            return changes({}, self._body(), asked_paths(self._body()))
        if self.after is None:
            return changes({}, self._body(), _WHOLE)
        before, after = self.clean(self.live or {}), self.clean(self.after)
        if self.live is None:
            wanted = asked(self._body(), {}, after)
            return changes({}, after, frozenset(wanted), wanted)
        if media_type(prepared.content_type) == JSON_PATCH and isinstance(parsed, list):
            wanted = pointer_asked(self._body(), before, after)
            return changes(before, after, frozenset(wanted), wanted)
        body = self._body() if isinstance(parsed, dict) else {}
        wanted = asked(body, before, after)
        if prepared.method != "PUT":
            return changes(before, after, frozenset(wanted), wanted)
        touched: set[Path] = set()
        for change in changes(before, body, frozenset(), hidden=False):
            deeper = [path for path in wanted if path[: len(change.path)] == change.path]
            touched.update(deeper or [change.path])
        mine = {path: value for path, value in wanted.items() if path in touched}
        return changes(before, after, frozenset(touched), mine)

    def asked_for(self, found: list[Change]) -> list[Change]:
        """Return the part of a patch or replacement that the request itself asks for."""
        if self.prepared.method not in ("PATCH", "PUT"):
            return []
        if self.after is not None:
            return [change for change in found if change.origin is LineOrigin.OURS]
        return requested(self._body(), self.clean(self.live or {}))

    def kubectl(self, given: Prepared, ours: list[Change]) -> str:
        """Return the command that would do the same as the request that was asked for."""
        content_type = media_type(given.content_type)
        action = Action(given.method, given.path, self.target, given.query, content_type, given.body)
        return self.redactor.text(kubectl_line(action, self._body(), ours))[0]

    def clean(self, value: Obj) -> Obj:
        """Return an object without secret values."""
        clean, _ = self.redactor.object({"kind": self.target.kind, **value}, self.target.kind)
        return clean if isinstance(clean, dict) else {}

    def before_image(self) -> str:
        """Return the whole object as it is now, as YAML without secret values and bookkeeping."""
        if self.live is None:
            return ""
        notes = {k: v for k, v in at(self.live, "metadata", default={}).items() if k != "managedFields"}
        image = self.clean({**{k: v for k, v in self.live.items() if k != "status"}, "metadata": notes})
        lines = yaml.safe_dump(image, sort_keys=False, allow_unicode=True, width=1000).splitlines()
        size = 0
        for number, line in enumerate(lines):
            size += len(line) + 1
            if size > _BEFORE_CHARACTERS:
                lines[number:] = [f"# and {len(lines) - number} more lines"]
                break
        return "\n".join(lines) + "\n"

    def shown(self, body: str) -> str:
        """Return the bytes of a body without secret values; unchanged where it holds none."""
        if not body:
            return ""
        value = json.loads(body)
        clean = shown_body(self.redactor, value, self.target.kind, self.live)
        return body if clean == value else json.dumps(clean, separators=(",", ":"), ensure_ascii=False)

    def _body(self) -> Any:
        return shown_body(self.redactor, self.parsed, self.target.kind, self.live)


def asked_paths(body: Any) -> frozenset[Path]:
    """Return the places that a body names."""
    return frozenset(asked(body))
