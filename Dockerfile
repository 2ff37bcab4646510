# One image for all roles: schedulers, workers and clients are the same program.
#
#   docker build -t windlass .
#
# The image has no shell and needs none, runs as a numeric user without capabilities, and writes nowhere: give it
# --read-only, --cap-drop ALL and --security-opt no-new-privileges. Only a worker whose handlers write, or that is told of
# a --health-file, needs a tmpfs.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# The dependencies first, below empty packages, so that they are built again only when they change. What only tests need has
# no part in it; the versions are those of Cargo.lock.
COPY Cargo.toml Cargo.lock ./
COPY core/Cargo.toml core/
COPY shell/Cargo.toml shell/
RUN sed -i 's/^members = .*/members = ["core", "shell"]/' Cargo.toml \
    && mkdir -p core/src core/benches shell/src shell/tests \
    && touch core/src/lib.rs core/benches/main.rs shell/src/lib.rs shell/tests/executor.rs \
    && echo 'fn main() {}' > shell/src/main.rs \
    && cargo build --profile dist -p windlass

# Now the whole workspace, or Cargo.lock would not be what Cargo expects.
COPY Cargo.toml Cargo.lock ./
COPY sim/Cargo.toml sim/
COPY fuzz/Cargo.toml fuzz/
COPY tests/Cargo.toml tests/
COPY core/src core/src
COPY shell/build.rs shell/
COPY shell/src shell/src
# What `windlass version` says: there is no checkout here to ask. --build-arg WINDLASS_GIT_SHA=$(git rev-parse HEAD)
ARG WINDLASS_GIT_SHA=""
# Cargo goes by the time of files, and the empty ones are younger than the real ones.
RUN mkdir -p sim/src fuzz/src tests/src \
    && touch sim/src/lib.rs fuzz/src/lib.rs tests/src/lib.rs \
    && find core/src shell/src -exec touch {} + \
    && cargo build --profile dist --locked -p windlass \
    && install -D -s target/dist/windlass /out/usr/local/bin/windlass

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="windlass" \
      org.opencontainers.image.description="A distributed task scheduler" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/ /
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Schedulers listen here; workers listen nowhere.
EXPOSE 7070
# No HEALTHCHECK: a scheduler's is `windlass health`, a worker's `windlass health --file FILE`, and a client has none.
ENTRYPOINT ["/usr/local/bin/windlass"]
CMD ["--help"]
