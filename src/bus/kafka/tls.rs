//! TLS by rustls: its configuration, and a connection's bytes through it.

use super::connection::Connection;
use super::error::Failure;
use super::security::Tls;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, InvalidMessage, RootCertStore};
use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The key of `[kafka.security]` that names the certificates to trust.
pub const CA_LOCATION: &str = "ssl_ca_location";
/// The one that names this client's certificate chain.
pub const CERTIFICATE_LOCATION: &str = "ssl_certificate_location";
/// The one that names the chain's private key.
pub const KEY_LOCATION: &str = "ssl_key_location";

/// What a file of certificates is.
const CERTIFICATES: &str = "a PEM file with certificates";
/// What the file of a private key is.
const PRIVATE_KEY: &str = "a PEM file with a private key that is not encrypted";

/// A file that is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}")]
pub struct FileError {
    /// The key that names it.
    pub key: &'static str,
    /// What the file should be, and why it is not.
    pub expected: String,
}

impl FileError {
    fn new(key: &'static str, expected: &str, error: &dyn std::fmt::Display) -> Self {
        Self { key, expected: format!("{expected}: {error}") }
    }
}

/// Reads the files that `tls` names. To be called at the start: it reads from disk.
///
/// # Errors
/// The first file that cannot be read, or holds nothing of use.
pub fn configuration(tls: &Tls) -> Result<Arc<ClientConfig>, FileError> {
    let builder = ClientConfig::builder().with_root_certificates(roots(tls.ca_file.as_deref())?);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates(CERTIFICATE_LOCATION, &client.certificate_file)?;
            let key = PrivateKeyDer::from_pem_file(&client.key_file)
                .map_err(|error| FileError::new(KEY_LOCATION, PRIVATE_KEY, &error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| FileError::new(KEY_LOCATION, "the private key of ssl_certificate_location", &error))?
        }
    };
    Ok(Arc::new(config))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
        for certificate in certificates(CA_LOCATION, file)? {
            roots.add(certificate).map_err(|error| FileError::new(CA_LOCATION, CERTIFICATES, &error))?;
        }
        return Ok(roots);
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| FileError::new(key, CERTIFICATES, &error))?;
    if all.is_empty() {
        return Err(FileError::new(key, CERTIFICATES, &"there is none in it"));
    }
    Ok(all)
}

/// What failed, in words that say where to look.
fn explained(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the broker's certificate is signed by nobody who is trusted here; see ssl_ca_location".into()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the broker's certificate has expired".into()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the listener does not speak TLS; see security.protocol".into()
        }
        Error::AlertReceived(alert) => {
            format!("the broker refused with {alert:?}; if it asks for certificates, see ssl_certificate_location")
        }
        other => other.to_string(),
    }
}

/// The TLS side of one socket.
#[derive(Debug)]
pub struct TlsStream {
    tls: Box<ClientConnection>,
}

impl TlsStream {
    /// A handshake with a broker that must prove to be `host`.
    ///
    /// # Errors
    /// `host` cannot be in a certificate.
    pub fn new(config: &Arc<ClientConfig>, host: &str) -> Result<Self, Failure> {
        let tls = |error: &dyn std::fmt::Display| Failure::Tls(error.to_string());
        let name = ServerName::try_from(host.to_string()).map_err(|error| tls(&error))?;
        let connection = ClientConnection::new(config.clone(), name).map_err(|error| tls(&error))?;
        Ok(Self { tls: Box::new(connection) })
    }

    /// Reads once from the socket and hands what it says to the connection. 0: the broker closed it.
    ///
    /// # Errors
    /// The socket's errors, `WouldBlock` among them; [`Failure`] of TLS or of the connection in the inner result.
    pub fn read(
        &mut self,
        socket: &mut impl Read,
        chunk: &mut [u8],
        connection: &mut Connection,
        now: Instant,
    ) -> io::Result<Result<usize, Failure>> {
        let read = self.tls.read_tls(socket)?;
        if let Err(error) = self.tls.process_new_packets() {
            return Ok(Err(Failure::Tls(explained(&error))));
        }
        loop {
            match self.tls.reader().read(chunk) {
                Ok(0) => return Ok(Ok(0)),
                // A broker hangs up without TLS's farewell; what was cut off by it is seen by the length of the frame.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Ok(0)),
                Ok(bytes) => {
                    if let Err(failure) = connection.received(&chunk[..bytes], now) {
                        return Ok(Err(failure));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Ok(read)),
                Err(error) => return Ok(Err(Failure::Tls(error.to_string()))),
            }
        }
    }

    /// Encrypts some of what is to be sent and writes once to the socket. 0: there is nothing to write.
    ///
    /// # Errors
    /// The socket's errors, `WouldBlock` among them.
    pub fn write(&mut self, socket: &mut impl Write, connection: &mut Connection) -> io::Result<usize> {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = connection.outgoing(&mut slices);
            // rustls takes no more than its buffer of 64 KiB holds.
            let taken = self.tls.writer().write_vectored(&slices[..filled])?;
            if taken == 0 {
                break;
            }
            connection.sent(taken);
        }
        if self.tls.wants_write() { self.tls.write_tls(socket) } else { Ok(0) }
    }

    /// Sends what is left, an alert, as the last words.
    pub fn close(&mut self, socket: &mut impl Write) {
        self.tls.send_close_notify();
        let _ = self.tls.write_tls(socket);
    }
}
