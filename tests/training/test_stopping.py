"""A training is asked to stop by a signal, and by the death of the Snakemake that started it."""

import os
import signal

from boundcheck.training import stopping


def test_a_signal_asks_to_stop_and_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with stopping.stop_requests() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert should_stop()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_snakemake_that_is_gone_asks_to_stop(monkeypatch):
    monkeypatch.setenv(stopping.STARTER, "")
    stopping.stop_jobs_with_process(os.getppid())
    with stopping.stop_requests() as should_stop:
        assert not should_stop()
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert should_stop()


def test_any_other_parent_may_go(monkeypatch):
    """A training started by hand outlives its terminal."""
    monkeypatch.setenv(stopping.STARTER, str(os.getpid()))
    with stopping.stop_requests() as should_stop:
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert not should_stop()
