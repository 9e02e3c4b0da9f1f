//! The parts of an image reference.

/// An image reference in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image<'a> {
    /// Without tag and digest.
    pub(super) name: &'a str,
    /// `latest` where none is written.
    pub(super) tag: &'a str,
}

impl<'a> Image<'a> {
    /// Splits a reference such as `registry.example:5000/app:1.2@sha256:…`.
    pub(super) fn split(reference: &'a str) -> Self {
        let (named, _) = reference.split_once('@').unwrap_or((reference, ""));
        // A colon before the last slash belongs to a port.
        let (tagged, tag) = named.rsplit_once(':').unwrap_or((named, ""));
        match !tag.is_empty() && !tag.contains('/') {
            true => Self { name: tagged, tag },
            false => Self {
                name: named,
                tag: "latest",
            },
        }
    }
}

/// The digest with its repository, if an `imageID` has one.
pub(super) fn repo_digest(image_id: &str) -> Option<&str> {
    // Docker writes `docker-pullable://repository@digest`.
    let reference = image_id
        .split_once("://")
        .map_or(image_id, |(_, rest)| rest);
    let (repository, digest) = reference.split_once('@')?;
    (!repository.is_empty() && digest.contains(':')).then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_split_into_name_and_tag() {
        for (reference, name, tag) in [
            ("web", "web", "latest"),
            ("busybox:1.36", "busybox", "1.36"),
            (
                "registry.example:5000/app",
                "registry.example:5000/app",
                "latest",
            ),
            (
                "registry.example:5000/app:v1",
                "registry.example:5000/app",
                "v1",
            ),
            (
                "r.example:5000/app@sha256:22",
                "r.example:5000/app",
                "latest",
            ),
            ("app:v1@sha256:22", "app", "v1"),
            ("", "", "latest"),
        ] {
            assert_eq!(Image::split(reference), Image { name, tag }, "{reference}");
        }
    }

    #[test]
    fn only_a_digest_of_a_repository_is_one() {
        for (image_id, digest) in [
            ("r.example/web@sha256:11", Some("r.example/web@sha256:11")),
            ("docker-pullable://web@sha256:11", Some("web@sha256:11")),
            ("sha256:11", None),
            ("docker://sha256:11", None),
            ("@sha256:11", None),
            ("", None),
        ] {
            assert_eq!(repo_digest(image_id), digest, "{image_id}");
        }
    }
}
