//! The files that TLS needs, and what stands in them. Blocks: for threads that may wait.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use ring::digest::{Context, SHA256};
use rustls_native_certs::load_native_certs;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// No such file is longer, in bytes: all public authorities together have 220 kB.
const MAX_LEN: u64 = 4 << 20;

/// After so many attempts files that change all the time are taken as they are. What does not
/// belong together is seen then.
const ATTEMPTS: usize = 4;

/// Which files there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Our certificate chain, the leaf first, and the key of the leaf. They may be one file.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Who vouches for peers.
    pub authorities: Authorities,
}

/// Who vouches for peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorities {
    /// Nobody: peers show no certificate.
    #[default]
    None,
    /// Those in this file.
    File(PathBuf),
    /// Those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    System,
}

/// What stands in the files.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Of the certificate's file and of the key's.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Of the authorities' file.
    pub(super) authorities: Option<Vec<u8>>,
    /// The system's authorities.
    pub(super) of_the_system: Option<Vec<CertificateDer<'static>>>,
}

/// Distinguishes contents without keeping them.
pub(super) type Fingerprint = [u8; 32];

impl Paths {
    /// Reads all of them, as they stand together: files that change meanwhile are read again.
    ///
    /// # Errors
    /// One cannot be read, in one line.
    pub(super) fn read(&self) -> Result<Contents, String> {
        let mut contents = self.read_once()?;
        for _ in 1..ATTEMPTS {
            let again = self.read_once()?;
            if again == contents {
                break;
            }
            contents = again;
        }
        Ok(contents)
    }

    fn read_once(&self) -> Result<Contents, String> {
        let identity = match &self.identity {
            None => None,
            Some((certificate, key)) => Some((
                read_file("certificate", certificate)?,
                read_file("key", key)?,
            )),
        };
        let mut contents = Contents {
            identity,
            ..Contents::default()
        };
        match &self.authorities {
            Authorities::None => {}
            Authorities::File(path) => {
                contents.authorities = Some(read_file("authorities", path)?);
            }
            Authorities::System => contents.of_the_system = Some(of_the_system()?),
        }
        Ok(contents)
    }
}

impl Contents {
    /// Distinguishes them from others.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        if let Some((certificate, key)) = &self.identity {
            add(certificate);
            add(key);
        }
        self.authorities.iter().for_each(|bytes| add(bytes));
        let of_the_system = self.of_the_system.iter().flatten();
        of_the_system.for_each(|certificate| add(certificate));
        let mut fingerprint = Fingerprint::default();
        for (to, from) in fingerprint.iter_mut().zip(hash.finish().as_ref()) {
            *to = *from;
        }
        fingerprint
    }
}

/// There is a key in it.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents(***)")
    }
}

fn read_file(what: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        // A pipe would keep the thread waiting for whoever writes.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MAX_LEN {
            true => Err(io::Error::other("it is longer than 4 MiB")),
            false => Ok(bytes),
        }
    };
    read().map_err(|error| format!("cannot read the {what} file {}: {error}", path.display()))
}

fn of_the_system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = load_native_certs();
    match (found.certs.is_empty(), found.errors.first()) {
        (false, _) => Ok(found.certs),
        (true, Some(error)) => Err(format!("cannot read the system's authorities: {error}")),
        (true, None) => Err(
            "the system has no authorities (an image built from scratch has none): name a file \
             of them, or set SSL_CERT_FILE or SSL_CERT_DIR"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_long_is_said_in_one_line_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let long = dir.path().join("long");
        std::fs::File::create(&long)
            .unwrap()
            .set_len(MAX_LEN + 1)
            .unwrap();
        for (path, why) in [
            (dir.path().join("gone"), "No such file"),
            (dir.path().to_owned(), "not a file"),
            (pipe, "not a file"),
            (long, "4 MiB"),
        ] {
            let paths = Paths {
                authorities: Authorities::File(path.clone()),
                ..Paths::default()
            };
            let said = paths.read().unwrap_err();
            let named = said.contains(path.to_str().unwrap());
            assert!(
                named && said.contains(why) && !said.contains('\n'),
                "{said}"
            );
        }
    }

    #[test]
    fn contents_are_told_apart_wherever_a_byte_stands() {
        let of = |certificate: &[u8], key: &[u8], authorities: Option<&[u8]>| {
            let contents = Contents {
                identity: Some((certificate.to_vec(), key.to_vec())),
                authorities: authorities.map(<[u8]>::to_vec),
                of_the_system: None,
            };
            contents.fingerprint()
        };
        let all = [
            of(b"ab", b"c", None),
            of(b"a", b"bc", None),
            of(b"a", b"b", Some(b"c")),
            of(b"a", b"b", Some(b"")),
            of(b"a", b"b", None),
            Contents::default().fingerprint(),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one));
        }
        assert_eq!(of(b"a", b"b", None), of(b"a", b"b", None));
    }
}
