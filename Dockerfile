# One image, four programs: recado, recado-api, recado-worker, recado-scheduler.
#
#   docker build -t recado .
#   docker run --rm -p 127.0.0.1:8000:8000 --env-file .env -e LISTEN=0.0.0.0:8000 -v recado:/var/lib/recado recado
#
# The second line runs everything in one process on SQLite; docker-compose.yml runs it on PostgreSQL and Redis. .env needs
# a key in API_KEYS and the settings of the providers: unlike `make run`, the image has no stand-ins for them.

ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Without the feature `sandbox`: no stand-ins for providers, no sample message, no `recado demo`.
#
# The caches outlive the layer, so a change of one file compiles that file and not 400 crates. The files in a cache are
# not in the image, so the same step copies the programs out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features \
        --bin recado --bin recado-api --bin recado-worker --bin recado-scheduler \
    && install -D -t /out \
        target/release/recado target/release/recado-api target/release/recado-worker target/release/recado-scheduler

FROM debian:${DEBIAN}-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/recado \
        --shell /usr/sbin/nologin recado
COPY --from=build /out/ /usr/local/bin/

# A number, by which Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/recado
ENV RECADO_HOME=/var/lib/recado \
    LISTEN=0.0.0.0:8000
EXPOSE 8000
# Without a shell the program is process 1 and gets SIGTERM itself; it then finishes what it has begun.
CMD ["recado", "up"]
