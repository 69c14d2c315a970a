"""Tools that every package of nwavesdk uses. Nothing here is public."""

__all__: list[str] = []
