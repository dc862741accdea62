"""Every key in one list: name, key, place, meaning. Bindings, help, key rows and docs/keys.md come from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.binding import BindingType


class Place(StrEnum):
    """Where a key holds. ANYWHERE also while text is typed; TEXT on every screen that shows text."""

    ANYWHERE = "anywhere"
    TEXT = "text"
    PROMPT = "prompt"
    INVESTIGATE = "investigate"
    APPROVALS = "approvals"
    SESSIONS = "sessions"
    REPLAY = "replay"
    SERVERS = "servers"
    REVIEW = "review"
    CALL = "call"
    QUESTION = "question"
    CHOOSER = "chooser"
    GO = "after g"


TITLES = {
    Place.ANYWHERE: "Anywhere, also while typing",
    Place.TEXT: "In every text and list (normal state)",
    Place.PROMPT: "In the prompt",
    Place.INVESTIGATE: "Investigate",
    Place.APPROVALS: "Approvals",
    Place.SESSIONS: "Sessions",
    Place.REPLAY: "Replay",
    Place.SERVERS: "MCP servers",
    Place.REVIEW: "Approving an MCP server or its tools",
    Place.CALL: "A held call of an MCP tool",
    Place.QUESTION: "A question of an MCP server",
    Place.CHOOSER: "Practice incidents",
    Place.GO: "After g",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One action and its keys. `short` is the word in the key row, "" where it is only in the help.

    `by_screen` means that the screen reads the key itself (the approval guard, the prompt), so no binding is made.
    """

    name: str
    keys: tuple[str, ...]
    place: Place
    text: str
    short: str = ""
    by_screen: bool = False

    @property
    def label(self) -> str:
        """Return the keys as people write them."""
        return " ".join(_LABELS.get(key, key) for key in self.keys)


_LABELS = {
    "question_mark": "?", "colon": ":", "slash": "/", "left_square_bracket": "[", "right_square_bracket": "]",
    "full_stop": ".", "comma": ",", "less_than_sign": "<", "greater_than_sign": ">", "exclamation_mark": "!",
    "escape": "esc", "plus": "+", "underscore": "_",
}  # fmt: skip
DIGITS = tuple("0123456789")

KEYS: tuple[Key, ...] = (
    Key("palette", ("ctrl+p",), Place.ANYWHERE, "find any command by name", "commands"),
    Key("stop_or_back", ("escape",), Place.ANYWHERE, "close the overlay, else stop the turn, else leave the prompt"),
    Key("interrupt", ("ctrl+c",), Place.ANYWHERE, "copy the selection, else stop the running turn; never quits"),
    Key("leave", ("ctrl+q",), Place.ANYWHERE, "quit; asks first when something runs or waits", "quit"),
    Key("redraw", ("ctrl+l",), Place.ANYWHERE, "draw the screen again"),
    Key("approvals_now", ("f2",), Place.ANYWHERE, "open the change that waits longest"),
    Key("asked_now", ("f3",), Place.ANYWHERE, "open the MCP call or question that waits longest"),
    Key("help", ("question_mark", "f1"), Place.TEXT, "show the keys that work here", "help"),
    Key("palette", ("colon",), Place.TEXT, "go to a screen or run a command by name", "go"),
    Key("find", ("slash",), Place.TEXT, "find in this text", "find"),
    Key("find_next", ("n",), Place.TEXT, "next match"),
    Key("find_previous", ("N",), Place.TEXT, "previous match"),
    Key("down", ("j", "down"), Place.TEXT, "down one line or row"),
    Key("up", ("k", "up"), Place.TEXT, "up one line or row"),
    Key("next_block", ("J", "alt+down"), Place.TEXT, "next block"),
    Key("previous_block", ("K", "alt+up"), Place.TEXT, "previous block"),
    Key("half_down", ("ctrl+d", "pagedown"), Place.TEXT, "half a page down"),
    Key("half_up", ("ctrl+u", "pageup"), Place.TEXT, "half a page up"),
    Key("bottom", ("G", "end"), Place.TEXT, "to the end, and follow it"),
    Key("top", ("home",), Place.TEXT, "to the top (also gg)"),
    Key("next_pane", ("tab",), Place.TEXT, "next pane", "pane"),
    Key("previous_pane", ("shift+tab",), Place.TEXT, "previous pane"),
    Key("go", ("g",), Place.TEXT, "go to: then i a m s r or g"),
    Key("copy_block", ("y",), Place.TEXT, "copy the source text of the item or of the whole text"),
    Key("stop_changes", ("X",), Place.TEXT, "stop all changes until the gate starts anew; asks first"),
    Key("error_detail", ("exclamation_mark",), Place.TEXT, "the raw text behind the last error"),
    Key("go_investigate", ("i",), Place.GO, "Investigate", by_screen=True),
    Key("go_approvals", ("a",), Place.GO, "Approvals", by_screen=True),
    Key("go_servers", ("m",), Place.GO, "MCP servers", by_screen=True),
    Key("go_sessions", ("s",), Place.GO, "Sessions", by_screen=True),
    Key("go_replay", ("r",), Place.GO, "Replay", by_screen=True),
    Key("go_top", ("g",), Place.GO, "top of the text", by_screen=True),
    Key("send", ("enter",), Place.PROMPT, "send; while a turn runs: give it a direction", "send", by_screen=True),
    Key("newline", ("ctrl+j", "shift+enter"), Place.PROMPT, "new line", "newline", by_screen=True),
    Key("history", ("up", "down"), Place.PROMPT, "earlier and later questions", by_screen=True),
    Key("prompt_pane", ("tab",), Place.PROMPT, "go to the next pane; the text is kept", by_screen=True),
    Key("prompt_palette", ("colon",), Place.PROMPT, "as first character: commands", by_screen=True),
    Key("prompt", ("i",), Place.INVESTIGATE, "type a question", "ask"),
    Key("open", ("enter",), Place.INVESTIGATE, "open the item", "open"),
    Key("fold", ("space",), Place.INVESTIGATE, "fold or unfold the block", "fold"),
    Key("plan", ("t",), Place.INVESTIGATE, "fold or unfold the plan"),
    Key("open_evidence", ("o",), Place.INVESTIGATE, "open the whole text of the evidence"),
    Key("propose", ("p",), Place.INVESTIGATE, "have the selected remedy examined as a change"),
    Key("tab_number", ("1", "2", "3", "4", "5"), Place.INVESTIGATE, "Evidence, Findings, Changes, Plan, Board"),
    Key("strike", ("s",), Place.INVESTIGATE, "strike the hypothesis: it is not looked into any more; again: open"),
    Key("pin", ("m",), Place.INVESTIGATE, "pin the hypothesis: it must be decided first; again: open"),
    Key("practice", ("c",), Place.INVESTIGATE, "choose a practice incident"),
    Key("retry", ("r",), Place.INVESTIGATE, "connect again after a failure"),
    Key("wider", ("plus",), Place.INVESTIGATE, "bigger case pane"),
    Key("narrower", ("underscore",), Place.INVESTIGATE, "smaller case pane"),
    Key("arm", ("a",), Place.APPROVALS, "arm; enter then sends it, any other key disarms", "approve", True),
    Key("run", ("enter",), Place.APPROVALS, "send the armed change; does nothing when it is not armed", "", True),
    Key("deny", ("d",), Place.APPROVALS, "deny", "deny"),
    Key("deny_feedback", ("f",), Place.APPROVALS, "deny and say what to do instead", "deny + say why"),
    Key("later", ("escape",), Place.APPROVALS, "decide later", "later", True),
    Key("recheck", ("r",), Place.APPROVALS, "examine it again now", "re-check"),
    Key("undo", ("U",), Place.APPROVALS, "propose the way back of an applied change"),
    Key("hidden", ("h",), Place.APPROVALS, "show or hide bookkeeping lines of the diff"),
    Key("tab_number", ("1", "2", "3", "4", "5"), Place.APPROVALS, "Diff, Impact, Checks, Action, Undo"),
    Key("previous_proposal", ("left_square_bracket",), Place.APPROVALS, "previous change"),
    Key("next_proposal", ("right_square_bracket",), Place.APPROVALS, "next change"),
    Key("open", ("enter",), Place.SESSIONS, "replay the session", "replay"),
    Key("resume", ("r",), Place.SESSIONS, "resume the session", "resume"),
    Key("reload", ("R",), Place.SESSIONS, "read the list again"),
    Key("play", ("space",), Place.REPLAY, "play or pause", "play"),
    Key("step_on", ("full_stop",), Place.REPLAY, "one step on", "step"),
    Key("step_back", ("comma",), Place.REPLAY, "one step back", "back"),
    Key("next_marker", ("right_square_bracket",), Place.REPLAY, "next marker", "next marker"),
    Key("previous_marker", ("left_square_bracket",), Place.REPLAY, "previous marker"),
    Key("faster", ("greater_than_sign",), Place.REPLAY, "faster: x0.5 x1 x2 x4 x8", "speed"),
    Key("slower", ("less_than_sign",), Place.REPLAY, "slower"),
    Key("filter", ("f",), Place.REPLAY, "show the steps, the changes, or every event", "filter"),
    Key("tenth", DIGITS, Place.REPLAY, "jump to a tenth of the session", ""),
    Key("open", ("enter",), Place.REPLAY, "open what stands at this step"),
    Key("open", ("enter",), Place.SERVERS, "open the server, what starts it, a tool, a prompt or a resource", "open"),
    Key("look", ("r",), Place.SERVERS, "start the server and list what it offers", "list tools"),
    Key("review_new", ("v",), Place.SERVERS, "review all its new tools at once", "review new tools"),
    Key("forget", ("F",), Place.SERVERS, "take every approval of the server back; asks first"),
    Key("arm", ("a",), Place.REVIEW, "arm, once all of it was in sight; enter then approves", "approve", True),
    Key("run", ("enter",), Place.REVIEW, "approve what is armed; does nothing when it is not armed", "", True),
    Key("later", ("escape",), Place.REVIEW, "go back, approve nothing", "back", True),
    Key("arm", ("a",), Place.CALL, "arm, once all was in sight; enter then allows this one call", "allow once", True),
    Key("run", ("enter",), Place.CALL, "allow the armed call; does nothing when it is not armed", "", True),
    Key("deny", ("d",), Place.CALL, "do not allow it", "deny"),
    Key("deny_feedback", ("f",), Place.CALL, "do not allow it, and say why", "deny + say why"),
    Key("later", ("escape",), Place.CALL, "decide later", "later", True),
    Key("previous_call", ("left_square_bracket",), Place.CALL, "previous held call"),
    Key("next_call", ("right_square_bracket",), Place.CALL, "next held call"),
    Key("open", ("enter",), Place.QUESTION, "type into the field, or choose the option", "fill in", True),
    Key("turn", ("space",), Place.QUESTION, "choose the option, or take that back"),
    Key("hand_in", ("ctrl+s",), Place.QUESTION, "show what would be sent; enter then sends it", "send", True),
    Key("decline", ("ctrl+x",), Place.QUESTION, "say no to the server", "decline"),
    Key("cancel", ("escape",), Place.QUESTION, "leave it unanswered; asks first where you typed", "cancel", True),
    Key("open", ("enter",), Place.CHOOSER, "open this incident", "open"),
)  # fmt: skip


def in_place(*places: Place) -> list[Key]:
    """Return the keys of these places, in order."""
    return [key for key in KEYS if key.place in places]


def bindings(*places: Place) -> list[BindingType]:
    """Return Textual bindings of these places; an action named `tab_number` gets its key as argument."""
    from textual.binding import Binding

    made: list[BindingType] = []
    for key in in_place(*places):
        if key.by_screen:
            continue
        for one in key.keys:
            action = f"{key.name}({one!r})" if len(key.keys) > 2 else key.name
            made.append(Binding(one, action, key.text, show=False, priority=key.place is Place.ANYWHERE))
    return made


def clashes(places: Iterable[Place]) -> list[str]:
    """Return the keys that mean two things where all of `places` hold; the first named place wins them."""
    found: dict[str, set[str]] = {}
    for key in in_place(*places):
        for one in key.keys:
            found.setdefault(one, set()).add(key.name)
    return sorted(one for one, names in found.items() if len(names) > 1)


def as_markdown() -> str:
    """Return docs/keys.md."""
    out = ["# Keys", "", "Made from `assistant/tui/keys.py`; a test keeps the two equal.", ""]
    out += ["The prompt takes letters as text. `esc` leaves it (normal state), `i` goes back to it.", ""]
    for place in Place:
        out += [f"## {TITLES[place]}", "", "| key | what it does |", "|---|---|"]
        out += [f"| {' '.join(f'`{part}`' for part in key.label.split())} | {key.text} |" for key in in_place(place)]
        out.append("")
    return "\n".join(out).rstrip() + "\n"
