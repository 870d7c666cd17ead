from relay.door.nonces import Nonces


def test_a_nonce_is_used_once_for_as_long_as_it_could_be_repeated():
    nonces = Nonces(240.0)
    assert nonces.burn("a", 1000.0)
    for now in (1000.0, 1100.0, 1240.0, 1241.0):
        assert not nonces.burn("a", now)


def test_old_nonces_are_forgotten():
    nonces = Nonces(240.0)
    for i in range(1000):
        assert nonces.burn(f"{i}", i * 10.0)
    assert len(nonces._new) + len(nonces._old) <= 50


def test_after_a_long_silence_nothing_is_kept():
    nonces = Nonces(240.0)
    nonces.burn("a", 0.0)
    nonces.burn("b", 10_000.0)
    assert nonces._old == set()
    assert nonces.burn("a", 10_001.0)
