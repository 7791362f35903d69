"""The devices that torch computes on here: any other is refused."""

import pytest

from mtcp.core.errors import UserError
from mtcp.store.devices import existing_device


@pytest.mark.parametrize("device", ["mps", "meta", "cuda:x", "tpu"])
def test_a_device_that_nothing_computes_on_is_refused(device: str) -> None:
    with pytest.raises(UserError, match="is no device that mtcp computes on: use cpu, cuda or cuda:N"):
        existing_device(device)


def test_one_gpu_is_no_plural(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match="torch sees 1 GPU here"):
        existing_device("cuda:1")
