"""Workers for the tests of isolation, once for each confinement that works here, and what an attack may aim at."""

import os
import signal
import socket
import threading
import types

import pytest
from isolated import CONFINEMENTS, LIMITS

from refbp.oracle.isolation import IsolationError, Worker


@pytest.fixture(scope="session")
def why_not(tmp_path_factory):
    """For each confinement why it does not work here, or an empty string."""
    submission = tmp_path_factory.mktemp("submission") / "empty.py"
    submission.write_text("")
    reasons = {}
    for confine in CONFINEMENTS:
        try:
            with Worker(submission, confine=confine) as worker:
                assert worker.protections.confinement == confine
            reasons[confine] = ""
        except IsolationError as error:
            reasons[confine] = str(error)
    return reasons


@pytest.fixture(params=CONFINEMENTS)
def confine(request, why_not):
    """Each confinement that works here."""
    reason = why_not[request.param]
    if reason and request.param == "bubblewrap" and os.environ.get("REFBP_REQUIRE_BWRAP") == "1":
        pytest.fail(f"REFBP_REQUIRE_BWRAP is 1, and {reason}")
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def submit(tmp_path):
    """A worker for a source text; closed when the test is over."""
    workers = []

    def submit(source, name="submission.py", **options):
        file = tmp_path / name
        file.write_text(source)
        workers.append(Worker(file, **{"limits": LIMITS, **options}))
        return workers[-1]

    yield submit
    for worker in workers:
        worker.close()


@pytest.fixture
def scene(tmp_path):
    """What an attack may aim at: a file of results, a folder, a server, and this process."""

    folder = tmp_path / "results"
    victim = folder / "results.json"
    folder.mkdir()
    folder.chmod(0o777)
    victim.write_text('{"score": 0}')
    victim.chmod(0o666)
    connections, signals = [], []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: signals.append(number))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def listen():
            try:
                while True:
                    try:
                        connections.append(server.accept()[1])
                    except TimeoutError:
                        continue
            except OSError:
                return

        listener = threading.Thread(target=listen)
        listener.start()
        port = server.getsockname()[1]
        yield types.SimpleNamespace(folder=folder, victim=victim, port=port, connections=connections, signals=signals)
    listener.join()
    signal.signal(signal.SIGUSR2, before)
