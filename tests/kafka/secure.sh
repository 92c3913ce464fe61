# shellcheck shell=bash
# shellcheck disable=SC2154
# Sourced by `broker`: what `--secure` adds to the cluster in $run.

# TLS and SASL. One user for every mechanism. On 4.x SCRAM refuses the librdkafka 2.0 of Debian 12's kcat, which
# answers with a wrong nonce; the client of `broker python` is newer.
sasl_user=moka sasl_password=moka-secret

make_certificates() {
    local tls=$run/tls key
    need openssl openssl
    mkdir -p "$tls/issued"
    : >"$tls/index.txt"
    cat >"$tls/ca.cnf" <<CONF
[ca]
default_ca = test
[test]
database = $tls/index.txt
new_certs_dir = $tls/issued
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = CA:false
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth
CONF
    key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    certificate() { # NAME ISSUER START END
        openssl req "${key[@]}" -keyout "$tls/$1.key" -subj "/CN=$1" |
            openssl ca -batch -notext -config "$tls/ca.cnf" -cert "$tls/$2.pem" -keyfile "$tls/$2.key" \
                -startdate "$3" -enddate "$4" -in /dev/stdin -out "$tls/$1.pem"
        cat "$tls/$1.key" "$tls/$1.pem" >"$tls/$1.keystore.pem"
    }
    {
        for ca in ca other-ca; do
            openssl req -x509 "${key[@]}" -keyout "$tls/$ca.key" -out "$tls/$ca.pem" -days 36500 -subj "/CN=test $ca"
        done
        certificate server ca 20200101000000Z 21200101000000Z
        certificate client ca 20200101000000Z 21200101000000Z
        certificate expired ca 20200101000000Z 20210101000000Z
        certificate stranger other-ca 20200101000000Z 21200101000000Z
    } 2>"$tls/openssl.log" || { cat "$tls/openssl.log" >&2; fail 69 "openssl could not make the certificates"; }
}

secure_properties() {
    local listener mechanism
    cat <<CONF
ssl.truststore.type=PEM
ssl.truststore.location=$run/tls/ca.pem
ssl.keystore.type=PEM
ssl.keystore.location=$run/tls/server.keystore.pem
ssl.client.auth=requested
listener.name.ssl_expired.ssl.keystore.type=PEM
listener.name.ssl_expired.ssl.keystore.location=$run/tls/expired.keystore.pem
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
CONF
    for listener in sasl_plaintext sasl_ssl; do
        echo "listener.name.$listener.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required" \
            "user_$sasl_user=\"$sasl_password\";"
        for mechanism in scram-sha-256 scram-sha-512; do
            echo "listener.name.$listener.$mechanism.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
        done
    done
}

secure_env() {
    cat <<ENV
SASL_USER=$sasl_user
SASL_PASSWORD=$sasl_password
CA=$run/tls/ca.pem
OTHER_CA=$run/tls/other-ca.pem
CLIENT_CERT=$run/tls/client.pem
CLIENT_KEY=$run/tls/client.key
EXPIRED_CERT=$run/tls/expired.pem
EXPIRED_KEY=$run/tls/expired.key
STRANGER_CERT=$run/tls/stranger.pem
STRANGER_KEY=$run/tls/stranger.key
ENV
}
