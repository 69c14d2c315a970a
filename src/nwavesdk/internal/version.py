"""The version of the library, in a module that all packages can import."""

__all__ = ["__version__"]

__version__ = "0.2.0.dev0"
