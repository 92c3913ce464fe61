//! `security.protocol` and what belongs to it, as plain data.

use std::fmt;
use std::path::PathBuf;

/// How connections are secured: neither (`PLAINTEXT`), `tls` (`SSL`), `sasl` (`SASL_PLAINTEXT`) or both (`SASL_SSL`).
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// TLS, if any.
    pub tls: Option<Tls>,
    /// SASL, if any.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// Whether the password goes over the network as it is.
    #[must_use]
    pub fn shows_password(&self) -> bool {
        self.tls.is_none() && self.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain)
    }
}

/// Settings of TLS. The broker's certificate and host name are always verified.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// `ssl.truststore.location`: PEM file of the certificates to trust; without one the system's, or Mozilla's where the
    /// system has none.
    pub ca_file: Option<PathBuf>,
    /// `ssl.keystore.location`: PEM files of the client's certificate chain and its private key.
    pub client: Option<ClientCertificate>,
}

/// What a client shows to prove who it is.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// PEM file of the certificate chain, the client's own first.
    pub certificate_file: PathBuf,
    /// PEM file of the private key, unencrypted.
    pub key_file: PathBuf,
}

/// User name and password, and how they are proved.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// `sasl.mechanism`
    pub mechanism: Mechanism,
    /// `username`
    pub username: String,
    /// `password`
    pub password: Password,
}

/// `sasl.mechanism`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: the password itself is sent; only for TLS.
    Plain,
    /// RFC 5802 over SHA-256.
    ScramSha256,
    /// RFC 5802 over SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// The name in Kafka's configuration and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
