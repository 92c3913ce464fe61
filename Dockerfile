# The image is one static file and a configuration: no shell, no user names, nothing to write to but /data.
FROM docker.io/library/rust:1-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
RUN cargo build --release --locked && mkdir -p /image/bin /image/data && cp target/release/mokasim /image/bin/

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
