"""The same service on Ray Serve."""

import json
import secrets
import time

import pytest

from neid_tf import pictures
from tests.pictures.picture_files import noise
from tests.service.serving import Server
from tests.service.test_serve import PNG, pixels

pytest.importorskip("ray.serve", reason="needs the extra 'ray'")


def test_the_same_application_on_ray():
    # The token is this cluster's own.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    quiet = {"PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0"}
    server = Server("--engine=ray", "--ray_workers=1", **token, **quiet)
    try:
        status, headers, made = server.ask("/v1/enhance?scale=2", PNG)
        assert (status, headers["content-type"]) == (200, "image/png")
        assert pixels(made).shape == (48, 64, 3)
        status, _, told = server.ask("/v1/enhance?scale=3", PNG)
        assert (status, "scale is one of 1, 2" in json.loads(told)["error"]) == (422, True)
        assert server.ask("/readyz")[0] == 200
        large = pictures.encode("a.png", pictures.Picture(noise(900, 1200, 3)))
        begun = [server.begin(large) for _ in range(3)]
        time.sleep(0.5)  # They have come to the replica.
    finally:
        code = server.stop()
    assert [one.answer()[0] for one in begun] == [200] * 3
    assert code == 0
