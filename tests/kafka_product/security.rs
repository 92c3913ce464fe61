//! TLS and SASL: the right, the wrong and the expired.

use crate::broker::Cluster;
use crate::program::{Place, wait_for};
use crate::{clusters, lots, order, place, send_orders};

const PASSWORD: &str = "moka-secret";
const WRONG: &str = "not-the-password";

/// A way to come to a broker.
struct Case {
    name: &'static str,
    /// The listener, as the script names it.
    listener: &'static str,
    /// What `[kafka.security]` says; `$CA` and such are the script's.
    security: &'static [&'static str],
    password: &'static str,
    /// What the log says when it is refused.
    refusal: Option<&'static str>,
}

impl Case {
    const fn right(name: &'static str, listener: &'static str, security: &'static [&'static str]) -> Self {
        Self { name, listener, security, password: PASSWORD, refusal: None }
    }

    const fn refused(
        name: &'static str,
        listener: &'static str,
        security: &'static [&'static str],
        refusal: &'static str,
    ) -> Self {
        Self { name, listener, security, password: PASSWORD, refusal: Some(refusal) }
    }

    const fn with_wrong_password(self) -> Self {
        Self { password: WRONG, ..self }
    }

    fn place(&self, cluster: &Cluster) -> Place {
        let mut security = format!("[kafka.security]\n{}\n", self.security.join("\n"));
        for key in
            ["CA", "OTHER_CA", "CLIENT_CERT", "CLIENT_KEY", "EXPIRED_CERT", "EXPIRED_KEY", "STRANGER_CERT", "STRANGER_KEY"]
        {
            security = security.replace(&format!("'${key}'"), &format!("'{}'", cluster.get(key)));
        }
        let place = place(self.name, &security);
        place.write("password", &format!("{}\n", self.password));
        place
    }
}

const TLS: &str = "security_protocol = 'SSL'\nssl_ca_location = '$CA'";
const SASL: &str = "security_protocol = 'SASL_PLAINTEXT'\nsasl_username = 'moka'\nsasl_password_file = 'password'";
const BOTH: &str =
    "security_protocol = 'SASL_SSL'\nssl_ca_location = '$CA'\nsasl_username = 'moka'\nsasl_password_file = 'password'";
const PLAIN: &str = "sasl_mechanism = 'PLAIN'";
const SCRAM_256: &str = "sasl_mechanism = 'SCRAM-SHA-256'";
const SCRAM_512: &str = "sasl_mechanism = 'SCRAM-SHA-512'";
const CLIENT: &str = "ssl_certificate_location = '$CLIENT_CERT'\nssl_key_location = '$CLIENT_KEY'";
const EXPIRED: &str = "ssl_certificate_location = '$EXPIRED_CERT'\nssl_key_location = '$EXPIRED_KEY'";
const STRANGER: &str = "ssl_certificate_location = '$STRANGER_CERT'\nssl_key_location = '$STRANGER_KEY'";

const CASES: &[Case] = &[
    Case::right("tls", "SSL", &[TLS]),
    Case::right("tls-client", "SSL", &[TLS, CLIENT]),
    Case::right("plain", "SASL_PLAINTEXT", &[SASL, PLAIN]),
    Case::right("scram-256", "SASL_PLAINTEXT", &[SASL, SCRAM_256]),
    Case::right("scram-512", "SASL_PLAINTEXT", &[SASL, SCRAM_512]),
    Case::right("tls-plain", "SASL_SSL", &[BOTH, PLAIN]),
    Case::right("tls-scram-256", "SASL_SSL", &[BOTH, SCRAM_256]),
    Case::right("tls-scram-512", "SASL_SSL", &[BOTH, SCRAM_512]),
    Case::refused(
        "wrong-plain",
        "SASL_PLAINTEXT",
        &[SASL, PLAIN],
        "PLAIN: refused with code 58: Authentication failed: Invalid username or password",
    )
    .with_wrong_password(),
    Case::refused("wrong-256", "SASL_SSL", &[BOTH, SCRAM_256], "SCRAM-SHA-256: refused with code 58: Authentication failed")
        .with_wrong_password(),
    Case::refused("wrong-512", "SASL_SSL", &[BOTH, SCRAM_512], "SCRAM-SHA-512: refused with code 58: Authentication failed")
        .with_wrong_password(),
    Case::refused(
        "other-ca",
        "SSL",
        &["security_protocol = 'SSL'\nssl_ca_location = '$OTHER_CA'"],
        "TLS: the broker's certificate is signed by nobody who is trusted here",
    ),
    Case::refused(
        "system-ca",
        "SSL",
        &["security_protocol = 'SSL'"],
        "TLS: the broker's certificate is signed by nobody who is trusted here",
    ),
    Case::refused("expired-broker", "SSL_EXPIRED", &[TLS], "TLS: the broker's certificate has expired"),
    Case::refused("expired-client", "SSL", &[TLS, EXPIRED], "TLS: the broker refused with Certificate"),
    Case::refused("stranger", "SSL", &[TLS, STRANGER], "TLS: the broker refused with "),
    Case::refused("tls-to-none", "BOOTSTRAP", &[TLS], "the broker closed the connection before it answered a request"),
    Case::refused("none-to-tls", "SSL", &[], "a TLS alert, so the listener expects TLS"),
    Case::refused("none-to-sasl", "SASL_PLAINTEXT", &[], "the broker closed the connection before it answered a request"),
    Case::refused("sasl-to-none", "BOOTSTRAP", &[SASL, SCRAM_512], "SCRAM-SHA-512: not offered by the listener"),
];

fn check_right(case: &Case, cluster: &Cluster) {
    let place = case.place(cluster);
    send_orders(cluster, case.name, [order("L-1", "Italia")]);
    let factory = place.start(&["run", "--speed", "60", "--broker", cluster.get(case.listener)]);
    wait_for(case.name, || factory.health()["completed_lots"] == 1);
    // A leader of a topic that is new may be long in coming, and a factory that is told to stop does not wait for it.
    wait_for(case.name, || factory.health()["outbox_records"] == 0);
    assert_eq!(factory.health()["status"], "healthy");
    let said = factory.stop();
    assert!(said.contains("every record is acknowledged"), "{}: {said}", case.name);
    assert_eq!(lots(cluster, case.name, "lot.completed"), ["L-1"], "{}", case.name);
    let shows_password = said.contains("PLAIN without TLS shows the password");
    assert_eq!(shows_password, case.name == "plain", "{}: {said}", case.name);
    check_silence(&place, &said);
}

fn check_refused(case: &Case, cluster: &Cluster, refusal: &str) {
    let (place, listener) = (case.place(cluster), cluster.get(case.listener));
    let factory = place.start(&["run", "--demo", "--broker", listener]);
    let line = format!("Kafka broker {listener}: ");
    wait_for(case.name, || factory.said().contains(&line));
    wait_for("several attempts", || errors(&factory.get("/metrics").1) >= 3);
    let health = factory.health();
    assert_eq!((&health["status"], &health["kafka_connected"]), (&"degraded".into(), &false.into()), "{}", case.name);
    assert_eq!(factory.get("/ready").0, 503);
    // Whoever looks for the reason wants it at once, not after the records that wait have been given time to leave.
    let said = factory.said();
    let lines: Vec<&str> = said.lines().filter(|other| other.contains(&line)).collect();
    assert!(lines.len() == 1 && lines[0].contains(refusal), "{}: {lines:#?}", case.name);
    check_silence(&place, &said);

    let listed = place.run(&["topics", "list", "--broker", listener]);
    let stderr = String::from_utf8(listed.stderr).unwrap();
    assert_eq!(listed.status.code(), Some(69), "{}: {stderr}", case.name);
    assert!(stderr.contains(refusal), "{}: {stderr}", case.name);
}

fn errors(metrics: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix("mokasim_bus_errors_total "));
    line.unwrap().parse().unwrap()
}

/// No password is told, on the terminal or in the file.
fn check_silence(place: &Place, said: &str) {
    let file = std::fs::read_to_string(place.path("simulator.log")).unwrap();
    for password in [PASSWORD, WRONG] {
        assert!(!said.contains(password) && !file.contains(password), "{said}");
    }
}

#[test]
fn the_right_are_served_and_the_others_are_told_why_not() {
    for cluster in clusters() {
        std::thread::scope(|scope| {
            for case in CASES {
                scope.spawn(move || match case.refusal {
                    None => check_right(case, cluster),
                    Some(refusal) => check_refused(case, cluster, refusal),
                });
            }
        });
    }
}

#[test]
fn the_environment_has_the_password_too() {
    for cluster in clusters() {
        let text =
            "[kafka.security]\nsecurity_protocol = 'SASL_PLAINTEXT'\nsasl_mechanism = 'PLAIN'\nsasl_username = 'moka'";
        let place = place("environment", text);
        let mut command = place.command(&["topics", "list", "--broker", cluster.get("SASL_PLAINTEXT")]);
        let output = command.env("MOKAMETRICS_KAFKA_PASSWORD", PASSWORD).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
