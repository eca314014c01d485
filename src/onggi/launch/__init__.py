"""Starts containers from a clean process and keeps one monitor beside each. Standard library only."""
