//! `[kafka.security]`: the keys of Kafka's clients, with `_` for `.`.

use super::environment::Environment;
use super::reader::Section;
use super::rules;
use crate::bus::kafka::security::{ClientCertificate, Mechanism, Password, Sasl, Security, Tls};
use crate::bus::kafka::tls;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::de::DeValue;

/// The environment variable that holds the password.
pub(super) const PASSWORD: &str = "MOKAMETRICS_KAFKA_PASSWORD";

/// The longest password file that is read, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// What a `security_protocol` is made of.
#[derive(Clone, Copy)]
struct Protocol {
    tls: bool,
    sasl: bool,
}

const PROTOCOLS: [(&str, Protocol); 4] = [
    ("PLAINTEXT", Protocol { tls: false, sasl: false }),
    ("SSL", Protocol { tls: true, sasl: false }),
    ("SASL_PLAINTEXT", Protocol { tls: false, sasl: true }),
    ("SASL_SSL", Protocol { tls: true, sasl: true }),
];

const MECHANISMS: [(&str, Mechanism); 3] = [
    (Mechanism::Plain.as_str(), Mechanism::Plain),
    (Mechanism::ScramSha256.as_str(), Mechanism::ScramSha256),
    (Mechanism::ScramSha512.as_str(), Mechanism::ScramSha512),
];

const TLS_KEYS: [&str; 3] = [tls::CA_LOCATION, tls::CERTIFICATE_LOCATION, tls::KEY_LOCATION];
const SASL_KEYS: [&str; 3] = ["sasl_mechanism", "sasl_username", "sasl_password_file"];

/// The section. The files that it names are read, so that what is wrong with them is known at the start.
pub(super) fn read(section: &mut Section<'_, '_>, environment: &Environment<'_>) -> Security {
    let protocol = section.read("security_protocol", &rules::word(&PROTOCOLS));
    Security {
        tls: wanted(section, protocol.tls, &TLS_KEYS, "SSL or SASL_SSL").then(|| tls(section)),
        sasl: wanted(section, protocol.sasl, &SASL_KEYS, "SASL_SSL or SASL_PLAINTEXT").then(|| sasl(section, environment)),
    }
}

/// Hands `is_wanted` back. Keys that would be without effect are problems: whoever set them takes the connection for secured.
fn wanted(section: &mut Section<'_, '_>, is_wanted: bool, keys: &[&'static str], protocols: &str) -> bool {
    for key in keys.iter().filter(|_| !is_wanted) {
        if let Some(item) = section.find(key) {
            item.problem(&format!("expected security_protocol {protocols} with it"), section.problems);
        }
    }
    is_wanted
}

fn tls(section: &mut Section<'_, '_>) -> Tls {
    let [ca_file, certificate_file, key_file] = TLS_KEYS.map(|key| section.optional(key, &rules::file()));
    let [_, certificate_key, key_key] = TLS_KEYS;
    for (key, other) in [(certificate_key, key_key), (key_key, certificate_key)] {
        if section.own_child(key).is_none() && section.own_child(other).is_some() {
            section.missing(key, &format!("it beside {other}"));
        }
    }
    let client = certificate_file.zip(key_file);
    let client = client.map(|(certificate_file, key_file)| ClientCertificate { certificate_file, key_file });
    let tls = Tls { ca_file, client };
    if let Err(error) = tls::configuration(&tls)
        && let Some(item) = section.find(error.key)
    {
        item.unexpected(&error.expected, section.problems);
    }
    tls
}

fn sasl(section: &mut Section<'_, '_>, environment: &Environment<'_>) -> Sasl {
    let mechanism = section.read("sasl_mechanism", &rules::word(&MECHANISMS));
    let username = section.read("sasl_username", &rules::name());
    let in_file = section.find("sasl_password_file");
    let password = match in_file {
        _ if environment.is_set(PASSWORD) => environment.read(PASSWORD, &rules::password(), section.problems),
        Some(item) => item.read(&rules::file(), section.problems).and_then(|file| {
            let password = read_password(&file);
            password.map_err(|expected| item.unexpected(&expected, section.problems)).ok()
        }),
        None => {
            section.missing("sasl_password_file", &format!("it, or the variable {PASSWORD}"));
            None
        }
    };
    Sasl { mechanism, username, password: Password(password.unwrap_or_default()) }
}

/// The one line of a file.
fn read_password(path: &Path) -> Result<String, String> {
    let rule = rules::password();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| format!("a file that can be read: {error}"))?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    rule.parse(&DeValue::String(line.into())).ok_or_else(|| format!("a file of {}", rule.expected))
}
