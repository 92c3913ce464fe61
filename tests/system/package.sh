#!/usr/bin/env bash
# The Debian package is installed, upgraded, removed and purged; a changed configuration is kept until it is purged. Those for
# other machines are looked into.
source "$(dirname "$0")/lib.sh"

undo() {
    rm -f "$ROOT"/target/deb/mokametrics-simulator_0.0.[12]-1_*.deb
    dpkg --purge mokametrics-simulator >/dev/null 2>&1
}
package() { # VERSION [TARGET]
    make -s -C "$ROOT" deb DEB_TARGET="${2:-x86_64-unknown-linux-musl}" DEB_FLAGS="--deb-version $1" >"$WORK/deb.log" 2>&1 \
        || { cat "$WORK/deb.log"; fail "make deb $*"; }
}
dpkg_does() { DEBIAN_FRONTEND=noninteractive dpkg "$@" >"$WORK/dpkg.log" 2>&1 || { cat "$WORK/dpkg.log"; fail "dpkg $*"; }; }
deb() { echo "$ROOT/target/deb/mokametrics-simulator_$1_${2:-amd64}.deb"; } # VERSION [ARCHITECTURE]

package 0.0.1-1
package 0.0.2-1
dpkg_does -i "$(deb 0.0.1-1)"
[[ $(id -u mokasim) -lt 1000 ]] || fail "mokasim is no system user"
[[ $(stat -c '%U %a' /var/lib/mokasim) == "mokasim 750" ]] || fail "$(stat /var/lib/mokasim)"
for file in /usr/share/man/man1/mokasim.1.gz /usr/share/bash-completion/completions/mokasim /usr/share/zsh/vendor-completions/_mokasim; do
    [[ -s $file ]] || fail "no $file"
done
ls /lib/systemd/system/mokasim.service /usr/lib/systemd/system/mokasim.service >/dev/null 2>&1 || fail "no unit"
gzip -dc /usr/share/man/man1/mokasim.1.gz | man -l - 2>"$WORK/man" | grep -q 'EXIT STATUS' || fail "the man page does not render"
dpkg-query -W -f '${Conffiles}' mokametrics-simulator | grep -q /etc/mokasim/config.toml || fail "the configuration is no conffile"
su -s /bin/sh mokasim -c 'cd /var/lib/mokasim && mokasim check --config /etc/mokasim/config.toml && mokasim run --config /etc/mokasim/config.toml --demo --speed max --duration 1h --log-level off' >"$WORK/run" 2>&1 \
    || { cat "$WORK/run"; fail "it does not run as its user"; }

echo '# mine' >>/etc/mokasim/config.toml
dpkg_does -i "$(deb 0.0.2-1)"
[[ $(dpkg-query -W -f '${Version}' mokametrics-simulator) == 0.0.2-1 ]] || fail "not upgraded"
tail -1 /etc/mokasim/config.toml | grep -q '# mine' || fail "the upgrade took the configuration"
dpkg_does --remove mokametrics-simulator
tail -1 /etc/mokasim/config.toml | grep -q '# mine' || fail "the removal took the configuration"
[[ -d /var/lib/mokasim/data && ! -e /usr/bin/mokasim ]] || fail "the removal took too much or too little"
dpkg_does --purge mokametrics-simulator
[[ ! -e /etc/mokasim && ! -e /var/lib/mokasim ]] || fail "the purge left something"

make -s -C "$ROOT" install BINARY="$MUSL" PREFIX=/opt/moka DESTDIR="$WORK/dest"
echo '# mine' >>"$WORK/dest/etc/mokasim/config.toml"
make -s -C "$ROOT" install BINARY="$MUSL" PREFIX=/opt/moka DESTDIR="$WORK/dest"
"$WORK/dest/opt/moka/bin/mokasim" check --config "$WORK/dest/etc/mokasim/config.toml" >/dev/null || fail "make install"
tail -1 "$WORK/dest/etc/mokasim/config.toml" | grep -q '# mine' || fail "make install took the configuration"
grep -q '^ExecStart=/opt/moka/bin/mokasim' "$WORK/dest/opt/moka/lib/systemd/system/mokasim.service" || fail "the unit names another binary"

for machine in arm64:aarch64-unknown-linux-musl armhf:armv7-unknown-linux-gnueabihf; do
    IFS=: read -r architecture target <<<"$machine"
    package 0.0.1-1 "$target"
    foreign=$WORK/$architecture
    dpkg-deb --extract "$(deb 0.0.1-1 "$architecture")" "$foreign"
    [[ $(dpkg-deb --field "$(deb 0.0.1-1 "$architecture")" Architecture) == "$architecture" ]] || fail "$target: not for $architecture"
    cmp "$ROOT/target/$target/static/mokasim" "$foreign/usr/bin/mokasim" || fail "$target: another binary"
    grep -q 'EXIT STATUS' <(gzip -dc "$foreign/usr/share/man/man1/mokasim.1.gz") || fail "$target: no man page"
    [[ -s $foreign/usr/share/bash-completion/completions/mokasim ]] || fail "$target: no completions"
done
