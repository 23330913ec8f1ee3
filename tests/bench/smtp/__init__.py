"""``./dev bench smtp``: our SMTP connector beside its peers, in one run, with the same message and the same sink.

=============  =====================================================================================================
module         what
=============  =====================================================================================================
``suite``      what is run, in which order, and what ``--quick`` leaves out
``sending``    rounds of messages through every peer in turn: rates and CPU; also cold ones, and composed ones
``memory``     what an idle connection keeps, and what a 25 MB attachment takes; ``probe`` is the process it is seen in
``computing``  composition and DKIM, nothing sent; ``cpu_probe`` is the process that works
``broadcast``  ``./dev bench broadcast``: a million recipients through the host, their memory, each sent to once
``workers``    ``./dev bench workers``: one broadcast, shared by two workers; ``worker_probe`` is what they run in
``promises``   what a broadcast that was sent must have kept
``peers``      who is measured; ``client`` and ``nodemailer.cjs`` are the processes that send for them
``ours``       which modes our connector offers
``sinks``      who is sent to: ``native/sink.c``, or ``python_sink`` for TLS and without a compiler; real servers
``network``    no latency, a slow wire between two network namespaces (``native/link.c``), or a delaying ``proxy``
``processes``  children that are pinned to a core and end with the run, whatever ends it
``used``       CPU time of all that was started, by program
``goals``      what is aimed at, and what was reached
=============  =====================================================================================================

Everything stays on this machine: on loopback, or between two namespaces that end with the processes inside them.
"""
