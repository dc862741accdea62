"""`eval`: ask about every recorded incident of a folder, and print how right the answers are.

Each question is asked by a process of its own, as a person would ask it, so that the times are those of the command
and nothing of one incident reaches the next. The sessions are kept in a folder that is thrown away afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from assistant.errors import BundleError, UsageError
from assistant.evaluation import (
    BUNDLES,
    COUNTS,
    TRUTHS,
    BundleText,
    Incident,
    Score,
    calibration,
    judge,
    passes,
    read_incident,
    spending,
    sums,
)
from assistant.policy.sanitize import SafeText, safe

WRONG: Final = 1
NONE_SCORED: Final = 4
VERSION: Final = 1
SAID_CHARACTERS: Final = 110


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of one incident, or why there are none; `refused` where the question itself was not accepted."""

    id: str
    category: str
    runs: tuple[Score, ...] = ()
    unscored: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Mind:
    """Who is asked: a language model, at its provider or at an address; or, without one, the expert."""

    model: str = ""
    base_url: str = ""

    @property
    def flags(self) -> list[str]:
        """Return what `ask` is told."""
        if not self.model:
            return ["--no-model"]
        return ["--model", self.model, *(["--base-url", self.base_url] if self.base_url else [])]


def evaluate(given: argparse.Namespace) -> int:
    """Score a folder. Exit 0 when every run of every incident is right, 4 when none could be scored, else 1."""
    mind = Mind(given.model or "", given.base_url or "")
    if mind.base_url and not mind.model:
        raise UsageError("--base-url is where a model is, and none is given.", "Add --model, or leave it out.")
    folders = _chosen(_folders(given.folder), given.only)
    results = asyncio.run(_all(folders, given.repeat, given.jobs, given.timeout, mind))
    if mind.model and all(result.refused for result in results):
        raise UsageError(f"{mind.model} cannot be asked.", results[0].unscored)
    report = _report(results, given.repeat, mind.model)
    print(json.dumps(report, indent=2) if given.format == "json" else "\n".join(_lines(results, report)))
    if not any(result.runs for result in results):
        return NONE_SCORED
    return 0 if all(result.runs and all(run.right for run in result.runs) for result in results) else WRONG


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}.", "Give a folder with one folder for each incident.")
    if _is_incident(root):
        return [root.resolve()]
    found = [path for path in sorted(root.iterdir()) if path.is_dir() and _is_incident(path)]
    if not found:
        raise UsageError(f"There are no incidents in {root}.", "Each is a folder with truth.yaml and bundle/.")
    return found


def _is_incident(folder: Path) -> bool:
    return any((folder / name).exists() for name in (*TRUTHS, *BUNDLES))


def _chosen(folders: list[Path], only: str) -> list[Path]:
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    known = {folder.name: folder for folder in folders}
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known)[:12])}."
            raise UsageError(f"There is no incident {name!r}.", hint)
    return [known[name] for name in dict.fromkeys(wanted)] or folders


async def _all(folders: list[Path], repeat: int, jobs: int, timeout: float, mind: Mind) -> list[Result]:
    slots = asyncio.Semaphore(jobs)
    with tempfile.TemporaryDirectory(prefix="pilothouse-eval-") as name:
        asked = (_one(folder, repeat, slots, timeout, Path(name), mind) for folder in folders)
        return list(await asyncio.gather(*asked))


async def _one(folder: Path, repeat: int, slots: asyncio.Semaphore, limit: float, home: Path, mind: Mind) -> Result:
    try:
        incident = await asyncio.to_thread(read_incident, folder)
        text = BundleText(incident.bundle)
        runs = []
        for _ in range(repeat):
            async with slots:
                runs.append(await _run(incident, text, limit, home, mind))
        return Result(incident.id, incident.category, tuple(runs))
    except (BundleError, UsageError) as error:
        said = f"{error.meaning} {error.hint}".strip()
        return Result(folder.name, "none", unscored=said, refused=isinstance(error, UsageError))


async def _run(incident: Incident, text: BundleText, limit: float, home: Path, mind: Mind) -> Score:
    """Ask once. Any failure is a wrong answer, but for two.

    Raises BundleError when the incident cannot be read, UsageError when the command line is not accepted.
    """
    arguments = ["ask", incident.symptom, "--bundle", str(incident.bundle), "--format", "json", *mind.flags]
    arguments += ["-n", incident.namespace] if incident.namespace else []
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assistant", *arguments, env=_environment(home), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, told = await asyncio.wait_for(process.communicate(), limit)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Score(said=f"no answer within {limit:.0f} s", seconds=time.monotonic() - started)
    seconds = time.monotonic() - started
    try:
        document = json.loads(out)
    except ValueError:
        why = " ".join(told.decode(errors="replace").split())[:200] or f"exit code {process.returncode}"
        if process.returncode == BundleError.exit_code:
            raise BundleError(f"It could not be asked about: {why}.") from None
        if process.returncode == UsageError.exit_code:
            raise UsageError(f"It could not be asked about: {why}") from None
        return Score(said=f"no answer: {why}", seconds=seconds)
    score = await asyncio.to_thread(judge, document, incident, text.holds)
    return replace(score, seconds=seconds)


def _environment(home: Path) -> dict[str, str]:
    # Otherwise every run would stand among the user's own sessions.
    return {**os.environ, "PILOTHOUSE_STATE_DIR": str(home / "state"), "PILOTHOUSE_RUNTIME_DIR": str(home / "run")}


def _report(results: list[Result], repeat: int, model: str = "") -> dict[str, Any]:
    runs = [run for result in results for run in result.runs]
    passed = passes(result.runs for result in results)
    rows = calibration([item for run in runs for item in run.stated])
    categories = {}
    for name in sorted({result.category for result in results if result.runs}):
        own = [run for result in results if result.category == name for run in result.runs]
        categories[name] = {"runs": len(own), **sums(own)}
    return {
        "version": VERSION,
        "repeat": repeat,
        "model": model or None,
        "incidents": [
            {"id": r.id, "category": r.category, "right": all(run.right for run in r.runs),
             "right_runs": sum(run.right for run in r.runs), "runs": [asdict(run) for run in r.runs]}
            for r in results if r.runs
        ],
        "not_scored": [{"id": r.id, "why": r.unscored} for r in results if not r.runs],
        "calibration": [{**asdict(row), "share": round(row.share, 4), "said": round(row.said, 4)} for row in rows],
        "categories": categories,
        "sums": {"incidents": sum(bool(r.runs) for r in results), "runs": len(runs), **sums(runs)},
        "passes": {"k": repeat, "pass_at_1": round(passed.at_1, 4), "pass_hat_k": round(passed.all_k, 4)},
        "usage": _usage(runs, model),
    }  # fmt: skip


def _usage(runs: list[Score], model: str) -> dict[str, Any]:
    if not runs:
        return {}
    spent = spending(runs, model)
    return {
        "median_seconds": round(statistics.median(run.seconds for run in runs), 2),
        "longest_seconds": round(max(run.seconds for run in runs), 2),
        "median_api_requests": statistics.median(run.api_requests for run in runs),
        "tokens": sum(run.tokens for run in runs),
        "tokens_a_run": round(sum(run.tokens for run in runs) / len(runs), 1),
        "model_calls": spent.model_calls,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "median_prompt_tokens": spent.median_prompt_tokens,
        "largest_prompt_tokens": spent.largest_prompt_tokens,
        "own_tokens_a_run": round(spent.tokens_a_run, 1),
        "cost_usd": spent.cost_usd,
        "cost_usd_a_run": spent.cost_a_run,
        "unpriced_runs": spent.unpriced,
        "own_answers": spent.own,
        "own_right": spent.right,
        "model_failed": spent.stood_in,
    }


def _lines(results: list[Result], report: Mapping[str, Any]) -> list[str]:
    wide = max(len(result.id) for result in results)
    lines: list[str] = []
    for result in results:
        if not result.runs:
            lines.append(safe(f"{result.id:{wide}}  not scored: {result.unscored}"))
            continue
        total, runs = sums(result.runs), result.runs
        counts = " ".join(f"{name} {total[name]}" for name in COUNTS if name != "abstained")
        of = f" of {len(runs)}" if len(runs) > 1 else ""
        cost = f"{statistics.median(r.seconds for r in runs):5.1f} s {runs[-1].api_requests:4} req"
        if report["model"]:
            cost += f" {statistics.median(r.tokens for r in runs):6.0f} tok"
        said = next((run.said for run in runs if not run.right), runs[0].said)[:SAID_CHARACTERS]
        mark = "  " if all(run.right for run in runs) else "! "
        lines.append(safe(f"{mark}{result.id:{wide}} {result.category:18} {counts}{of} {cost}  {said}"))
    total, usage = report["sums"], report["usage"]
    if total["runs"]:
        lines += ["", "by category:"]
        lines += [_sums_line(name, row) for name, row in report["categories"].items()]
        lines += ["", "confidence of root causes, and how often they are right:"]
        lines += [_calibration_line(row) for row in report["calibration"]] or ["  none was named"]
        lines += ["", _sums_line("all", total)]
        lines.append(
            f"incidents {total['incidents']}, not scored {len(report['not_scored'])}, runs {total['runs']}; "
            f"median {usage['median_seconds']:.1f} s (longest {usage['longest_seconds']:.1f} s), "
            f"{usage['median_api_requests']:.0f} API requests, {usage['tokens']} tokens"
        )
        lines.append(_passes_line(report))
        lines += _model_lines(report)
    return lines


def _passes_line(report: Mapping[str, Any]) -> str:
    passed, total = report["passes"], report["sums"]
    line = f"pass@1 {passed['pass_at_1']:.0%}"
    if passed["k"] > 1:
        line += f", pass^{passed['k']} {passed['pass_hat_k']:.0%} (every run of an incident right)"
    return f"{line}; abstained in {total['abstained']} of {total['runs']} runs"


def _model_lines(report: Mapping[str, Any]) -> list[SafeText]:
    if not report["model"]:
        return []
    usage, model, runs = report["usage"], report["model"], report["sums"]["runs"]
    own, failed = usage["own_answers"], usage["model_failed"]
    lines = []
    if own:
        cost = usage["cost_usd_a_run"]
        unpriced = f"cost unknown: {usage['unpriced_runs']} of {own} runs have no price"
        lines.append(
            f"{model}: {usage['model_calls']} calls; prompt tokens median {usage['median_prompt_tokens']:.0f}, "
            f"largest {usage['largest_prompt_tokens']}; {usage['own_tokens_a_run']:.0f} tokens a run; "
            + (f"${cost:.4f} a run" if cost is not None else unpriced)
        )
    lines.append(
        f"{model} answered in {own} of {runs} runs, right in {usage['own_right']}; it failed and the expert's answer "
        f"stood in {failed}, no answer at all in {runs - own - failed}"
    )
    return [safe(line, multiline=False) for line in lines]


def _sums_line(name: str, row: Mapping[str, int]) -> str:
    counts = "  ".join(f"{key} {row[key]}" for key in ("top1", "all"))
    rest = "  ".join(f"{key} {row[key]}" for key in ("field", "cited", "fix", "abstained"))
    return safe(f"  {name:18} runs {row['runs']:3}  {counts}  false alarms {row['extra']}  {rest}")


def _calibration_line(row: Mapping[str, Any]) -> str:
    share = f"{row['right']} of {row['findings']} right ({row['share']:.0%})"
    return f"  said {row['low']:.2f} to {row['high']:.2f} (mean {row['said']:.2f}): {share}"
