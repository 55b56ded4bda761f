"""PEM files that are taken, and what is said of those that are not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.tls import BadPem, Pair, client_context, server_context
from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def joined(*files: Path) -> Path:
    both = files[0].with_name("both.pem")
    both.write_bytes(b"".join(file.read_bytes() for file in files))
    return both


def test_key_may_stand_in_the_file_of_the_certificate(authority: Authority):
    server_context(Pair(joined(*authority.issue("a"))))


def test_missing_key_is_reported(authority: Authority):
    cert, _ = authority.issue("a")

    with pytest.raises(BadPem, match=r"a\.crt holds no private key, and no file with the key is named") as caught:
        server_context(Pair(cert))

    assert caught.value.part == "cert"


def test_key_with_a_passphrase_is_refused_and_not_asked_for(authority: Authority):
    cert, key = authority.issue("a", passphrase=b"hush")

    with pytest.raises(BadPem, match=r"a\.key holds an encrypted key: write it without a passphrase") as caught:
        server_context(Pair(cert, key))

    assert caught.value.part == "key"


def test_key_of_another_certificate_is_refused(authority: Authority):
    with pytest.raises(BadPem, match=r"b\.key is not the key of the certificate"):
        server_context(Pair(authority.issue("a")[0], authority.issue("b")[1]))


@pytest.mark.parametrize("which", [0, 1], ids=["certificate", "key"])
def test_damaged_file_is_refused(authority: Authority, which: int):
    pair = authority.issue("a")
    text = pair[which].read_text()
    pair[which].write_text(text[:60] + text[-40:])

    with pytest.raises(BadPem, match=r"a\.crt cannot be used: it or its key is damaged"):
        server_context(Pair(*pair))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_text("no PEM"), "holds no certificate in PEM form"),
        (lambda file: file.write_text(file.read_text()[:80] + "=\n-----END CERTIFICATE-----"), "cannot be used: "),
        (lambda file: file.unlink(), "cannot be read: no such file or directory"),
        (lambda file: (file.unlink(), file.mkdir()), "cannot be read: is a directory"),
    ],
    ids=["words", "damaged", "gone", "folder"],
)
def test_unusable_ca_is_reported(authority: Authority, spoil: Callable[[Path], object], said: str):
    spoil(authority.file)

    with pytest.raises(BadPem, match=said) as caught:
        client_context(authority.file)

    assert caught.value.part == "ca"


def test_key_in_the_place_of_its_path_is_not_shown(authority: Authority):
    cert, key = authority.issue("a")
    text = key.read_text()

    with pytest.raises(BadPem) as caught:
        server_context(Pair(cert, Path(text)))

    assert str(caught.value).startswith("the value cannot be read: ")


def test_own_ca_replaces_the_system_trust(authority: Authority):
    trusted = client_context(authority.file).get_ca_certs()

    assert [dict(pair[0] for pair in each["subject"])["commonName"] for each in trusted] == ["a CA of tests"]
