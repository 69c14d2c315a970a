"""What every package of nwavesdk uses: files, optional dependencies, argument checks. Nothing here is public."""

__all__: list[str] = []
