"""One running investigation: turns a workflow into events, waits for people, resumes, replays."""
