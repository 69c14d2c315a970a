"""Readers of files: bytes in, recordings out; one module for each kind of file."""

__all__: list[str] = []
