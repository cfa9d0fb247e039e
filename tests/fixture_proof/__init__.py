"""Proof from outside: runs a fixture's unmodified program in a child process and judges what really happened in it."""
