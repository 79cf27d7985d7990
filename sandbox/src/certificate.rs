//! A self-signed certificate for this machine's loopback, made at each start.

use std::{io, net::Ipv4Addr};

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509Builder, X509NameBuilder,
        extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName},
    },
};
use tokio_native_tls::TlsAcceptor;

/// How long the certificate is valid: longer than any sandbox runs.
const VALID_DAYS: u32 = 365;

/// A TLS server's identity, and the certificate that its clients have to trust.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) acceptor: TlsAcceptor,
}

impl Certificate {
    /// For `localhost` and `127.0.0.1`.
    pub(crate) fn for_loopback() -> io::Result<Self> {
        let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
        let pem = self_signed(&key)?.to_pem()?;
        let identity =
            native_tls::Identity::from_pkcs8(&pem, &key.private_key_to_pem_pkcs8()?).map_err(io::Error::other)?;
        let acceptor = native_tls::TlsAcceptor::new(identity).map_err(io::Error::other)?;
        Ok(Self { pem: String::from_utf8(pem).map_err(io::Error::other)?, acceptor: acceptor.into() })
    }
}

fn self_signed(key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "localhost")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?; // Counted from zero: X.509 version 3.
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(VALID_DAYS)?)?;
    // A root of its own, because a client is told to trust it as one.
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    let mut names = SubjectAlternativeName::new();
    names.dns("localhost").ip(&Ipv4Addr::LOCALHOST.to_string());
    let names = names.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
