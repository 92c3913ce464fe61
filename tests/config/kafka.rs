//! `[kafka]` and `[kafka.security]`: who speaks to the broker, and how they prove who they are.

use crate::problems::assert_problems;
use crate::{load, load_with};
use mokasim::bus::kafka::security::{Mechanism, Security};
use mokasim::config::{KafkaClient, Overrides};
use std::path::Path;
use std::time::Duration;

const SASL: &str =
    "[kafka.security]\nsecurity_protocol = 'SASL_PLAINTEXT'\nsasl_mechanism = 'SCRAM-SHA-512'\nsasl_username = 'moka'\n";

/// The security of `text` where the environment has a password.
#[expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
fn security(text: &str) -> Security {
    load_with(text, &[("MOKAMETRICS_KAFKA_PASSWORD", "hunter2")], &Overrides::default()).unwrap().kafka.security
}

/// As [`assert_problems`], of a file that may be named `{dir}` in it.
#[track_caller]
fn assert_file_problems(dir: &Path, text: &str, expected: &[&str]) {
    let dir = dir.display().to_string();
    let expected: Vec<_> = expected.iter().map(|line| line.replace("{dir}", &dir)).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_problems(&text.replace("{dir}", &dir), &expected);
}

#[test]
fn the_default_speaks_plainly_to_whatever_broker_there_is() {
    let kafka = load("").unwrap().kafka;
    assert_eq!(kafka.client, KafkaClient::Auto);
    assert_eq!((kafka.group_instance_id, kafka.session_timeout), (None, Duration::from_secs(45)));
    assert!(kafka.security.tls.is_none() && kafka.security.sasl.is_none());
}

#[test]
fn a_static_member_has_a_name_of_its_own() {
    let kafka = load("[kafka]\ngroup_instance_id = 'edge-1'\nsession_timeout_ms = 60000").unwrap().kafka;
    assert_eq!(kafka.group_instance_id.as_deref(), Some("edge-1"));
    assert_eq!(kafka.session_timeout, Duration::from_secs(60));
    assert_problems(
        "[kafka]\nsession_timeout_ms = 1000",
        &["config.toml:2: kafka.session_timeout_ms = 1000: expected a whole number from 6000 to 1800000"],
    );
}

#[test]
fn protocols_and_mechanisms() {
    for (protocol, tls, sasl) in
        [("PLAINTEXT", false, false), ("SSL", true, false), ("SASL_PLAINTEXT", false, true), ("SASL_SSL", true, true)]
    {
        let rest = if sasl { "sasl_mechanism = 'PLAIN'\nsasl_username = 'moka'" } else { "" };
        let security = security(&format!("[kafka.security]\nsecurity_protocol = '{protocol}'\n{rest}"));
        assert_eq!((security.tls.is_some(), security.sasl.is_some()), (tls, sasl), "{protocol}");
    }
    for mechanism in Mechanism::ALL {
        let security = security(&SASL.replace("SCRAM-SHA-512", mechanism.as_str()));
        assert_eq!(security.sasl.unwrap().mechanism, mechanism);
    }
    assert_problems(
        "[kafka.security]\nsecurity_protocol = 'TLS'",
        &[
            "config.toml:2: kafka.security.security_protocol = 'TLS': expected one of \"PLAINTEXT\", \"SSL\", \"SASL_PLAINTEXT\", \"SASL_SSL\"",
        ],
    );
    assert_problems(
        "[kafka.security]\nsecurity_protocol = 'SASL_SSL'",
        &[
            "config.toml:1: kafka.security: sasl_mechanism is missing: expected one of \"PLAIN\", \"SCRAM-SHA-256\", \"SCRAM-SHA-512\"",
            "config.toml:1: kafka.security: sasl_username is missing: expected 1 to 100 characters, none of them a control character",
            "config.toml:1: kafka.security: sasl_password_file is missing: expected it, or the variable MOKAMETRICS_KAFKA_PASSWORD",
        ],
    );
}

#[test]
fn the_password_comes_from_the_environment_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let text = format!("{SASL}sasl_password_file = '{}'", path.display());
    for content in ["hunter2", "hunter2\n", "hunter2\r\n"] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(load(&text).unwrap().kafka.security.sasl.unwrap().password.0, "hunter2");
    }
    std::fs::write(&path, " 'pass word' ").unwrap();
    assert_eq!(load(&text).unwrap().kafka.security.sasl.unwrap().password.0, " 'pass word' ", "taken as it is");
    assert_eq!(security(&text).sasl.unwrap().password.0, "hunter2", "the environment comes first");

    let place = format!("config.toml:5: kafka.security.sasl_password_file = '{}'", path.display());
    for content in ["", "\n", "two\nlines\n", "\0"] {
        std::fs::write(&path, content).unwrap();
        assert_problems(&text, &[&format!("{place}: expected a file of one line without control characters")]);
    }
    std::fs::remove_file(&path).unwrap();
    assert_problems(&text, &[&format!("{place}: expected a file that can be read: No such file or directory (os error 2)")]);
    assert_problems(
        &format!("{SASL}sasl_password_file = 5"),
        &["config.toml:5: kafka.security.sasl_password_file = 5: expected the path of a file"],
    );
}

#[test]
fn the_password_is_never_shown() {
    let texts = [SASL, "[kafka.security]\nsasl_password = 'hunter2'", "kafka.security = 'hunter2'", "log.level = 5"];
    for text in texts {
        for password in ["hunter2", "hunter2\nhunter2"] {
            let loaded = load_with(text, &[("MOKAMETRICS_KAFKA_PASSWORD", password)], &Overrides::default());
            let shown = format!("{loaded:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
    let problems = load_with(SASL, &[("MOKAMETRICS_KAFKA_PASSWORD", "a\tb")], &Overrides::default()).unwrap_err();
    assert_eq!(problems, ["environment: MOKAMETRICS_KAFKA_PASSWORD: expected one line without control characters"]);
}

#[test]
fn a_key_without_effect_is_no_false_comfort() {
    let with = |key: &str, protocols: &str| format!("kafka.security.{key}: expected security_protocol {protocols} with it");
    assert_problems(
        "[kafka.security]\nssl_ca_location = 'ca.pem'\nsasl_username = 'moka'",
        &[
            &format!("config.toml:2: {}", with("ssl_ca_location", "SSL or SASL_SSL")),
            &format!("config.toml:3: {}", with("sasl_username", "SASL_SSL or SASL_PLAINTEXT")),
        ],
    );
    assert_problems(
        "[kafka.security]\nsasl_password = 'hunter2'",
        &["config.toml:2: kafka.security.sasl_password: unknown key: did you mean sasl_password_file?"],
    );
}

#[test]
fn tls_files_are_looked_into_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    let tls = "[kafka.security]\nsecurity_protocol = 'SSL'\n";
    assert_file_problems(
        dir.path(),
        &format!("{tls}ssl_ca_location = '{{dir}}/none.pem'"),
        &["config.toml:3: kafka.security.ssl_ca_location = '{dir}/none.pem': \
           expected a PEM file with certificates: I/O error: No such file or directory (os error 2)"],
    );
    assert_file_problems(
        dir.path(),
        &format!("{tls}ssl_ca_location = '{{dir}}/empty.pem'"),
        &["config.toml:3: kafka.security.ssl_ca_location = '{dir}/empty.pem': \
           expected a PEM file with certificates: there is none in it"],
    );
    let pem = |label: &str| format!("-----BEGIN {label}-----\nTU9LQQ==\n-----END {label}-----\n");
    std::fs::write(dir.path().join("me.pem"), pem("CERTIFICATE")).unwrap();
    std::fs::write(dir.path().join("me.key"), pem("PRIVATE KEY")).unwrap();
    for (certificate, key, expected) in [
        (
            "me.key",
            "me.key",
            "3: kafka.security.ssl_certificate_location = '{dir}/me.key': expected a PEM file with certificates: there is none in it",
        ),
        (
            "me.pem",
            "me.pem",
            "4: kafka.security.ssl_key_location = '{dir}/me.pem': expected a PEM file with a private key that is not encrypted: no items found",
        ),
        (
            "me.pem",
            "me.key",
            "4: kafka.security.ssl_key_location = '{dir}/me.key': expected the private key of ssl_certificate_location: \
             unexpected error: failed to parse private key as RSA, ECDSA, or EdDSA",
        ),
    ] {
        assert_file_problems(
            dir.path(),
            &format!("{tls}ssl_certificate_location = '{{dir}}/{certificate}'\nssl_key_location = '{{dir}}/{key}'"),
            &[&format!("config.toml:{expected}")],
        );
    }
    assert_problems(
        &format!("{tls}ssl_certificate_location = 'me.pem'"),
        &["config.toml:1: kafka.security: ssl_key_location is missing: expected it beside ssl_certificate_location"],
    );
    assert_problems(
        &format!("{tls}ssl_key_location = 'me.key'"),
        &["config.toml:1: kafka.security: ssl_certificate_location is missing: expected it beside ssl_key_location"],
    );
}

#[test]
fn what_the_classic_client_lacks_is_not_asked_of_it() {
    let expected = "kafka.client = 'classic': expected \"auto\" or \"native\", as the classic client has no";
    for (rest, what) in [
        ("compression_type = 'lz4'", "lz4"),
        ("compression_type = 'zstd'", "zstd"),
        ("group_instance_id = 'edge-1'", "group_instance_id"),
        ("security.security_protocol = 'SSL'", "TLS and SASL"),
    ] {
        let text = format!("[kafka]\nclient = 'classic'\n{rest}");
        assert_problems(&text, &[&format!("config.toml:2: {expected} {what}")]);
        assert!(load(&text.replace("classic", "native")).is_ok(), "{rest}");
    }
    assert_eq!(load("kafka.client = 'classic'").unwrap().kafka.client, KafkaClient::Classic);
}
