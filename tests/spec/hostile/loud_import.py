"""A plug-in that does, when it is imported, all that none should. Nothing imports it but the kit's probe."""

import logging
import os
import socket
import threading

import h11  # noqa: F401  # stands for a client library

import genie_connect_contrib.sandbox as honest

connector_info = honest.connector_info
logging.basicConfig(level=logging.DEBUG)
os.environ["LOUD_IMPORT"] = "1"
_listening = socket.socket()
_listening.bind(("127.0.0.1", 0))
_thread = threading.Thread(target=threading.Event().wait, daemon=True)
_thread.start()
print("loud: ready")
