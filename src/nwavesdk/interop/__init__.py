"""Exchange of nets with other libraries: NIR graphs.

Each format is a module that is imported by its name, as in `nwavesdk.interop.nir`, and needs the
extra `interop`.
"""

__all__: list[str] = []
