"""What a server lists: tools, resources, their templates and prompts, page by page and within bounds."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

import mcp_types as types
from mcp import Client, MCPError
from mcp_types import METHOD_NOT_FOUND

MOST_PAGES: Final = 100


class Listing(Enum):
    """One of the lists: the capability that says so, the client's method, the field of its result, and in words."""

    TOOLS = ("tools", "list_tools", "tools", "tools")
    RESOURCES = ("resources", "list_resources", "resources", "resources")
    TEMPLATES = ("resources", "list_resource_templates", "resource_templates", "templates of resources")
    PROMPTS = ("prompts", "list_prompts", "prompts", "prompts")

    @property
    def words(self) -> str:
        """Return how people call it."""
        return self.value[3]


_CHANGED: Final[tuple[tuple[type, frozenset[Listing]], ...]] = (
    (types.ToolListChangedNotification, frozenset({Listing.TOOLS})),
    (types.ResourceListChangedNotification, frozenset({Listing.RESOURCES, Listing.TEMPLATES})),
    (types.PromptListChangedNotification, frozenset({Listing.PROMPTS})),
)


def changed_by(message: object) -> frozenset[Listing]:
    """Return which lists a server's notification says are no longer what they were."""
    return next((lists for kind, lists in _CHANGED if isinstance(message, kind)), frozenset())


async def listed(client: Client, what: Listing, most: int) -> tuple[list[Any], bool]:
    """Return what a server lists, at most so many, and whether that is all. Raises MCPError.

    A server that does not say that it has resources or prompts is not asked for them.
    """
    capability, method, field, _ = what.value
    if what is not Listing.TOOLS and getattr(client.server_capabilities, capability) is None:
        return [], True
    found: list[Any] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        try:
            page = await getattr(client, method)(cursor=cursor)
        except MCPError as error:
            if error.code == METHOD_NOT_FOUND and what is Listing.TEMPLATES:
                return [], True  # many servers have resources and no templates
            raise
        found.extend(getattr(page, field))
        cursor = page.next_cursor
        if cursor is None or len(found) > most or cursor in seen:
            return found[:most], cursor is None and len(found) <= most
        seen.add(cursor)
    return found[:most], False
