# The image is one static file and a configuration: no shell, no user names, nothing to write to but /data.
FROM docker.io/library/rust:1 AS build
WORKDIR /src
COPY . .
# The file that `make static` makes and that is tested.
RUN case $(dpkg --print-architecture) in \
        amd64) target=x86_64-unknown-linux-musl packages=musl-tools ;; \
        arm64) target=aarch64-unknown-linux-musl packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        *) echo "expected amd64 or arm64, found $(dpkg --print-architecture)" >&2; exit 1 ;; \
    esac \
    && apt-get update -q && apt-get install -qy --no-install-recommends $packages \
    && rustup target add $target && deploy/static $target \
    && install -D target/$target/static/mokasim /image/bin/mokasim && mkdir /image/data

FROM scratch
COPY --from=build /image/bin/mokasim /bin/mokasim
COPY --from=build --chown=65532:65532 /image/data /data
COPY deploy/container.toml /etc/mokasim/config.toml
ENV CONFIG_PATH=/etc/mokasim/config.toml
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["/bin/mokasim", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/mokasim"]
CMD ["run", "--log-target", "terminal"]
