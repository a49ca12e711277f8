"""The configuration: YAML in, frozen settings out, or every problem at once as `file:line:column: key: problem`.

`document` knows YAML and places, `values` the kinds of values, `settings` and `calls` the keys, `loading` brings them
together, `example` writes config.example.yaml from them. The rest of moichord is given settings and never reads them.
Errors: `ConfigurationInvalid`.
"""

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
from moichord.config.changes import Changes, changes
from moichord.config.example import example
from moichord.config.loading import from_environment, load, load_page, load_whereabouts, read
from moichord.config.notify import Notify
from moichord.config.secret import Secret
from moichord.config.settings import (
    Archive,
    Dicom,
    Folders,
    Limits,
    Logging,
    Retention,
    Retry,
    Settings,
    Watch,
    Whereabouts,
)
from moichord.config.web import Address, Web

__all__ = [
    "Address",
    "Analytics",
    "AnalyticsTimeout",
    "Archive",
    "Changes",
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
    "changes",
    "example",
    "from_environment",
    "load",
    "load_page",
    "load_whereabouts",
    "read",
]
