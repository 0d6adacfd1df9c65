import pytest

from leasehold.api import percent


@pytest.mark.parametrize(("text", "share"), [("66%", 0.66), ("1%", 0.01), ("99.999%", 0.99999), ("33.3%", 0.333)])
def test_reads_a_share(text, share):
    assert percent.share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["", "66", "%", "0%", "0.5%", "100%", "66 %", " 66%", "66%\n", "-1%", "1e1%", "66.%", "٦٦%", "066%"]
)
def test_refuses_what_is_no_share(text):
    with pytest.raises(ValueError, match="is not a percentage from 1% to below 100%"):
        percent.share(text)
