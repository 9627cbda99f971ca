import hashlib

from boundcheck.seeds import generator_for, seed_for


def test_the_seed_is_the_documented_hash():
    expected = hashlib.sha256(b"init/mnist5k/mlp/2").digest()[:8]
    assert seed_for("init", "mnist5k", "mlp", 2) == int.from_bytes(expected, "big")


def test_purposes_seeds_and_names_differ():
    seeds = {
        seed_for(purpose, data, model, seed)
        for purpose in ("init", "order", "augment")
        for data in ("a", "b")
        for model in ("c", "d")
        for seed in range(3)
    }
    assert len(seeds) == 36


def test_equal_names_give_equal_streams():
    first, second = (generator_for("order", "d", "m", 0).get_state() for _ in range(2))
    assert first.equal(second)
