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

/// Reads the files that `tls` names. To be called at the start: it reads from disk.
///
/// # Errors
/// A file that cannot be read, or holds nothing of use: which, and why.
pub fn configuration(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(tls.ca_file.as_deref())?);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates(&client.certificate_file)?;
            let key = PrivateKeyDer::from_pem_file(&client.key_file).map_err(|error| in_file(&client.key_file, &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| in_file(&client.certificate_file, &error))?
        }
    };
    Ok(Arc::new(config))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| in_file(file, &error))?;
        }
        return Ok(roots);
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(file).map_err(|error| in_file(file, &error))?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|error| in_file(file, &error))?;
    if all.is_empty() {
        return Err(in_file(file, &"no certificate in it"));
    }
    Ok(all)
}

fn in_file(file: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", file.display())
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
