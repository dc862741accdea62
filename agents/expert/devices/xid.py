"""What the numbers of NVIDIA's Xid errors mean, the few that decide what has to be done (NVIDIA, "XID Errors")."""

from __future__ import annotations

import re

MEANINGS = {
    13: "a fault of the application",
    31: "a memory fault of the application",
    43: "the GPU was reset by the application's channel",
    45: "what was left of a killed application was cleaned up",
    48: "a double-bit memory error: drain the node and reset the GPU",
    63: "a memory row was remapped: reset the GPU soon",
    64: "a memory row could not be remapped: replace the GPU",
    74: "an NVLink error",
    79: "the GPU has fallen off the bus: drain the node, reboot it, replace the GPU if it comes back",
    92: "many single-bit memory errors",
    94: "a contained memory error: restart the application",
    95: "an uncontained memory error: drain the node and reset the GPU",
    119: "the GPU's system processor does not answer: reset the GPU",
    120: "an error of the GPU's system processor: reset the GPU",
}


def number_in(words: str) -> int:
    """Return the Xid that a message names ("XID 79", "Xid (PCI:0000:3b:00): 79"), 0 where it names none."""
    match = re.search(r"\bxid\b(?:\s*\(PCI[^)]{0,40}\))?[\s:=]{0,4}(\d{1,3})\b", words, re.IGNORECASE)
    return int(match[1]) if match else 0


def meaning(key: str, value: str) -> str:
    """Return ", what it means" for a taint that carries an Xid, "" for any other."""
    number = int(value) if "xid" in key.lower() and value.isdigit() and len(value) < 4 else 0
    return f", which means {MEANINGS[number]}" if number in MEANINGS else ""
