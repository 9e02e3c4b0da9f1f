//! Our own watches of pods, ReplicaSets and Jobs.

pub mod decode;
