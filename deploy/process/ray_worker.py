"""Imported by Ray's workers on this machine before they begin to work (`preload_python_modules`); does `pin`."""

from deploy.process.packages import pin

pin()
