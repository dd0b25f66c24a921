"""Bringing a server in step with folders: walk, compare, send, follow, tell."""
