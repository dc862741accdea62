"""What a server offers besides tools: texts to read and questions to ask, in bounds, by exactly the names it gave."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from assistant.domain.toolserver import ServerPrompt, ServerResource
from assistant.tools.mcp.texts import line

if TYPE_CHECKING:
    import mcp_types as types

MOST_RESOURCES: Final = 1_000
MOST_TEMPLATES: Final = 100
MOST_PROMPTS: Final = 200
MOST_ARGUMENTS: Final = 32
LONGEST_URI: Final = 2_000
LONGEST_TEMPLATE: Final = 300
MOST_VARIABLES: Final = 8
LONGEST_TITLE: Final = 120
LONGEST_ABOUT: Final = 600
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
"""Plain characters only: what a person reads is what is asked for."""
_NAME: Final = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_UPWARDS: Final = re.compile(r"(?:^|[/\\:])\.\.(?:[/\\?#]|$)")
_ENCODED: Final = re.compile(r"%2e|%2f|%5c|%25|%00", re.IGNORECASE)


def resources_of(
    listed: Sequence[types.Resource], templates: Sequence[types.ResourceTemplate]
) -> tuple[tuple[ServerResource, ...], bool]:
    """Return the resources that can be asked for, the templates after them, and whether that is all.

    A template is one whose `uri` holds variables in braces.
    """
    found: dict[str, ServerResource] = {}
    for each in listed:
        if _usable(each.uri) and "{" not in each.uri:
            found.setdefault(each.uri, _resource(each.uri, each))
    for template in templates[:MOST_TEMPLATES]:
        if _parsed(template.uri_template) is not None:
            found.setdefault(template.uri_template, _resource(template.uri_template, template))
    return tuple(found.values()), len(found) == len(listed) + len(templates)


def readable(uri: str, resources: Iterable[ServerResource]) -> bool:
    """Say whether a URI is one that a server lists, or fits one of its templates without leaving it.

    What is filled into a template may not climb (`..`) and hides no separators behind percent signs: which file or
    page is meant stands there in plain characters.
    """
    if not _usable(uri) or "{" in uri:
        return False
    climbs = _UPWARDS.search(uri) is not None or _ENCODED.search(uri) is not None
    for each in resources:
        if each.uri == uri:
            return True
        template = _parsed(each.uri) if "{" in each.uri and not climbs else None
        if template is not None and _fits(template, uri):
            return True
    return False


def prompts_of(listed: Sequence[types.Prompt]) -> tuple[tuple[ServerPrompt, ...], bool]:
    """Return the prompts that can be asked for, and whether that is all."""
    found: dict[str, ServerPrompt] = {}
    for each in listed:
        given = each.arguments or []
        names = [argument.name for argument in given]
        fits = len(names) <= MOST_ARGUMENTS and len(set(names)) == len(names)
        if not fits or not all(_NAME.fullmatch(name) for name in (each.name, *names)):
            continue
        needed = [argument.name for argument in given if argument.required]
        rest = [argument.name for argument in given if not argument.required]
        about = line(each.description or each.title, LONGEST_ABOUT)
        found.setdefault(each.name, ServerPrompt(each.name, about, (*needed, *rest), len(needed)))
    return tuple(found.values()), len(found) == len(listed)


def _resource(uri: str, each: types.Resource | types.ResourceTemplate) -> ServerResource:
    title, about = line(each.title or each.name, LONGEST_TITLE), line(each.description, LONGEST_ABOUT)
    return ServerResource(uri, title, about, line(each.mime_type, LONGEST_TITLE))


def _usable(uri: str) -> bool:
    return len(uri) <= LONGEST_URI and _URI.fullmatch(uri) is not None


def _parsed(template: str) -> UriTemplate | None:
    if len(template) > LONGEST_TEMPLATE or _URI.fullmatch(template) is None:
        return None
    try:
        parsed = UriTemplate.parse(template, max_length=LONGEST_TEMPLATE, max_variables=MOST_VARIABLES)
    except InvalidUriTemplate:
        return None
    return parsed if parsed.variables else None


def _fits(template: UriTemplate, uri: str) -> bool:
    values = template.match(uri, max_uri_length=LONGEST_URI)
    # Matching lets further query parameters pass; filling the values in again shows that there are none.
    return values is not None and all(values.values()) and template.expand(values) == uri
