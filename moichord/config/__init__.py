"""The configuration: YAML in, frozen settings out, or every problem at once as `file:line:column: key: problem`.

`document` knows YAML and places, `values` the kinds of values, `settings` and `calls` the keys, `loading` brings them
together, `example` writes config.example.yaml from them. `whereabouts` is all that many a command needs, and `paths`
one that is to answer at once. The rest of moichord is given settings and never reads them.
Errors: `ConfigurationInvalid`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moichord.config.calls import (
        Analytics,
        AnalyticsTimeout,
        Metadata,
        MetadataTimeout,
        Success,
        Tls,
        Upload,
        UploadTimeout,
    )
    from moichord.config.loading import from_environment, load, load_page, load_whereabouts, read
    from moichord.config.notify import Notify
    from moichord.config.secret import Secret
    from moichord.config.settings import (
        Archive,
        Dicom,
        Limits,
        Logging,
        Retention,
        Retry,
        Settings,
        Watch,
    )
    from moichord.config.web import Address, Web
    from moichord.config.whereabouts import Folders, Whereabouts

__all__ = [
    "Address",
    "Analytics",
    "AnalyticsTimeout",
    "Archive",
    "Dicom",
    "Folders",
    "Limits",
    "Logging",
    "Metadata",
    "MetadataTimeout",
    "Notify",
    "Retention",
    "Retry",
    "Secret",
    "Settings",
    "Success",
    "Tls",
    "Upload",
    "UploadTimeout",
    "Watch",
    "Web",
    "Whereabouts",
    "from_environment",
    "load",
    "load_page",
    "load_whereabouts",
    "read",
]

_HERE = {
    "calls": (
        "Analytics",
        "AnalyticsTimeout",
        "Metadata",
        "MetadataTimeout",
        "Success",
        "Tls",
        "Upload",
        "UploadTimeout",
    ),
    "loading": ("from_environment", "load", "load_page", "load_whereabouts", "read"),
    "notify": ("Notify",),
    "secret": ("Secret",),
    "settings": ("Archive", "Dicom", "Limits", "Logging", "Retention", "Retry", "Settings", "Watch"),
    "web": ("Address", "Web"),
    "whereabouts": ("Folders", "Whereabouts"),
}


def __getattr__(name: str) -> object:
    """Each name is loaded when it is asked for (PEP 562): a command that only looks does without most of them."""
    for module, names in _HERE.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
