# Builds one static binary; the image has nothing else in it.
FROM rust:1.95.0-alpine AS build
# The C compiler's headers, for the allocator.
RUN apk add --no-cache musl-dev
# The image's own toolchain is the one that rust-toolchain.toml names; its parts for
# developers are not needed here.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /build
COPY . .
RUN cargo build --profile dist --locked --bin k8s-relay --target x86_64-unknown-linux-musl

FROM scratch
COPY --from=build /build/target/x86_64-unknown-linux-musl/dist/k8s-relay /srv/k8s-relay
WORKDIR /srv
USER 65532:65532
ENTRYPOINT ["/srv/k8s-relay"]
