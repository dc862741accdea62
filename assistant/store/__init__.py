"""SQLite: sessions, events, bodies, search, the gate's journal, recordings."""
