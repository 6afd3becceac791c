import pytest

from rxdesk.kit.headers import check_custom_header


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer abc.def"),
        ("X-Token", "x"),
        ("x!#$%&'*+.^_`|~-9", "~"),
        ("A" * 100, "v" * 1024),
        ("Hostname", "a  b"),
        ("X-Content-Type", "c"),
        ("Cookie", "a=b; c=d"),
    ],
)
def test_accepted(name: str, value: str) -> None:
    assert check_custom_header(name, value) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        " X",
        "X Y",
        "X:",
        "X\r\nY",
        "X\n",
        "X\x00",
        "Ü",
        "X(Y)",
        "A" * 101,
        "Host",
        "HOST",
        "Content-Type",
        "content-length",
        "Content-",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "Proxy-Connection",
        "webhook-id",
        "Webhook-Signature",
        "X-Webhook-Test",
        "x-webhook-anything",
        "X_Webhook_Signature",
        "Content_Length",
    ],
)
def test_refused_names(name: str) -> None:
    reason = check_custom_header(name, "value")
    assert reason is not None
    assert reason.startswith("header_key ")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        " a",
        "a ",
        "a\r\nX: y",
        "a\nb",
        "a\rb",
        "a\x00b",
        "a\tb",
        "a\x1bb",
        "a\x7f",
        "ü",
        "\u2028",
        "v" * 1025,
    ],
)
def test_refused_values(value: str) -> None:
    reason = check_custom_header("X-Token", value)
    assert reason is not None
    assert reason.startswith("header_value ")
