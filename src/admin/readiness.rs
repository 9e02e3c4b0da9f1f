//! Whether the relay is ready: derived from its status, never set.

use crate::migrate::{Stage, Status};

/// Ready, in words; or why not. It is called with a relay that serves `Collect`: where old
/// watchers are told on, that is all there is to be ready for.
///
/// # Errors
/// Why it is not.
pub fn readiness(status: &Status) -> Result<String, String> {
    let stage = status.stage;
    match stage {
        Stage::Legacy | Stage::Shadow => Ok(format!("ready: stage {stage}, Collect is served")),
        Stage::ShadowNative | Stage::Native => match &status.native {
            Some(feed) if feed.listed => Ok(format!(
                "ready: stage {stage}, the relay's own watches have listed"
            )),
            Some(feed) => Err(format!(
                "not ready: stage {stage}, the relay's own watches have not listed yet: {} of {} are not well, {} pods so far",
                feed.unwell, feed.sources, feed.pods
            )),
            None => Err(format!(
                "not ready: stage {stage}, the relay's own watches do not run"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::status::Feed;

    #[test]
    fn a_relay_is_ready_when_what_it_tells_on_is_complete() {
        let feed = |listed| Feed {
            listed,
            sources: 3,
            unwell: 1,
            ..Feed::default()
        };
        for (stage, native, ready) in [
            (Stage::Legacy, None, true),
            (Stage::Shadow, Some(feed(false)), true),
            (Stage::ShadowNative, Some(feed(false)), false),
            (Stage::ShadowNative, Some(feed(true)), true),
            (Stage::Native, Some(feed(false)), false),
            (Stage::Native, Some(feed(true)), true),
            (Stage::Native, None, false),
        ] {
            let status = Status {
                stage,
                native,
                ..Status::default()
            };
            let readiness = readiness(&status);
            assert_eq!(readiness.is_ok(), ready, "{readiness:?}");
        }
    }
}
