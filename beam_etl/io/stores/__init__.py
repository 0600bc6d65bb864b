"""Where files are: a filesystem, or an object store. Chosen by the path."""

from beam_etl.io.stores.base import Found, Sink, Store, Upload
from beam_etl.io.stores.local import PROBE, LocalStore
from beam_etl.io.stores.urls import is_local, is_object

__all__ = ["PROBE", "Found", "Sink", "Store", "Upload", "is_local", "is_object", "store_of"]

_LOCAL = LocalStore()


def store_of(path: str) -> Store:
    """The store that a path is in.

    Raises:
      OSError: an object store whose extra isn't installed.
      UrlError: a scheme that isn't known, or a url with credentials.
    """
    if is_local(path):
        return _LOCAL
    from beam_etl.io.stores.objects import object_store

    return object_store(path)
