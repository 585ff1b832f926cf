"""Imported by Ray's workers on this machine before they begin to work (`preload_python_modules`).

They import what the driver imports, and end with the raylet that started them, as that ends with the driver: Ray's own
workers notice it themselves, but not one that is stopped. For nobody else to import.
"""

import signal

from deploy.process.child import end_with_parent
from deploy.process.packages import pin

pin()
end_with_parent(signal.SIGKILL)
