"""CMS: detached signatures with a signing time (RFC 5652), made and verified.

`cryptography` makes such signatures too, but always with the present instant, so that the same file could never be
made twice; and it verifies none.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from rxdesk.kit import der

_DATA = der.write_identifier("1.2.840.113549.1.7.1")
_SIGNED_DATA = der.write_identifier("1.2.840.113549.1.7.2")
_CONTENT_TYPE = der.write_identifier("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der.write_identifier("1.2.840.113549.1.9.4")
_SIGNING_TIME = der.write_identifier("1.2.840.113549.1.9.5")
_SHA256 = der.write(der.SEQUENCE, der.write_identifier("2.16.840.1.101.3.4.2.1"), der.NULL)
_RSA = der.write(der.SEQUENCE, der.write_identifier("1.2.840.113549.1.1.1"), der.NULL)
_VERSION = der.write_integer(1)


class SignatureError(ValueError):
    """A signature does not hold; the message says what is wrong with it."""


class DetachedSigner:
    """Signs with one RSA key; what every signature has in common is made once.

    `others` are certificates that go along, such as the one that issued the signer's.
    """

    def __init__(
        self, certificate: x509.Certificate, key: rsa.RSAPrivateKey, others: Sequence[x509.Certificate] = ()
    ) -> None:
        self._key = key
        self._signer = der.write(
            der.SEQUENCE, certificate.issuer.public_bytes(), der.write_integer(certificate.serial_number)
        )
        self._certificates = sorted(one.public_bytes(Encoding.DER) for one in (certificate, *others))

    def sign(self, content: bytes, moment: datetime) -> bytes:
        """Sign at an instant before 2050: DER of a SignedData without the content. The same each time."""
        attributes = sorted(
            (
                _attribute(_CONTENT_TYPE, _DATA),
                _attribute(_SIGNING_TIME, der.write_utc_time(moment)),
                _attribute(_MESSAGE_DIGEST, der.write(der.OCTET_STRING, hashlib.sha256(content).digest())),
            )
        )
        value = self._key.sign(der.write(der.SET, *attributes), padding.PKCS1v15(), SHA256())
        return _composed(self._certificates, self._signer, attributes, value)


def _composed(
    certificates: Iterable[bytes], signer: bytes, attributes: Iterable[bytes], value: bytes
) -> bytes:
    """Put a signature together: the one form that is made, and that is taken."""
    signer_info = der.write(
        der.SEQUENCE,
        _VERSION,
        signer,
        _SHA256,
        der.write(der.CONTEXT_0, *attributes),
        _RSA,
        der.write(der.OCTET_STRING, value),
    )
    signed = der.write(
        der.SEQUENCE,
        _VERSION,
        der.write(der.SET, _SHA256),
        der.write(der.SEQUENCE, _DATA),
        der.write(der.CONTEXT_0, *certificates),
        der.write(der.SET, signer_info),
    )
    return der.write(der.SEQUENCE, _SIGNED_DATA, der.write(der.CONTEXT_0, signed))


def _attribute(kind: bytes, value: bytes) -> bytes:
    return der.write(der.SEQUENCE, kind, der.write(der.SET, value))


# What reading bytes that are no certificate, no signature or no DER may raise, here and there in the libraries.
_UNREADABLE = (
    ValueError,
    KeyError,
    IndexError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
)


def verify_detached(
    content: bytes, signature: bytes, root: x509.Certificate
) -> tuple[x509.Certificate, datetime]:
    """Verify a signature of the form made above: give the signer's certificate and the signing time.

    Each certificate must have been valid at the signing time and be issued by the next, up to `root`. Revocation is
    not looked at. Raises SignatureError.
    """
    try:
        return _verify(content, signature, root)
    except SignatureError:
        raise
    except _UNREADABLE as error:
        raise SignatureError("the signature is not of the expected form") from error


def _verify(content: bytes, signature: bytes, root: x509.Certificate) -> tuple[x509.Certificate, datetime]:
    _, wrapped = der.read(signature).inside()
    _, _, _, encoded, signer_infos = wrapped.inside()[0].inside()
    _, signer, _, signed, _, value = signer_infos.inside()[0].inside()
    attributes = [attribute.encoded for attribute in signed.inside()]
    certificates = [one.encoded for one in encoded.inside()]
    if _composed(certificates, signer.encoded, attributes, value.content) != signature:
        raise SignatureError("the signature is not of the expected form")
    said = {name.encoded: values.content for name, values in (one.inside() for one in signed.inside())}
    if said[_CONTENT_TYPE] != _DATA:
        raise SignatureError("the signature is not one of data")
    digest = der.read(said[_MESSAGE_DIGEST]).content
    if not hmac.compare_digest(digest, hashlib.sha256(content).digest()):
        raise SignatureError("the content is not the one that was signed")
    chain = [x509.load_der_x509_certificate(one) for one in certificates]
    leaf = next((one for one in chain if _identity(one) == signer.encoded), None)
    if leaf is None:
        raise SignatureError("the signer's certificate is missing")
    key = leaf.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise SignatureError("the signer's key is not RSA")
    try:
        key.verify(value.content, der.write(der.SET, *attributes), padding.PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise SignatureError("the signature was not made with the certificate's key") from error
    moment = _utc_time(der.read(said[_SIGNING_TIME]).content)
    _walk_up(leaf, chain, root, moment)
    return leaf, moment


def _identity(certificate: x509.Certificate) -> bytes:
    return der.write(
        der.SEQUENCE, certificate.issuer.public_bytes(), der.write_integer(certificate.serial_number)
    )


def _utc_time(content: bytes) -> datetime:
    return datetime.strptime(content.decode("ascii"), "%y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _walk_up(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], root: x509.Certificate, moment: datetime
) -> None:
    certificate = leaf
    for _ in range(len(others) + 1):
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise SignatureError("a certificate was not valid when the signature was made")
        if certificate == root:
            return
        certificate = next((one for one in (*others, root) if _issued(certificate, one)), certificate)
    raise SignatureError("the signer's certificate does not lead to the root")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether one certificate was issued by another that may issue any."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return constraints.ca
