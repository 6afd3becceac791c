import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from rxdesk.kit.addresses import AllowList
from rxdesk.kit.targets import (
    Target,
    TargetForbidden,
    TargetInvalid,
    TargetRefused,
    judge_target,
    parse_target,
    resolve_target,
)

OPEN = AllowList.parse("127.0.0.0/8:3000, http+127.0.0.0/8:8080, http+[::1/128]:8080")


class Names:
    """A resolver with a table; what it was asked is kept."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append((name, port))
        if name not in self.names:
            raise OSError("unknown")
        return self.names[name]


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A/b?C=d", "https://example.com/A/b?C=d"),
        ("https://example.com.:8443/", "https://example.com:8443/"),
        ("https://example.com?x=1&y=%2F", "https://example.com/?x=1&y=%2F"),
        (
            "https://example.com/a//../b;c/@d:e?u=https://10.0.0.1/",
            "https://example.com/a//../b;c/@d:e?u=https://10.0.0.1/",
        ),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://日本。jp/", "https://xn--wgv71a.jp/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://my_service.internal/", "https://my_service.internal/"),
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        ("https://[2606:4700:4700:0::1111]:8443/x", "https://[2606:4700:4700::1111]:8443/x"),
        ("https://127.0.0.1:3000/", "https://127.0.0.1:3000/"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("http://localhost:8080/", "http://localhost:8080/"),
        ("https://a.b.localhost:3000/", "https://a.b.localhost:3000/"),
        ("http://receiver.example/", "http://receiver.example/"),
    ],
)
def test_a_url_has_one_normal_spelling(url: str, normal: str) -> None:
    target = parse_target(url, OPEN)
    assert target.url == normal
    assert parse_target(normal, OPEN) == target


def test_a_url_is_taken_apart() -> None:
    assert parse_target("https://Example.com:8443/a?b") == Target("https", "example.com", 8443, "/a?b", None)


def test_the_longest_url() -> None:
    url = "https://example.com/".ljust(2048, "a")
    assert parse_target(url).url == url
    with pytest.raises(TargetInvalid):
        parse_target(url + "a")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "https:",
        "https:/example.com",
        "https:///example.com",
        "https://",
        "https://?x",
        "https://:443/",
        "https://./",
        "https://../",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript://example.com/%0aalert(1)",
        "gopher://example.com/",
        "https+unix://example.com/",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com/#fragment",
        "https://example.com/#",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:99999/",
        "https://example.com:/",
        "https://example.com:-1/",
        "https://example.com:+443/",
        "https://example.com:\uff14\uff14\uff13/",
        "https://example.com:443:443/",
        " https://example.com/",
        "https://example.com/ ",
        "https://example.com/a b",
        "https://exam\tple.com/",
        "https://example.com/\r\nHost: x",
        "https://example.com/\x00",
        "https://example.com/\x7f",
        "https://example.com/\x85",
        "https://example.com/\u2028",
        "https://example.com/\u200b",
        "https://example.com/\ud800",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/\\x",
        "https://example.com/ü",
        "https://exa%6dple.com/",
        "https://%31%32%37.0.0.1/",
        "https://example..com/",
        "https://.example.com/",
        "https://example.com../",
        "https://-example.com/",
        "https://example-.com/",
        "https://exam!ple.com/",
        "https://*.example.com/",
        "https://" + "a" * 64 + ".example/",
        "https://" + ".".join(["a" * 60] * 5) + "/",
        "https://xn--a\u2488.com/",
        "https://[example.com]/",
        "https://[127.0.0.1]/",
        "https://[::1/",
        "https://::1/",
        "https://[::1]x/",
        "https://[v1.x]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://1.1.1.256/",
        "https://1.1..1/",
        "https://4294967296/",
        "https://08.8.8.8/",
        "https://0xg.1.1.1/",
        "https://example.1/",
        "https://example.0x1/",
        "https://16843009/",
        "https://01.01.01.01/",
        "https://0x1.0x1.0x1.0x1/",
        "https://1.1/",
        "https://1.1.1.1./",
        "https://\uff11.1.1.1/",
    ],
)
def test_what_is_no_url_for_us_is_invalid(url: str) -> None:
    with pytest.raises(TargetInvalid) as refused:
        parse_target(url)
    assert refused.value.reason
    # What a caller sends does not come back in what may be logged.
    assert url == "" or url not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:3000/", "http://1.1.1.1/", "http://1.1.1.1:8080/"])
def test_plain_http_where_it_is_not_opened_is_invalid(url: str) -> None:
    with pytest.raises(TargetInvalid) as refused:
        parse_target(url, OPEN)
    assert refused.value.reason == "scheme"


async def test_a_name_is_judged_by_all_its_addresses() -> None:
    names = Names(
        good_example=["1.1.1.1", "2606:4700::1"],
        mixed_example=["1.1.1.1", "10.0.0.1"],
        last_example=["2606:4700::1", "::ffff:127.0.0.1"],
        inner_example=["127.0.0.1"],
        scoped_example=["fe80::1%2"],
    )
    assert (await judge_target("https://good.example/", AllowList(), names)).host == "good.example"
    for host, reason in [
        ("mixed", "private"),
        ("last", "embedded_ipv4"),
        ("inner", "loopback"),
        ("scoped", "scoped"),
    ]:
        with pytest.raises(TargetForbidden) as refused:
            await judge_target(f"https://{host}.example/", AllowList(), names)
        assert refused.value.reason == reason
    assert (await judge_target("https://inner.example:3000/", OPEN, names)).port == 3000
    assert (await judge_target("http://inner.example:8080/", OPEN, names)).port == 8080


async def test_plain_http_by_name_must_lead_to_what_is_opened() -> None:
    names = Names(good_example=["1.1.1.1"], both_example=["1.1.1.1", "10.0.0.1"])
    for host in ("good.example", "unknown.example"):
        with pytest.raises(TargetInvalid):
            await judge_target(f"http://{host}/", OPEN, names)
    with pytest.raises(TargetForbidden):
        await judge_target("http://both.example/", OPEN, names)


async def test_a_name_that_does_not_resolve_is_accepted() -> None:
    async def silent(name: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def empty(name: str, port: int) -> list[str]:
        return []

    for resolver, patience in ((Names(), 2.0), (empty, 2.0), (silent, 0.01)):
        target = await judge_target("https://later.example/", AllowList(), resolver, patience=patience)
        assert target.host == "later.example"


async def test_literals_and_localhost_are_never_asked_for() -> None:
    names = Names(localhost=["1.1.1.1"])
    for url in (
        "https://1.1.1.1/",
        "https://[2606:4700::1]/",
        "https://localhost:3000/",
        "http://x.localhost:8080/",
    ):
        await judge_target(url, OPEN, names)
    for url in ("https://localhost/", "https://LOCALHOST./", "https://x.localhost/", "https://ⓛocalhost/"):
        with pytest.raises(TargetForbidden):
            await judge_target(url, OPEN, names)
    assert names.asked == []


async def test_localhost_is_what_is_opened_of_it() -> None:
    names = Names()
    https = await resolve_target(parse_target("https://localhost:3000/", OPEN), OPEN, names)
    http = await resolve_target(parse_target("http://localhost:8080/", OPEN), OPEN, names)
    assert [str(one) for one in https] == ["127.0.0.1"]
    assert [str(one) for one in http] == ["127.0.0.1", "::1"]


async def test_addresses_keep_their_order_and_come_once() -> None:
    names = Names(x_example=["2606:4700::1", "1.1.1.1", "2606:4700::1"])
    found = await resolve_target(parse_target("https://x.example:8443/"), AllowList(), names)
    assert [str(one) for one in found] == ["2606:4700::1", "1.1.1.1"]
    assert names.asked == [("x.example", 8443)]


def test_both_verdicts_are_refusals() -> None:
    assert issubclass(TargetInvalid, TargetRefused)
    assert issubclass(TargetForbidden, TargetRefused)


PIECES = """
https http :// : / // ? # @ [ ] % %2F \\ . .. - _ 0x7f 0 1 127.0.0.1 ::1 ::ffff:8.8.8.8 1.1.1.1 2606:4700::1
localhost example com 443 65535 \u00fc \u3002 \uff11 \u00ad \u200d \u2488 \ud800 \0 xn-- = & ;
"""
WORDS = st.sampled_from([*PIECES.split(), " ", "\t", "\r\n", "a" * 64])


@given(st.lists(WORDS, max_size=12).map("".join), st.booleans())
@example("example.com:443/a/../b?c#", True)  # noqa: FBT003
@example("1.1.1.1?@localhost", True)  # noqa: FBT003
def test_whatever_is_let_through_means_the_same_to_the_client(text: str, absolute: bool) -> None:  # noqa: FBT001
    try:
        target = parse_target(f"https://{text}" if absolute else text, OPEN)
    except TargetRefused:
        return
    assert parse_target(target.url, OPEN) == target
    sent = URL(target.url, encoded=True)
    assert (sent.scheme, sent.raw_host, sent.port) == (target.scheme, target.host, target.port)
    assert (sent.user, sent.password, sent.raw_fragment) == (None, None, "")
    assert sent.raw_path_qs == target.path.removesuffix("?")
    assert target.host.isascii()
