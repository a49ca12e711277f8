"""moichord: from a scanner's shared folder to the image server and its analytics, and never lost."""

__version__ = "0.1.0"
