//! The `Collect` service whose Infos arrive as their bytes; [`info`](super::info) reads them.

use bytes::{Buf as _, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use crate::proto::Response;

/// The generated server, see `build.rs`.
pub(super) mod service {
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("collector.Collector");
}

/// In: the bytes of each message. Out: a [`Response`].
#[derive(Debug, Default)]
pub(super) struct InfoBytes;

impl Codec for InfoBytes {
    type Encode = Response;
    type Decode = Bytes;
    type Encoder = ProstEncoder<Response>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for InfoBytes {
    type Item = Bytes;
    type Error = Status;

    /// Copies nothing as long as the bytes before were dropped.
    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
