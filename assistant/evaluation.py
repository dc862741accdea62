"""How right an answer is: the JSON document of `ask` against what is known to be true of a recorded incident.

Pure apart from `read_incident`; running the incidents is the command's business. docs/evaluation.md has the format of
what is true and the meaning of every column.
"""

from __future__ import annotations

import fnmatch
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from assistant.domain.recorded import EXPERT
from assistant.errors import BundleError

TRUTHS: Final = ("truth.yaml", "incident.yaml")
BUNDLES: Final = ("bundle", "bundle.tar.gz", "bundle.tgz")
LARGEST_FILE_BYTES: Final = 8 * 1024 * 1024
"""Files of a bundle above this are not searched for quotes."""
SHORTEST_QUOTE: Final = 6
"""Letters and digits; what is shorter stands everywhere."""
BOUNDS: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Lower bounds of the rows of the calibration table."""
# Words of paths that say nothing about which field it is.
_COMMON: Final = frozenset(
    "spec template metadata containers data status absent the and missing".split()  # noqa: SIM905 - reads better
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An object that is a right answer. A name may hold `*`; "" fits every name."""

    kind: str
    namespace: str
    name: str
    field: str


@dataclass(frozen=True, slots=True)
class Incident:
    """A recorded incident and what is true of it. Without culprits nothing is wrong in it."""

    id: str
    bundle: Path
    symptom: str
    namespace: str
    category: str
    culprits: tuple[Answer, ...]
    accepted: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Stated:
    """A root cause that was named: how sure it was said to be, and whether it is one."""

    confidence: float
    right: bool


@dataclass(frozen=True, slots=True)
class Score:
    """One answer, judged. The counts are 0 or 1, except `extra`.

    `answered_by` is who gave the answer, "" where there is none; then nothing is known of tokens and cost either.
    `cost_usd` is None where it is not known.
    """

    top1: int = 0
    all: int = 0
    extra: int = 0
    field: int = 0
    cited: int = 0
    fix: int = 0
    abstained: int = 0
    said: str = ""
    seconds: float = 0.0
    api_requests: int = 0
    tokens: int = 0
    stated: tuple[Stated, ...] = ()
    answered_by: str = ""
    model_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    @property
    def right(self) -> bool:
        """Say whether the answer is right: the cause first, every cause named, nothing else named."""
        return bool(self.top1 and self.all and not self.extra)


COUNTS: Final = ("top1", "all", "extra", "field", "cited", "fix", "abstained")


def sums(scores: Iterable[Score]) -> dict[str, int]:
    """Return the sum of every count."""
    rows = list(scores)
    return {name: sum(getattr(score, name) for score in rows) for name in COUNTS}


@dataclass(frozen=True, slots=True)
class Passes:
    """How often an answer can be relied on, over incidents that were asked about several times each.

    `at_1` is the share of right runs, each incident counting the same: what one question is worth. `all_k` is the share
    of incidents in which every run is right: what asking twice would show to be luck.
    """

    at_1: float
    all_k: float


def passes(incidents: Iterable[Sequence[Score]]) -> Passes:
    """Return both over the runs of each incident; 0 where there are none."""
    asked = [[run.right for run in runs] for runs in incidents if runs]
    if not asked:
        return Passes(0.0, 0.0)
    at_1 = sum(sum(right) / len(right) for right in asked) / len(asked)
    return Passes(at_1, sum(all(right) for right in asked) / len(asked))


@dataclass(frozen=True, slots=True)
class Spending:
    """What the answers took of a language model.

    `own` counts the runs that whoever was asked answered, `right` those of them that are right; `stood_in` those that
    the expert answered, because the model that was asked for failed. Tokens and cost are of the first alone: what a
    failed call took is not known. The cost is None where one of them has no price (`unpriced`), or there are none.
    """

    own: int
    right: int
    stood_in: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    median_prompt_tokens: float
    largest_prompt_tokens: int
    cost_usd: float | None
    unpriced: int

    @property
    def tokens_a_run(self) -> float:
        """Return the mean tokens of a run."""
        return (self.prompt_tokens + self.completion_tokens) / self.own if self.own else 0.0

    @property
    def cost_a_run(self) -> float | None:
        """Return the mean cost of a run, None where it is not known."""
        return self.cost_usd / self.own if self.cost_usd is not None and self.own else None


def spending(scores: Iterable[Score], model: str = "") -> Spending:
    """Return what the runs took; `model` is who was asked, "" for the expert."""
    answered = [score for score in scores if score.answered_by]
    runs = [run for run in answered if not model or run.answered_by != EXPERT]
    prompts = [run.prompt_tokens for run in runs]
    costs = [run.cost_usd for run in runs if run.cost_usd is not None]
    return Spending(
        len(runs), sum(run.right for run in runs), len(answered) - len(runs),
        sum(run.model_calls for run in runs), sum(prompts), sum(run.completion_tokens for run in runs),
        statistics.median(prompts) if prompts else 0.0, max(prompts, default=0),
        sum(costs) if runs and len(costs) == len(runs) else None, len(runs) - len(costs),
    )  # fmt: skip


def read_incident(folder: Path) -> Incident:
    """Return the incident in a folder. Raises BundleError that says what is missing or cannot be read."""
    import yaml

    truth = next((folder / name for name in TRUTHS if (folder / name).is_file()), None)
    if truth is None:
        raise BundleError(f"{folder.name} has no truth.yaml.", "Write one: see docs/evaluation.md.")
    bundle = next((folder / name for name in BUNDLES if (folder / name).exists()), None)
    if bundle is None:
        raise BundleError(f"{folder.name} has no bundle.", "It has to be called bundle/ or bundle.tar.gz.")
    try:
        about = yaml.safe_load(truth.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        detail = str(error)[:300]
        raise BundleError(f"{truth.name} of {folder.name} cannot be read.", "Mend the YAML.", detail=detail) from error
    if not isinstance(about, dict):
        raise BundleError(f"{truth.name} of {folder.name} is not a mapping.", "See docs/evaluation.md.")
    symptom = about.get("symptom")
    if not isinstance(symptom, str) or not any(character.isalnum() for character in symptom):
        raise BundleError(f"{truth.name} of {folder.name} has no symptom.", "Say what a user would say.")
    if "culprit" not in about:
        raise BundleError(
            f"{truth.name} of {folder.name} does not say what is wrong: it has no culprit.",
            "Write `culprit: []` where nothing is wrong.",
        )
    return Incident(
        folder.name, bundle, symptom, _text(about.get("namespace")), _text(about.get("category")) or "none",
        _answers(about["culprit"], folder, truth.name), _answers(about.get("accept"), folder, truth.name),
    )  # fmt: skip


def _answers(value: object, folder: Path, file: str) -> tuple[Answer, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BundleError(f"culprit and accept in {file} of {folder.name} have to be lists.", "See docs/evaluation.md.")
    named = [Answer(*(_text(item.get(part.name)) for part in fields(Answer))) for item in value]
    return tuple(item for item in named if item.kind not in ("", "None"))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def judge(document: Mapping[str, Any], incident: Incident, holds: Callable[[str], bool]) -> Score:
    """Judge one JSON document of `ask` (version 1); `holds` says whether a quote stands in the bundle."""
    usage = document.get("usage") or {}
    roots = [f for f in document.get("findings") or [] if f.get("role") == "root_cause"]
    verdict = str(document.get("verdict"))
    accepted = (*incident.culprits, *incident.accepted)
    right = [any(_fits(f, answer) for answer in accepted) for f in roots]
    common: dict[str, Any] = {
        "abstained": int(verdict == "undetermined" and not roots),
        "said": "; ".join(f"{_target(f)}:{f.get('field')}" for f in roots[:3]) or verdict,
        "api_requests": int(usage.get("api_requests") or 0),
        "tokens": int(usage.get("prompt_tokens") or 0) + int(usage.get("completion_tokens") or 0),
        "answered_by": str(document.get("mind") or ""),
        "model_calls": int(usage.get("model_calls") or 0),
        "prompt_tokens": int(usage.get("prompt_tokens") or 0),
        "completion_tokens": int(usage.get("completion_tokens") or 0),
        "cost_usd": _cost(usage),
        "stated": tuple(
            Stated(float(f.get("confidence") or 0.0), good and bool(incident.culprits))
            for f, good in zip(roots, right, strict=True)
        ),
    }
    if not incident.culprits:
        healthy = int(verdict == "healthy" and not roots)
        return Score(healthy, healthy, len(roots), healthy, healthy, healthy, **common)
    every = all(any(_fits(f, culprit) for f in roots) for culprit in incident.culprits)
    instead = len(incident.culprits) == 1 and any(right)
    scored: dict[str, Any] = {"all": int(every or instead), "extra": right.count(False)}
    if roots and right[0]:
        top = roots[0]
        quotes = [e.get("quote") for e in document.get("evidence") or [] if e.get("id") in (top.get("evidence") or [])]
        fixes = any(top.get("id") in (p.get("fixes") or []) for p in document.get("proposals") or [])
        scored |= {
            "top1": 1,
            "field": int(any(_same_field(top, answer) for answer in accepted if _fits(top, answer))),
            "cited": int(any(holds(str(quote)) for quote in quotes if quote)),
            "fix": int(fixes or bool(top.get("outside"))),
        }
    return Score(**scored, **common)


def _cost(usage: Mapping[str, Any]) -> float | None:
    # The document adds up the calls that have a price, and counts the others.
    known = usage.get("cost_usd")
    if usage.get("unpriced_calls") or not isinstance(known, int | float) or known < 0:
        return None
    return float(known)


def _target(finding: Mapping[str, Any]) -> str:
    target = finding.get("target") or {}
    return f"{target.get('kind')}/{target.get('name')}"


def _fits(finding: Mapping[str, Any], answer: Answer) -> bool:
    target = finding.get("target") or {}
    if str(target.get("kind") or "").lower() != answer.kind.lower():
        return False
    place = str(target.get("namespace") or "")
    if place and answer.namespace and place != answer.namespace:
        return False
    # A name in brackets describes an object that has none yet.
    described = not answer.name or answer.name.startswith("(")
    return described or fnmatch.fnmatchcase(str(target.get("name") or ""), answer.name)


def _same_field(finding: Mapping[str, Any], answer: Answer) -> bool:
    wanted = _words(answer.field)
    return not wanted or bool(wanted & _words(f"{finding.get('field')} {finding.get('summary')}"))


def _words(text: str) -> frozenset[str]:
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()
    return frozenset(re.findall(r"[a-z]{3,}", apart)) - _COMMON


class BundleText:
    """The text of a bundle, letters and digits only: quotes are JSON laid out anew, and logs cut into lines."""

    def __init__(self, bundle: Path) -> None:
        """Keep the path; it is read when the first quote is looked for."""
        self._bundle = bundle
        self._text = ""

    def holds(self, quote: str) -> bool:
        """Say whether every part of a quote stands in the bundle. Raises BundleError."""
        if not self._text:
            self._text = self._read()
        parts = [_squeezed(part) for part in re.split(r"\.\.\.|…|\n", quote)]
        told = [part for part in parts if len(part) >= SHORTEST_QUOTE]
        return bool(told) and all(part in self._text for part in told)

    def _read(self) -> str:
        from assistant.cluster.bundle_files import open_files

        files = open_files(self._bundle)
        texts = (files.read(name) or b"" for name in sorted(files.readers))
        return _squeezed("\n".join(t.decode(errors="replace") for t in texts if len(t) < LARGEST_FILE_BYTES))


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A row of the calibration table: root causes said with a confidence from `low` to below `high`."""

    low: float
    high: float
    findings: int
    right: int
    said: float

    @property
    def share(self) -> float:
        """Return how many of them are right, 0 to 1."""
        return self.right / self.findings


def calibration(stated: Sequence[Stated]) -> tuple[Calibrated, ...]:
    """Return how often what was said with a confidence was right; rows without findings are left out."""
    rows = []
    for low, high in zip(BOUNDS, (*BOUNDS[1:], 1.01), strict=True):
        inside = [item for item in stated if low <= item.confidence < high]
        if inside:
            said = sum(item.confidence for item in inside) / len(inside)
            rows.append(Calibrated(low, min(high, 1.0), len(inside), sum(item.right for item in inside), said))
    return tuple(rows)
