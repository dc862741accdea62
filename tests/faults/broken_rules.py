# ruff: noqa: E501 - a table of edits
"""Builds whose rules have a hole: the classifier's tables, the parsing of requests, what may be written and sent."""

from __future__ import annotations

from typing import Final

from tests.faults.mutant import Mutant

CLASSIFY: Final = "assistant/policy/classify.py"
API_PATH: Final = "assistant/policy/api_path.py"
PREPARE: Final = "assistant/gate/prepare.py"
TABLE: Final = "tests/unit/policy/test_classify.py"
ATTACKS: Final = "tests/attacks/test_classifier.py"
LOSSY: Final = "tests/gate/test_lossy.py"
CLIENT: Final = "tests/gate/test_holding.py -k AForeign or cannot_dress or dry_run"

MUTANTS: Final = (
    Mutant("an unknown path is a read", CLASSIFY, 'return CRITICAL, "unknown-path"\n', 'return READ, "unknown-path"\n', TABLE),
    Mutant("an unknown method is a read", CLASSIFY, 'Verdict(CRITICAL, "unknown-method"', 'Verdict(READ, "unknown-method"', TABLE),
    Mutant("an unknown subresource is read", CLASSIFY, "or api.sub not in _READABLE_SUBRESOURCES:", "or False:", ATTACKS),
    Mutant("exec is no connection", CLASSIFY, '"exec", "attach", "portforward", "proxy"', '"attach", "portforward", "proxy"', TABLE),
    Mutant("a proxy is no connection", CLASSIFY, '"portforward", "proxy"})', '"portforward"})', TABLE),
    Mutant("namespaces are ordinary", CLASSIFY, '["namespaces", "nodes",', '["nodes",', TABLE),
    Mutant("volume claims are ordinary", CLASSIFY, '"persistentvolumeclaims", "componentstatuses"', '"componentstatuses"', TABLE),
    Mutant(
        "roles are ordinary", CLASSIFY,
        '_CRITICAL_GROUPS: Final = frozenset(\n    [\n        "rbac.authorization.k8s.io",\n',
        "_CRITICAL_GROUPS: Final = frozenset(\n    [\n", TABLE,
    ),
    Mutant("a token request is ordinary", CLASSIFY, '"token": CRITICAL,', '"token": WRITE,', TABLE),
    Mutant("an ephemeral container is ordinary", CLASSIFY, '"ephemeralcontainers": CRITICAL,', '"ephemeralcontainers": WRITE,', TABLE),
    Mutant("a whole collection is one object", CLASSIFY, 'if method == "DELETE" and not api.name:', "if False:", TABLE),
    Mutant("no namespace is protected", CLASSIFY, "if api.namespace in protected:", "if False:", TABLE),
    Mutant("what is cluster-wide is ordinary", CLASSIFY, "if not api.namespace:", "if False:", TABLE),
    Mutant("a token review is free", CLASSIFY, '"tokenreviews"): (SENSITIVE, ', '"tokenreviews"): (VIRTUAL, ', TABLE),
    Mutant("a delete is a dry run by its query", CLASSIFY, 'if dry and method != "DELETE" and', "if dry and", TABLE),
    Mutant(
        "a delete's body is not looked at for the dry run", CLASSIFY,
        "if (body is None and query_dry) or body_dry:", "if query_dry or body_dry:", ATTACKS,
    ),
    Mutant("any API honours a dry run", CLASSIFY, "return api.group in BUILT_IN_GROUPS and api.sub not in", "return api.sub not in", TABLE),
    Mutant("dryRun=all is a dry run", API_PATH, 'value for key, value in pairs if key == "dryRun"] != ["All"]', "value for key, value in pairs if False]", TABLE),
    Mutant("a query key may come twice", API_PATH, "if key in seen and not free and not _repeatable(path, key):", "if False:", TABLE),
    Mutant("a query key may be unknown", API_PATH, "if key not in QUERY_KEYS and not free:", "if False:", TABLE),
    Mutant("an encoded slash passes", API_PATH, "if _BAD_ESCAPE.search(raw_path):", "if False:", TABLE),
    Mutant("dots and double slashes pass", API_PATH, 'part in ("", ".", "..") for part', "False for part", TABLE),
    Mutant("a fragment passes", API_PATH, 'or "#" in target:', "or False:", TABLE),
    Mutant("an upgrade of anything passes", CLASSIFY, "if upgrade and not connecting:", "if False:", TABLE),
    Mutant("acting as somebody else passes", CLASSIFY, 'if lower.startswith("impersonate-") or', "if", TABLE),
    Mutant("the method may be overridden", CLASSIFY, "if lower in _REFUSED_HEADERS:", "if False:", TABLE),
    Mutant("an encoded body passes", CLASSIFY, 'if lower == "content-encoding" and', "if False and", TABLE),
    Mutant("finalizers are ordinary", CLASSIFY, "if _touches_finalizers(body):", "if False:", TABLE),
    Mutant("a powerful pod is ordinary", CLASSIFY, "    if _powerful_pod(body):\n", "    if False:\n", TABLE),
    Mutant("a path that is not UTF-8 is a fault", API_PATH, "except UnicodeDecodeError as error:\n        raise Refused(\"encoded-path\"", "except KeyError as error:\n        raise Refused(\"encoded-path\"", ATTACKS),
    Mutant("a field may be given twice", PREPARE, "if len(found) != len(pairs):", "if False:", "tests/attacks/test_request_bodies.py"),
    Mutant("YAML aliases pass", PREPARE, "if isinstance(event, yaml.AliasEvent):", "if False:", "tests/attacks/test_request_bodies.py"),
    Mutant("a change goes without its version", PREPARE, 'metadata.setdefault("resourceVersion", version)', "pass"),
    Mutant("a delete goes without its conditions", PREPARE, 'options["preconditions"] = conditions', "pass"),
    Mutant("what a replaced list drops is the server's", "assistant/policy/patch.py", "elif method == \"PATCH\" and media_type == MERGE", "elif method == \"\" and media_type == MERGE", LOSSY),
    Mutant("what the server adds to a JSON patch is ours", "assistant/policy/patch.py", "media_type == JSON_PATCH and isinstance", "False and isinstance", LOSSY),
    Mutant("what a stale manifest drops is the server's", "assistant/policy/patch.py", 'if method == "PUT" and', "if False and", LOSSY),
    Mutant("a list without a merge key is merged", "assistant/policy/origin.py", "and key not in MERGED_LISTS and", "and False and", LOSSY),
    Mutant("a title hides what goes", "assistant/policy/summary.py", ", and removes {listing(_beside(gone, place_of(kept[0].path).container))}\"", "\"", LOSSY),
    Mutant("a lossy change is an ordinary one", "assistant/policy/risk.py", "        fired += _loss_rules(around)\n", "", LOSSY),
    Mutant(
        "a command that keeps the fields stands for a patch that drops them", "assistant/gate/changed.py",
        "if c.origin is LineOrigin.OURS]\n        return self.redactor", "if c.path[-1] == \"image\"]\n        return self.redactor", LOSSY,
    ),
    Mutant("a change goes without its uid", PREPARE, 'metadata.setdefault("uid", uid)', "pass"),
)  # fmt: skip
