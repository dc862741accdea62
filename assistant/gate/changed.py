"""The diff of one change, from the live object, the request and the dry run, without secret values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import yaml

from assistant.domain.action import Action
from assistant.domain.proposal import LineOrigin
from assistant.domain.target import Target
from assistant.gate.prepare import Prepared, media_type
from assistant.gate.shown import shown_body
from assistant.gate.title import title_of
from assistant.policy.api_path import ApiPath
from assistant.policy.diff import Change, Path, asked, changes, leaves, named, requested
from assistant.policy.kubectl import kubectl_line
from assistant.policy.origin import in_effect, merged_by_server, told_apart
from assistant.policy.patch import APPLY, meant
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

    @property
    def meant(self) -> Obj | None:
        """Return the object as the request by itself makes it, with what is secret; None where only the server can."""
        if self.live is None:
            return None
        made = meant(self.prepared.method, media_type(self.prepared.content_type), self.parsed, self.live)
        if made is None or self.api.sub != "status":
            return made
        # What is sent to the status of an object leaves its spec and data alone; metadata some kinds take from it.
        kept = {key: value for key, value in self.live.items() if key not in ("status", "metadata")}
        return {**{key: value for key, value in made.items() if key in ("status", "metadata")}, **kept}

    def changes(self) -> list[Change]:
        """Return what differs; without a dry run, what the request itself makes of the object, else what it says."""
        prepared = self.prepared
        if prepared.method == "POST" and self.api.sub:
            return changes({}, self._body(), leaves(self._body()))
        own = self.meant
        if own is not None and self.live is not None:
            before, made = self.clean(self.live), self.clean(own)
            after = made if self.after is None else self.clean(self.after)
            return told_apart(before, made, after, self._named())
        if self.after is None:
            return changes({}, self._body(), _WHOLE)
        before, after = self.clean(self.live or {}), self.clean(self.after)
        body = self._body() if isinstance(self.parsed, dict) else {}
        wanted = asked(body, before, after)
        found = changes(before, after, frozenset(wanted), wanted)
        if self.live is None or prepared.method != "PATCH":
            return found
        return merged_by_server(found, body, declared=media_type(prepared.content_type) == APPLY)

    def asked_for(self, found: list[Change]) -> list[Change]:
        """Return the part of a patch or replacement that the request itself asks for."""
        if self.prepared.method not in ("PATCH", "PUT"):
            return []
        if self.after is not None or self.meant is not None:
            return [change for change in found if change.origin is LineOrigin.OURS]
        return requested(self._body(), self.clean(self.live or {}))

    def title(self, found: list[Change], ours: list[Change]) -> str:
        """Return the line that says what the request changes, with what its removals come to."""
        exists = self.live is not None
        return title_of(self.prepared.method, self.api, self.target, in_effect(ours, found), exists=exists)

    def kubectl(self, given: Prepared, ours: list[Change]) -> str:
        """Return the command that would do the same as the request that was asked for."""
        content_type = media_type(given.content_type)
        action = Action(given.method, given.path, self.target, given.query, content_type, given.body)
        if (own := self.meant) is not None and self.live is not None:
            # A default that the request takes away and the server puts back makes it another request all the same.
            before, made = self.clean(self.live), self.clean(own)
            ours = [c for c in told_apart(before, made, made, self._named()) if c.origin is LineOrigin.OURS]
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

    def _named(self) -> frozenset[Path]:
        # A whole object names its bookkeeping without meaning it.
        return named(self._body(), self.live) if self.prepared.method == "PATCH" else frozenset()
