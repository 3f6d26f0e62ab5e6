"""The application of the framework in FRAMEWORK, for a server that imports `app`."""

import os
import signal

from uvicorn_worker import UvicornWorker

from support.framework_apps import GRACE, MAKERS

app = MAKERS[os.environ["FRAMEWORK"]]()


class Worker(UvicornWorker):
    """gunicorn's, with an end for requests in progress."""

    CONFIG_KWARGS = {"timeout_graceful_shutdown": GRACE}  # noqa: RUF012 - as its base has

    def handle_exit(self, sig: int, frame: object) -> None:
        """SIGQUIT ends it, too."""
        signal.raise_signal(signal.SIGTERM)
