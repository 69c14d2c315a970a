"""Exported nets on an emulated Cortex-M4."""
