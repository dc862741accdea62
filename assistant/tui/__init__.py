"""The Textual face. Draws the case, sends keys to the session, decides nothing."""
