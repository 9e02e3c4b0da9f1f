# syntax=docker/dockerfile:1
# One static binary for amd64 or arm64; the image has nothing else in it.
#
#     docker buildx build --platform linux/amd64,linux/arm64 --build-arg REVISION=$(git rev-parse HEAD) .
#
# The compiler runs on the builder's own architecture and compiles for the other one: nothing is
# emulated. Zig brings a linker, a C compiler, and the C library of both.
FROM --platform=$BUILDPLATFORM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/* \
    && pip3 install --no-cache-dir --break-system-packages cargo-zigbuild==0.24.1 ziglang==0.17.1
# The toolchain that rust-toolchain.toml names, without its parts for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl
WORKDIR /build
ARG TARGETARCH
RUN case "$TARGETARCH" in \
        amd64) echo x86_64-unknown-linux-musl ;; \
        arm64) echo aarch64-unknown-linux-musl ;; \
        *) echo "there is no image for $TARGETARCH" >&2; exit 1 ;; \
    esac > /target
# The dependencies are a layer of their own: it is built again only when one of them changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY proto proto
COPY .ci/stubs .ci/stubs
RUN .ci/stubs && cargo zigbuild --profile dist --locked --bin k8s-relay --target "$(cat /target)"
COPY . .
# The stubs are newer than what replaces them.
RUN touch src/lib.rs src/main.rs \
    && cargo zigbuild --profile dist --locked --bin k8s-relay --target "$(cat /target)" \
    && mkdir -p /image/srv \
    && cp "target/$(cat /target)/dist/k8s-relay" /image/srv/k8s-relay \
    # In the legacy watcher's container the program is an idle companion, by this name too.
    && ln -s k8s-relay /image/srv/k8s-watcher

FROM scratch
ARG REVISION=""
LABEL org.opencontainers.image.title="k8s-relay" \
      org.opencontainers.image.description="Announces Kubernetes pods, their owners and containers to an OpenTelemetry eBPF reducer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image/ /
WORKDIR /srv
USER 65532:65532
ENTRYPOINT ["/srv/k8s-relay"]
